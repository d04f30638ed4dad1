"""What is given to a served model, before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NoReturn, Optional, Tuple, TypeVar, Union

import numpy as np

from ..utils.errors import UserError

# What the network takes of an input, and the input's own size: of a picture, its height and width.
Prepared = Tuple[np.ndarray, Tuple[int, ...]]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: what its result is called by.
        path: the file that it comes from.
        stem: what a picture of its result is called by.
        prepare: what reads it for the network.
        read: what reads it in full, to draw on.
        error: why there is nothing to read.

    ``prepare`` and ``read`` raise UserError where it can't be read.
    """

    name: str
    path: Path
    stem: str
    prepare: Callable[[], Prepared]
    read: Callable[[], np.ndarray]
    error: Optional[UserError] = None


def value_or_error(read: Callable[[], Value]) -> Union[Value, UserError]:
    """What it returns, or the UserError that it raises."""
    try:
        return read()
    except UserError as error:
        return error


def unreadable(path: Path, error: UserError) -> Input:
    """In the place of what can't be listed."""

    def refuse() -> NoReturn:
        raise error

    return Input(str(path), path, path.stem, refuse, refuse, error)
