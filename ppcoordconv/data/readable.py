"""Pictures that can't be read: the first stops a training, or all of them are found before it and left out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Callable, List, Sequence, TypeVar

from ..utils.arguments import check_choice
from ..utils.errors import UserError
from ..utils.problems import entry
from ..utils.progress import bar, log_info
from .inputs import value_or_error

Picture = TypeVar("Picture")
Value = TypeVar("Value")


def check_on_error(on_error: str) -> None:
    check_choice("on_error", on_error, ("stop", "skip"))


def readable(pictures: Sequence[Picture], read: Callable[[Picture], Any], on_error: str) -> List[Picture]:
    """With "skip", decodes every picture, returns those that can be read, and logs how many can't; with "stop", returns
    all of them, undecoded.

    Raises:
        UserError: none can be read.
    """
    if on_error == "stop":
        return list(pictures)

    def same(picture: Picture) -> Picture:
        read(picture)
        return picture

    return read_each(pictures, same, on_error)


def read_each(pictures: Sequence[Picture], read: Callable[[Picture], Value], on_error: str) -> List[Value]:
    """What ``read`` gives of each picture; with "skip", of each that it can read, and logs how many it can't.

    Raises:
        UserError: with "stop" one can't be read, with "skip" none can.
    """
    kept: List[Value] = []
    errors: List[UserError] = []
    with ThreadPoolExecutor() as threads, bar(len(pictures), unit="picture") as progress:
        for found in threads.map(lambda picture: value_or_error(partial(read, picture)), pictures):
            if not isinstance(found, UserError):
                kept.append(found)
            elif on_error == "stop":
                try:
                    with entry():
                        raise found
                except UserError:
                    threads.shutdown(cancel_futures=True)
                    raise
            else:
                errors.append(found)
            progress.update()
    if errors and not kept:
        raise UserError(f"none of {len(pictures)} pictures can be read: {errors[0]}")
    if errors:
        log_info(f"{len(errors)} of {len(pictures)} pictures can't be read and are left out, the first: {errors[0]}")
    return kept
