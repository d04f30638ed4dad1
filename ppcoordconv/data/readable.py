"""Pictures that can't be read: the first stops a training, or all of them are found before it and left out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Callable, List, Optional, Sequence, TypeVar

from ..utils.arguments import check_choice
from ..utils.errors import UserError
from ..utils.progress import bar, log_info
from .inputs import value_or_error

Picture = TypeVar("Picture")


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

    def error_of(picture: Picture) -> Optional[UserError]:
        found = value_or_error(partial(read, picture))
        return found if isinstance(found, UserError) else None

    kept: List[Picture] = []
    errors: List[UserError] = []
    with ThreadPoolExecutor() as threads, bar(len(pictures), unit="picture") as progress:
        for picture, error in zip(pictures, threads.map(error_of, pictures)):
            if error is None:
                kept.append(picture)
            else:
                errors.append(error)
            progress.update()
    if errors and not kept:
        raise UserError(f"none of {len(pictures)} pictures can be read: {errors[0]}")
    if errors:
        log_info(f"{len(errors)} of {len(pictures)} pictures can't be read and are left out, the first: {errors[0]}")
    return kept
