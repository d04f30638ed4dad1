"""Anybody's pictures and lists of their labels, as PaddleClas has them, or as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import numpy as np

from ..utils.arguments import check_int, check_path
from ..utils.errors import UserError, shortened, shortened_repr
from ..utils.labels import is_label
from ..utils.problems import entry
from ..utils.progress import bar, defer_info
from . import DATASETS, ClassificationData, LabelledImages
from .files import check_file, read_text
from .images import read_image
from .listing import is_picture
from .readable import check_on_error, readable
from .splits import both_have, split_as_given, split_by_seed


class _Entry(NamedTuple):
    """A line of a list."""

    line: int
    picture: str
    label: str


@DATASETS.register
def image_list(
    path: str,
    train: str = "train_list.txt",
    test: Optional[str] = None,
    labels: Optional[str] = None,
    on_error: str = "stop",
    split_seed: int = 0,
) -> ClassificationData:
    """Pictures that lists name, with their labels.

    A line is a picture and its label, with a tab or a blank between them. Of a file ``.csv`` the first two columns
    count, and its first line is a header where it names no picture, ``image,label``. In paths, a backslash is a slash.
    The files are UTF-8.

    Parameters:
        path: the folder that the pictures and the other three are in.
        train: the list of what is trained on. test: of what is held out; None: a fifth of each class of ``train``.
        labels: a file of lines "id name"; in the lists a label is then one of the ids or of the names, and the classes
            are in the order of the ids. None: the classes are the labels that ``train`` has, whole numbers in their
            order, else sorted.
        on_error: "stop" at a picture that is missing or can't be read, or "skip": all are read once before, and such
            are left out.
        split_seed: decides which pictures are held out, where there is no ``test``; 0 to 2^31 - 1.

    Raises:
        UserError: a file or a picture is missing, or a line is wrong, which it names; there are fewer than two classes,
            or too few pictures of one.
    """
    for name, value in {"path": path, "train": train, "test": test, "labels": labels}.items():
        if value is not None or name in ("path", "train"):
            check_path(name, value)
    check_on_error(on_error)
    check_int("split_seed", split_seed, 0, 2**31 - 1)
    folder = Path(path)
    entries = _read_list(folder / train)
    names, index = _read_labels(folder / labels) if labels else _labels_of(entries)
    samples = _samples(folder, folder / train, entries, index, on_error)
    if test is None:
        return split_by_seed(str(folder / train), _once(folder / train, samples), names, split_seed)
    held_out = _samples(folder, folder / test, _read_list(folder / test), index, on_error)
    if said := both_have(samples.images, held_out.images, f"in {test} are trained on"):
        defer_info(said)
    return split_as_given(str(folder / train), samples, held_out, names, f"those in {test}")


def _samples(folder: Path, file: Path, entries: List[_Entry], index: Dict[str, int], on_error: str) -> LabelledImages:
    files: List[Tuple[Path, int]] = []
    first: Dict[Path, _Entry] = {}
    with bar(len(entries), unit="picture") as progress:
        for one in entries:
            with entry():
                line, picture, label = one
                where = f"{file}, line {line}"
                if label not in index:
                    raise UserError(f"{where}: there is no label {shortened_repr(label)}; the labels are {_few(index)}")
                place = folder / picture
                before = first.setdefault(place, one)
                if index[before.label] != index[label]:
                    other = f"{shortened_repr(before.label)} in line {before.line}"
                    raise UserError(
                        f"{where}: a picture has one label, and {picture} has {shortened_repr(label)} here, {other}"
                    )
                if on_error == "stop":
                    check_file(where, place)
                files.append((place, index[label]))
            progress.update()
    files = readable(files, lambda labelled: read_image(labelled[0]), on_error)
    return LabelledImages([place for place, _ in files], np.array([number for _, number in files], np.int64))


def _once(file: Path, samples: LabelledImages) -> LabelledImages:
    """Each picture once: one that is listed twice would be trained on and held out."""
    first: Dict[str, int] = {}
    for number, place in enumerate(samples.images):
        first.setdefault(str(place), number)
    if again := len(samples) - len(first):
        defer_info(f"{file}: pictures that are listed twice, and count once: {again} of {len(samples)}")
    return samples.take(np.array(list(first.values())))


def _few(index: Dict[str, int]) -> str:
    return shortened([shortened_repr(label) for label in index], 8)


def _read_list(file: Path) -> List[_Entry]:
    rows = _csv_rows(file) if file.suffix.lower() == ".csv" else _text_rows(file)
    entries = []
    for line, picture, label in rows:
        with entry():
            if not picture or not label:
                given = shortened_repr(picture or label)
                raise UserError(f"{file}, line {line}: takes a picture and its label, got {given}")
            _check_label(file, line, label)
            entries.append(_Entry(line, picture.replace("\\", "/"), label))
    if not entries:
        raise UserError(f"{file} names no picture; a line takes a picture and its label")
    return entries


def _text_rows(file: Path) -> Iterator[Tuple[int, str, str]]:
    for number, line in _lines(file):
        # From the right: a path may hold blanks, and so may a label after a tab.
        picture, _, label = line.rpartition("\t" if "\t" in line else " ")
        yield number, picture.strip(), label.strip()


def _csv_rows(file: Path) -> Iterator[Tuple[int, str, str]]:
    reader = csv.reader(io.StringIO(read_text(file), newline=""), skipinitialspace=True)
    try:
        for row in reader:
            picture, label, *_ = (*(field.strip() for field in row), "", "")
            is_header = reader.line_num == 1 and label and not is_picture(picture.replace("\\", "/"))
            if is_header and len(row) > 2:
                defer_info(f"{file}: its columns after the second are not used: {shortened(row[2:], 5)}")
            if any(row) and not is_header:
                yield reader.line_num, picture, label
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from error


def _read_labels(file: Path) -> Tuple[List[str], Dict[str, int]]:
    """The names by ascending id, and the number of each name and id."""
    names: Dict[int, str] = {}
    seen: Set[str] = set()
    for number, line in _lines(file):
        key, name = (part.strip() for part in line.replace("\t", " ").partition(" ")[::2])
        if not _is_id(key) or not name:
            raise UserError(
                f"{file}, line {number}: takes an id, a whole number, and a name, got {shortened_repr(line)}"
            )
        if int(key) in names or name in seen:
            raise UserError(f"{file}, line {number}: its id or its name is there twice: {shortened_repr(line)}")
        _check_label(file, number, name)
        names[int(key)] = name
        seen.add(name)
    ordered = sorted(names)
    by_name = {names[key]: number for number, key in enumerate(ordered)}
    return list(by_name), {**by_name, **{str(key): number for number, key in enumerate(ordered)}}


def _labels_of(entries: List[_Entry]) -> Tuple[List[str], Dict[str, int]]:
    found = {entry.label for entry in entries}
    are_numbers = all(map(_is_id, found))
    names = sorted(found, key=lambda label: (int(label) if are_numbers else 0, label))
    return names, {label: number for number, label in enumerate(names)}


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _check_label(file: Path, line: int, label: str) -> None:
    if not is_label(label):
        raise UserError(f"{file}, line {line}: a label is a text of at most 1000 letters, got {shortened_repr(label)}")


def _lines(file: Path) -> Iterator[Tuple[int, str]]:
    """Those that are not empty, by number."""
    for number, line in enumerate(io.StringIO(read_text(file), newline=None), 1):
        if line.strip():
            yield number, line.strip()
