"""What a person sees while something takes its time, on stderr: a bar on a terminal, lines anywhere."""

from __future__ import annotations

import sys

from tqdm import tqdm


def say(message: str) -> None:
    """One line, above a bar where there is one."""
    tqdm.write(message, file=sys.stderr)


def bar(total: int, done: int = 0, unit: str = "step") -> tqdm:
    """A progress bar, drawn on a terminal only."""
    return tqdm(total=total, initial=done, unit=unit, disable=None)
