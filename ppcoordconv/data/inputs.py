"""What is given to a served model, before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from ..utils.errors import UserError


@dataclass(frozen=True)
class Input:
    """One input.

    Attributes:
        name: what its result is called by.
        path: the file that it comes from.
        stem: what a picture of its result is called by.
        read: what gives it to a preprocessing; raises UserError where it can't be read.
    """

    name: str
    path: Path
    stem: str
    read: Callable[[], np.ndarray]


def unreadable(path: Path, error: UserError) -> Input:
    """In the place of what can't be listed."""

    def read() -> np.ndarray:
        raise error

    return Input(str(path), path, path.stem, read)
