"""What a person sees while something takes its time, on stderr: a bar on a terminal, lines anywhere."""

from __future__ import annotations

import sys
from typing import List

from tqdm import tqdm

_later: List[str] = []


def log_info(message: str) -> None:
    """One line, above a bar where there is one."""
    flush_deferred()
    tqdm.write(message, file=sys.stderr)


def defer_info(message: str) -> None:
    """Before the next line, so that it is no news beside an error that comes first."""
    _later.append(message)


def flush_deferred() -> None:
    while _later:
        tqdm.write(_later.pop(0), file=sys.stderr)


def drop_deferred() -> None:
    _later.clear()


def bar(total: int, done: int = 0, unit: str = "step") -> tqdm:
    """A progress bar, drawn on a terminal only."""
    return tqdm(total=total, initial=done, unit=unit, disable=None)
