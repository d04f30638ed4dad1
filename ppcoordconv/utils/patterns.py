"""Patterns for the names of layers and parameters, as configs have them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, List, Sequence

from .errors import ArgumentError, shortened
from .registry import did_you_mean


def check_patterns(argument: str, value: Any) -> List[str]:
    """The patterns of an option that takes one or a list of them."""
    patterns = value if isinstance(value, list) else [value]
    if not patterns or not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise ArgumentError(argument, f"takes a pattern for names, or a list of them, got {value!r}")
    return patterns


def names_that_fit(argument: str, pattern: str, names: Sequence[str]) -> List[str]:
    """Those of the names, with dots as ``layer4.0.conv1``, that the pattern fits, or that lie in what it fits.

    Raises:
        ArgumentError: it fits none.
    """
    found = [name for name in names if any(fnmatchcase(part, pattern) for part in _itself_and_above(name))]
    if not found:
        tops = list(dict.fromkeys(name.split(".")[0] for name in names))
        near = did_you_mean(pattern, names)
        listed = f" It has {shortened(tops, 12)}, and what lies in these" if near == "." else ""
        raise ArgumentError(argument, f"has the pattern {pattern!r}, which fits no name in the network{near}{listed}")
    return found


def _itself_and_above(name: str) -> List[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
