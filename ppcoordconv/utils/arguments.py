"""Checks of arguments that users give, in configs and on command lines: each raises an ``ArgumentError``."""

from __future__ import annotations

import re
from typing import Any, Iterable, Optional, Sequence

from .errors import ArgumentError

# In pixels: far beyond any picture, and float32 can compute with it.
MAX_PIXEL = 1e9


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        raise ArgumentError(name, f"takes one of {', '.join(choices)}, got {value!r}")


def check_int(name: str, value: Any, minimum: int, maximum: int) -> None:
    if type(value) is not int or not minimum <= value <= maximum:
        raise ArgumentError(name, f"takes a whole number from {minimum} to {maximum}, got {value!r}")


def check_number(name: str, value: Any, minimum: float, maximum: float) -> None:
    if type(value) not in (int, float) or not minimum <= value <= maximum:
        raise ArgumentError(name, f"takes a number from {minimum} to {maximum}, got {value!r}")


def check_bool(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ArgumentError(name, f"takes true or false, got {value!r}")


def check_path(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ArgumentError(name, f"takes a path, got {value!r}")


def has_shape(shape: Sequence[int], wanted: Sequence[Optional[int]]) -> bool:
    """Whether a shape is the wanted one, in which None stands for any length."""
    return len(shape) == len(wanted) and all(w in (None, n) for n, w in zip(shape, wanted))


def is_size(value: Any) -> bool:
    """Whether it is two sides, in whole pixels."""
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(type(n) is int and n > 0 for n in value)


def is_pixel(value: Any) -> bool:
    """Whether it is a number that can be a place in a picture, or beside one."""
    # nan is not below anything; a whole number may be too large for a float.
    return type(value) in (int, float) and abs(value) <= MAX_PIXEL


def as_whole(value: Any) -> Optional[int]:
    """The whole number that is meant by 64, 64.0, "64" or "64.0"; None where that is not plain."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}(\.0*)?\s*", value):
        return int(value.partition(".")[0])
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def as_side(value: Any) -> Optional[int]:
    """The whole number of pixels that is meant, from 1 to 2^31 - 1, the largest of any picture format."""
    whole = as_whole(value)
    return whole if whole is not None and 0 < whole < 2**31 else None
