"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO, Iterable, Iterator

from .errors import MissingFileError, UserError

# Of files that are being written, beside those whose place they take.
PREFIX = ".writing-"


def open_regular(path: Path) -> BinaryIO:
    """Opens a file for reading, if it is a regular one: a pipe or a device could keep a reader waiting for ever.

    Raises:
        UserError: there is no such file, it is something else, or it can't be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
    except FileNotFoundError:
        raise MissingFileError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in its name
        raise UserError(f"{str(path)!r} is no path: {error}") from None
    raise UserError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or a device'}, not a file")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; what was written there takes its place when the block ends without an error.

    Raises:
        UserError: the directory can't be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name keeps its ending, by which writers choose a format.
        temporary = path.with_name(f"{PREFIX}{secrets.token_hex(4)}{path.name}")
        temporary.open("xb").close()
    except OSError as error:
        raise UserError(f"{path.parent} can't be written: {error.strerror}") from error
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8, whole or not at all; raises what ``atomic_write`` raises."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def with_section(text: str, name: str, made: str) -> str:
    """A Markdown page with what is between ``<!-- NAME -->`` and ``<!-- end -->`` made anew."""
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise UserError(f"the page lacks '<!-- {name} -->' and '<!-- end -->', between which a table goes")
    return before + begin + made + "\n" + end + after


def remove_abandoned(directory: Path, names: Iterable[str]) -> None:
    """Removes what ``atomic_write`` had begun to write under these names in a process that was killed."""
    for name in names:
        for path in directory.glob(f"{PREFIX}????????{glob.escape(name)}"):
            if not path.is_dir():
                path.unlink()


def sha256(path: Path) -> str:
    with open_regular(path) as file:
        return sha256_of(file, path.stat().st_size)


def sha256_of(file: BinaryIO, size: int) -> str:
    """Of the next ``size`` bytes."""
    found = hashlib.sha256()
    while block := file.read(min(2**20, size)):
        found.update(block)
        size -= len(block)
    return found.hexdigest()


def move_aside(directory: Path, names: Iterable[str]) -> Path:
    """Moves the named files of a directory into its first free ``earlier.1``, ``earlier.2``, ... and returns that.

    Raises:
        UserError: the directory can't be written.
    """
    number = 1
    while (aside := directory / f"earlier.{number}").exists():
        number += 1
    try:
        aside.mkdir()
        for name in names:
            if os.path.lexists(directory / name):  # a link to nowhere too
                (aside / name).parent.mkdir(exist_ok=True)
                (directory / name).rename(aside / name)
    except OSError as error:
        raise UserError(f"{aside} can't be written: {error.strerror}") from error
    return aside


def sync_directory(directory: Path) -> None:
    """After this, a rename in it survives a loss of power."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
