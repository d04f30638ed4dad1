"""The names of classes: what is taken for one, from whichever file it comes."""

from __future__ import annotations

from typing import Any

MAX_LABELS, MAX_LETTERS = 100_000, 1000


def is_label(value: Any) -> bool:
    """Whether it is text that a file and a picture can hold."""
    # Half of a surrogate pair, which JSON can write, has no bytes.
    return isinstance(value, str) and len(value) <= MAX_LETTERS and not any("\ud800" <= c <= "\udfff" for c in value)


def are_labels(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_LABELS and all(map(is_label, value))
