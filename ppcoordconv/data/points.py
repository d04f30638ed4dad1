"""The one way from a file of points to a network's input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from ..utils.arguments import MAX_PIXEL, check_bool, check_int
from ..utils.errors import ArgumentError, UserError
from ..utils.files import open_regular
from .inputs import Input, Prepared, unreadable


def read_lines(path: Path) -> List[str]:
    """The lines of a text file of points.

    Raises:
        UserError: there is no such file, it is not text, or it holds no line.
    """
    try:
        with open_regular(path) as file:
            lines = file.read().decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a readable text file of points: {error}") from error
    if not lines:
        raise UserError(f"{path} is empty; it takes a point a line, as 40,17")
    return lines


def read_point(line: str) -> np.ndarray:
    """``x,y`` in pixels -> float64 ``[2]``.

    Raises:
        UserError: it is not two numbers, or one is beyond 1e9.
    """
    try:
        x, y = (float(part) for part in line.split(","))
    except ValueError:
        raise UserError(f"a point is two numbers, as 40,17, got {line!r}") from None
    if not max(abs(x), abs(y)) <= MAX_PIXEL:  # nan is not below anything
        raise UserError(f"a point has numbers of at most {MAX_PIXEL:g}, got {line!r}")
    return np.array([x, y])


@dataclass(frozen=True)
class PointPreprocess:
    """A point to a network's input.

    Parameters:
        size: the width and height of the canvas, in pixels.
        normalised: pixel 0 becomes -1, the last one 1; otherwise numbers stay as they are.
    """

    size: int
    normalised: bool

    def __post_init__(self) -> None:
        check_int("size", self.size, 2, 2**16)
        check_bool("normalised", self.normalised)

    def __call__(self, point: np.ndarray) -> np.ndarray:
        """``[2]``, x and y -> float32 ``[2]``."""
        return np.float32(2 * point / (self.size - 1) - 1 if self.normalised else point)

    @property
    def input_shape(self) -> List[int]:
        return [2]

    def inputs(self, path: Path, recursive: bool = False) -> List[Input]:
        """The points of a text file, one a line; there are no folders of them."""
        if recursive:
            raise ArgumentError("recursive", "is for models that take pictures, and this one takes points")
        try:
            lines = read_lines(path)
        except UserError as error:
            return [unreadable(path, error)]
        return [
            Input(
                f"{path}:{number}",
                path,
                f"{path.stem}_{number}",
                partial(self._prepare, line),
                partial(read_point, line),
            )
            for number, line in enumerate(lines, 1)
        ]

    def _prepare(self, line: str) -> Prepared:
        point = read_point(line)
        return self(point), point.shape

    @staticmethod
    def from_value(value: Any) -> np.ndarray:
        """A point from ``[x, y]``, in pixels.

        Raises:
            UserError: it is not a list of two numbers, or one is beyond 1e9.
        """
        is_pair = isinstance(value, list) and [type(number) in (int, float) for number in value] == [True, True]
        if not is_pair or not all(abs(number) <= MAX_PIXEL for number in value):
            raise UserError(f"a point is a list of two numbers of at most {MAX_PIXEL:g}, as [40, 17]")
        return np.array(value, np.float64)

    def to_dict(self) -> Dict[str, Any]:
        return {"kind": "points", **asdict(self)}
