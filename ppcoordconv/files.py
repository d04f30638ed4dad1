"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Iterator

from .errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what was written there takes its place when the block ends without an error.

    Raises:
        UserError: the directory can't be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name keeps its ending, by which writers choose a format.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.name)
        os.close(handle)
    except OSError as error:
        raise UserError(f"{path.parent} can't be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def move_aside(directory: Path) -> Path:
    """Renames a directory to the first free ``<name>.1``, ``<name>.2``, ... and returns the new name."""
    number = 1
    while (aside := directory.with_name(f"{directory.name}.{number}")).exists():
        number += 1
    return directory.rename(aside)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
