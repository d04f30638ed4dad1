"""The picture files in folders, and what beside them is left out."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Iterator, List, Sequence, Tuple

from ..utils.errors import UserError
from ..utils.progress import defer_info

# In lower case; those in upper case are taken, too.
ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# What systems and archives put beside the files of a person; names that begin with a dot are of that kind, too.
_SYSTEM_FILES = ("__macosx", "thumbs.db", "desktop.ini")


def is_picture(name: str) -> bool:
    """By its ending."""
    return Path(name).suffix.lower() in ENDINGS


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is passed over."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def list_images(path: Path, recursive: bool = False) -> List[Path]:
    """A picture file itself, or the picture files in a folder, sorted; with ``recursive`` in the folders in it, too.

    Hidden files and folders are passed over, and links to folders not followed; a folder that can't be read stands for
    itself.

    Raises:
        UserError: the folder holds none.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - Path's raises where the name is too long
        return [path]
    images = [file for file, wanted in _files(path, recursive) if wanted]
    if not images:
        raise no_picture(path)
    return sorted(images)


def images_below(folders: Sequence[Path]) -> List[List[Path]]:
    """Of each folder the picture files in it and in the folders in it, sorted, maybe none.

    How many files of which other endings there are is said with the next information, in one line for all folders.
    """
    found: List[List[Path]] = []
    left_out: Counter[str] = Counter()
    for folder in folders:
        files = list(_files(folder, recursive=True))
        found.append(sorted(file for file, wanted in files if wanted))
        left_out.update(file.suffix.lower() or "without an ending" for file, wanted in files if not wanted)
    if left_out:
        defer_info(f"left out: {', '.join(f'{count} {ending}' for ending, count in left_out.most_common())}")
    return found


def no_picture(folder: Path) -> UserError:
    return UserError(f"there is no picture in the folder {folder}; it takes {', '.join(ENDINGS)}")


def _files(path: Path, recursive: bool) -> Iterator[Tuple[Path, bool]]:
    """The files that are not hidden, and whether each is taken for a picture."""
    unreadable: List[Path] = []
    walk = os.walk(path, onerror=lambda error: unreadable.append(Path(error.filename)))
    for folder, folders, names in walk if recursive else itertools.islice(walk, 1):
        # In place: os.walk goes into those that are left.
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from ((Path(folder, name), is_picture(name)) for name in names if not is_hidden(name))
    yield from ((folder, True) for folder in unreadable)
