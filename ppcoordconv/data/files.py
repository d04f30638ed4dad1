"""Finding and reading the files of labelling tools: JSON, XML, pictures by the names that annotations give them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from xml.etree import ElementTree
from xml.parsers import expat

from ..utils.errors import ArgumentError, UserError, shortened_repr
from ..utils.files import open_regular
from ..utils.labels import MAX_LETTERS, is_label
from .listing import is_hidden

# Under these names the part of a data set that is measured on is looked for.
TEST_SPLITS = ("val", "valid", "test")


def check_folder(path: Any) -> Path:
    """The folder of a data set, by the option ``path``.

    Raises:
        ArgumentError: it is not one.
    """
    if not (isinstance(path, str) and path and Path(path).is_dir()):
        raise ArgumentError("path", f"takes the folder of the data set's files, got {path!r}, which is none")
    return Path(path)


def read_json(file: Path, wanted: str) -> Dict[str, Any]:
    """The object that a JSON file holds, ``wanted`` being what it takes, for messages.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    with open_regular(file) as opened:
        content = opened.read()
    try:
        # Bytes: json finds out which UTF it is, and whether a byte order mark comes first.
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{file} takes {wanted}, got {type(tree).__name__}")
    return tree


def read_xml(file: Path) -> ElementTree.Element:
    """The root of an XML file without a document type, which could make a few lines into gigabytes.

    Raises:
        UserError: there is no such file, or it is something else.
    """
    with open_regular(file) as opened:
        content = opened.read()

    def refuse(name: str, *_: Any) -> None:
        raise UserError(f"{file} declares a document type, {name!r}, which is not taken; remove <!DOCTYPE ...>")

    scan = expat.ParserCreate()
    scan.StartDoctypeDeclHandler = refuse
    try:
        scan.Parse(content, True)
        return ElementTree.fromstring(content)
    except UserError:
        raise
    except (ElementTree.ParseError, expat.ExpatError, ValueError, LookupError) as error:
        raise UserError(f"{file} is not valid XML: {error}") from error


def read_text(file: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        UserError: there is no such file, or it is something else.
    """
    with open_regular(file) as opened:
        try:
            return opened.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{file} is not UTF-8: {error}; save it as UTF-8") from error


def check_file(where: str, path: Path) -> None:
    """Raises a UserError, which says where it is named, if there is no such file."""
    if not os.path.isfile(path):  # noqa: PTH113 - Path's raises where the name is too long
        raise UserError(f"{where}: there is no file {shortened_repr(str(path), 200)}")


def check_label(where: str, field: str, label: Any) -> str:
    """The label of a box; raises a UserError where it is no text that can be one."""
    if not label or not is_label(label):
        raise UserError(f"{where}: {field} takes a text of 1 to {MAX_LETTERS} letters, got {shortened_repr(label)}")
    return label


def find_picture(name: str, *folders: Path) -> Path:
    """The file of a picture, from the name that annotations give it.

    That may be a path on another machine, of Windows or a server, and begin with the eight digits that Label Studio
    puts before the name of a file that is uploaded: the longest end of it is taken that is a file in a folder.

    Returns:
        Where there is none, the place in the first folder where it should be.
    """
    return next(filter(os.path.isfile, _places(name, folders)), folders[0] / name)


def _places(name: str, folders: Tuple[Path, ...]) -> Iterator[Path]:
    yield from (folder / name for folder in folders)
    parts = name.replace("\\", "/").split("/")
    plain = re.sub("^[0-9a-f]{8}-", "", parts[-1])
    for ends in (["/".join(parts[start:]) for start in range(len(parts))], [plain]):
        yield from (folder / end for end in ends for folder in folders if end)


def files_ending(folder: Path, ending: str) -> List[Path]:
    """Those in a folder and in the folders in it that are not hidden, sorted.

    Raises:
        UserError: there is none.
    """
    files = (path for path in folder.rglob(f"*{ending}") if path.is_file())
    found = sorted(path for path in files if not any(map(is_hidden, path.relative_to(folder).parts)))
    if not found:
        raise UserError(f"there is no {ending} file in the folder {folder}")
    return found


def choose_splits(
    train: Optional[str], test: Optional[str], is_there: Callable[[str], bool]
) -> Tuple[Optional[str], Optional[str]]:
    """The names of the parts of a data set that are trained and tested on: those given, or those that are there.

    Returns:
        None for the training part: there are no parts, everything is meant. None for the test part: there is none.

    Raises:
        ArgumentError: one that is given is not there.
    """
    for option, name in (("train_split", train), ("test_split", test)):
        if name is not None and not (isinstance(name, str) and name and is_there(name)):
            raise ArgumentError(option, f"takes the name of a part of the data set; there is none of name {name!r}")
    train = train or ("train" if is_there("train") else None)
    if train is None and test is not None:
        raise ArgumentError("train_split", f"takes the name of a part, as test_split does, {test!r}; got nothing")
    if train is not None and test is None:
        test = next((name for name in TEST_SPLITS if name != train and is_there(name)), None)
    return train, test
