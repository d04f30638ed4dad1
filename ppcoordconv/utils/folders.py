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
from typing import Iterator, Optional, Sequence

from .errors import UserError
from .files import PREFIX, sync_directory

# Of renameat2, on Linux.
AT_FDCWD, RENAME_EXCHANGE = -100, 2
CAN_NOT_EXCHANGE = (errno.EBUSY, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


@contextlib.contextmanager
def atomic_folder(path: Path, own: Sequence[str]) -> Iterator[Path]:
    """An empty folder; when the block ends without an error, what was written there takes the place of what was before.

    That is one rename where ``path`` holds only files of the names in ``own``. What else is there stays, and then the
    files are renamed one after the other, in the order of ``own``, once all are written; so they are where the system
    can't exchange two folders, at a mount point, in the working directory, and where the parent can't be written.

    Raises:
        UserError: the folder, or the one it is in, can't be written, or the disk is full; ``path`` is as it was.
    """
    path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder")
        is_inside = path.exists() and not _can_be_exchanged(path, own)
        with _hidden_folder(path if is_inside else path.parent, path.name[-40:]) as hidden:
            new = hidden / "new"
            new.mkdir()
            yield new
            for file in new.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            sync_directory(new)
            if not path.exists():
                new.rename(path)
            elif is_inside or not _exchange(new, path):
                _replace_files(path, new, own)
            else:
                _bring_back(path, new, own)
            sync_directory(path.parent)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}") from error


def _can_be_exchanged(path: Path, own: Sequence[str]) -> bool:
    cwd = Path.cwd()
    return (
        all((entry.name in own and not _is_folder(entry)) or entry.name.startswith(PREFIX) for entry in path.iterdir())
        and os.access(path.parent, os.W_OK)
        and not path.is_mount()
        # Whoever works in a folder would stay in the one that goes.
        and path not in (cwd, *cwd.parents)
    )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _exchange(new: Path, path: Path) -> bool:
    """Gives each of two folders the name of the other, at the same moment; returns whether the system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    before = path.stat()
    new.chmod(before.st_mode & 0o7777)
    with contextlib.suppress(PermissionError):
        os.chown(new, before.st_uid, before.st_gid)
    if rename(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(path), RENAME_EXCHANGE) == 0:
        return True
    if ctypes.get_errno() in CAN_NOT_EXCHANGE:
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _replace_files(path: Path, new: Path, own: Sequence[str]) -> None:
    written = [name for name in own if (new / name).exists()]
    for name in written:
        if _is_folder(path / name):
            raise UserError(f"{path / name} is a folder, where a file is to be written; move it away")
    for name in written:
        (new / name).replace(path / name)
    for name in set(own) - set(written):
        if not _is_folder(path / name):
            (path / name).unlink(missing_ok=True)
    sync_directory(path)


def _bring_back(path: Path, old: Path, own: Sequence[str]) -> None:
    """What another process has put into the folder since it was looked at."""
    for entry in old.iterdir():
        if entry.name not in own:
            entry.rename(path / entry.name)


@contextlib.contextmanager
def _hidden_folder(parent: Path, suffix: str) -> Iterator[Path]:
    """A folder that is removed at the end, or, if this process is killed, by the next that makes one."""
    for abandoned in parent.glob(f"{PREFIX}????????{glob.escape(suffix)}/"):
        with contextlib.suppress(OSError):  # as of somebody else's
            lock = try_lock(abandoned)
            if lock is not None:
                shutil.rmtree(abandoned, ignore_errors=True)
                os.close(lock)
    lock = None
    while lock is None:  # another process may have taken it for abandoned
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, suffix=suffix, dir=parent))
        lock = try_lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def try_lock(folder: Path) -> Optional[int]:
    """The folder's lock, which a process that is gone does not hold; None: another has it, or the folder is gone.

    Raises:
        OSError: the folder can't be read, or its file system has no locks.
    """
    import fcntl

    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise
    if folder.exists():
        return handle
    os.close(handle)
    return None
