"""One training writes a directory at a time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterator

from ..utils.errors import UserError
from ..utils.folders import try_lock


@contextlib.contextmanager
def only_writer(output: Path) -> Iterator[None]:
    """Makes the directory and holds its lock, which a process that is gone does not hold.

    Raises:
        UserError: another process holds it, or the directory can't be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = try_lock(output)
    except OSError as error:
        raise UserError(f"{output} can't be written: {error.strerror}") from error
    if lock is None:
        raise UserError(f"{output} is being written by another training; choose another output_dir, or wait")
    try:
        yield
    finally:
        os.close(lock)
