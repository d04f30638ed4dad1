"""The streams of a command: stdout is for results alone."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Iterator


def open_streams() -> None:
    """Where stdin, stdout or stderr are closed, the next files would get their numbers, and what Paddle prints."""
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the process ends


@contextlib.contextmanager
def results_alone_on_stdout() -> Iterator[None]:
    """What this process prints by Python goes there; what Paddle's engines print, past Python, goes to stderr."""
    stdout = sys.stdout
    try:
        is_a_file = stdout.fileno() == 1
    except (OSError, ValueError):  # where a program has put something of its own
        is_a_file = False
    if not is_a_file:
        yield
        return
    stdout.flush()
    kept = os.dup(1)
    # Closed by number, below, as a close would flush once more what can't be written.
    sys.stdout = open(kept, "w", encoding=stdout.encoding, errors=stdout.errors, closefd=False)  # noqa: SIM115, PTH123
    os.dup2(2, 1)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout = stdout
        os.dup2(kept, 1)
        os.close(kept)
