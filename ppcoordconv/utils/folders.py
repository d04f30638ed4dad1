"""A folder that is there whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Iterator, Sequence

from .errors import UserError
from .files import PREFIX, atomic_write, sync_directory

# Of renameat2, on Linux.
AT_FDCWD, RENAME_EXCHANGE = -100, 2
CAN_NOT_EXCHANGE = (errno.EBUSY, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV)


@contextlib.contextmanager
def atomic_folder(path: Path, own: Sequence[str]) -> Iterator[Path]:
    """An empty folder, which takes the place of ``path`` when the block ends without an error, in one rename.

    What else is in ``path`` stays there, but for the files of the names in ``own`` that the block did not write. Where
    the file system can't exchange two folders, as at a mount point, the files are replaced one by one, each whole, in
    the order of ``own``.

    Raises:
        UserError: the folder, or the one it is in, can't be written, or the disk is full; ``path`` is as it was.
    """
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file")
        beside = path.parent if os.access(path.parent, os.W_OK) else path
        suffix = path.name[-40:]
        _remove_abandoned(beside, suffix)
        with tempfile.TemporaryDirectory(prefix=PREFIX, suffix=suffix, dir=beside) as name, _lock(Path(name)):
            new = Path(name, "new")
            new.mkdir()
            yield new
            for file in new.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            _replace(path, new, own)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}") from error


def _remove_abandoned(parent: Path, suffix: str) -> None:
    """Removes what a process that was killed had begun to write."""
    for folder in parent.glob(f"{PREFIX}????????{glob.escape(suffix)}"):
        with _lock(folder) as is_free:
            if is_free:
                shutil.rmtree(folder)


def _replace(path: Path, new: Path, own: Sequence[str]) -> None:
    if not path.exists():
        new.rename(path)
    else:
        written = [name for name in own if (new / name).exists()]
        for entry in path.iterdir():
            if entry.name not in own and not entry.name.startswith(PREFIX):
                _link(entry, new / entry.name)
        shutil.copymode(path, new)
        try:
            _exchange(new, path)
        except OSError as error:
            if error.errno not in CAN_NOT_EXCHANGE:
                raise
            for name in written:
                with atomic_write(path / name) as file:
                    shutil.copyfile(new / name, file)
            for name in set(own) - set(written):
                (path / name).unlink(missing_ok=True)
    sync_directory(path.parent)


def _link(entry: Path, to: Path) -> None:
    """The same file under another path, without a copy where the file system can; a folder with all that is in it."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:
            shutil.copy2(source, target, follow_symlinks=False)

    if entry.is_dir() and not entry.is_symlink():
        shutil.copytree(entry, to, symlinks=True, copy_function=link)
    else:
        link(str(entry), str(to))


def _exchange(new: Path, path: Path) -> None:
    """Each of two folders gets the name of the other, at the same moment; on Linux."""
    cwd = Path.cwd()
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is None or path in (cwd, *cwd.parents):  # whoever works in a folder would stay in the one that goes
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(path), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Whether this process got the folder's lock, which a process that is gone does not hold."""
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_free = True
    except BlockingIOError:
        is_free = False
    try:
        yield is_free
    finally:
        os.close(handle)
