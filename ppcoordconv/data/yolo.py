"""YOLO's format: a text file of classes and boxes for each picture, in parts of its width and height."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import yaml

from ..utils.arguments import as_whole
from ..utils.errors import UserError, shortened, shortened_repr
from ..utils.labels import MAX_LETTERS, is_label
from ..utils.problems import entry
from ..utils.progress import log_info
from . import DATASETS
from .annotations import Annotated, Annotations, Box, Corners, around, detection_data
from .boxes import DetectionData
from .files import check_folder, choose_splits, find_picture, read_text
from .listing import list_images

# How far beyond 1 a number may be that a tool has rounded.
SLACK = 0.01


@DATASETS.register
def yolo(
    path: str = "",
    train_split: Optional[str] = None,
    test_split: Optional[str] = None,
    split_seed: int = 0,
    on_error: str = "stop",
) -> DetectionData:
    """Pictures with a text file each. A line is ``class x y width height``, the middle and the size of a box as parts
    of the picture, or ``class x y x y x y ...``, a polygon, around which the box is taken.

    The text file of ``images/a.jpg`` is ``labels/a.txt``, or beside it; a picture without one has no box. A picture is
    taken as it is shown, with the orientation that a camera noted, as Ultralytics takes it.

    Parameters:
        path: ``data.yaml`` (``names``, ``train``, ``val``, ``test``, ``path``), or the folder that it is in; or a
            folder with pictures and ``classes.txt`` or ``obj.names``.
        train_split, test_split, split_seed, on_error: as ``voc`` has them; a split is a key of ``data.yaml``, or
            without it the folder ``NAME`` or ``images/NAME``.

    Raises:
        UserError: a file or a picture is missing, or an entry is wrong; it names the file and the line.
    """
    folder, tree = _open(path)
    train, test = choose_splits(train_split, test_split, lambda name: bool(_places(folder, tree, name)))
    names = _names(folder, tree)
    is_pose = "kpt_shape" in tree
    sets = [(folder, names, _places(folder, tree, name) if name else (folder,), is_pose) for name in (train, test)]
    return detection_data(parse_yolo, sets[0], sets[1] if test else None, split_seed, on_error)


# By their index.
Names = Tuple[Tuple[int, str], ...]


def parse_yolo(folder: Path, names: Names, places: Tuple[Path, ...], is_pose: bool = False) -> Annotations:
    """What the text files say of the pictures in some places, each a folder or a text file that lists pictures.

    Parameters:
        is_pose: after its box a line has the points of a pose, which are left out.
    """
    labels = dict(names)
    images = [image for place in places for image in _images(folder, place)]
    pictures = [_picture(image, labels, is_pose) for image in images]
    if all(picture.file == picture.image for picture in pictures):
        raise UserError(f"there is no text file of boxes for any picture in {places[0]}, as {_texts_of(images[0])[0]}")
    if all(place.is_dir() for place in places):
        _say_without_picture(folder, images)
    return Annotations(folder, list(dict.fromkeys(labels.values())), pictures)


def _say_without_picture(folder: Path, images: List[Path]) -> None:
    """The text files in the folders labels/ that have no picture: it may be lost, or have another name."""
    texts = {_texts_of(image)[0] for image in images}
    folders = sorted({text.parent for text in texts} - {image.parent for image in images})
    found = [text for place in folders for text in sorted(place.glob("*.txt")) if text.name != "classes.txt"]
    if alone := [text for text in found if text not in texts]:
        log_info(
            f"{folder}: text files of boxes without a picture: {len(alone)} of {len(found)}, {shortened(alone, 3)}"
        )


def _open(path: str) -> Tuple[Path, Dict[str, Any]]:
    """The folder that all is in, and what ``data.yaml`` says; {} without one."""
    if not path.endswith((".yaml", ".yml")):
        folder = check_folder(path)
        files = [folder / "data.yaml", *sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            return folder, {}
    else:
        file = Path(path)
    try:
        # Texts throughout: names may be numbers, or "no".
        tree = yaml.load(read_text(file), yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{file} takes names, train and val, as YOLO's data.yaml has them, got {shortened_repr(tree)}")
    # The path of another machine, or one from where Ultralytics keeps its data sets, is as good as none.
    given = file.parent / str(tree.get("path") or "")
    return (given if given.is_dir() else file.parent), tree


def _places(folder: Path, tree: Dict[str, Any], split: str) -> Tuple[Path, ...]:
    """Where the pictures of a part are; () if there is no such part."""
    if not tree:
        return tuple(place for place in (folder / split, folder / "images" / split) if place.is_dir())[:1]
    given = tree.get(split) or []
    given = given if isinstance(given, list) else [given]
    found = []
    for name in map(str, given):
        # Roboflow writes ../train/images where train/images is meant.
        place = next((p for p in (folder / name, folder / name.replace("../", "", 1)) if p.exists()), None)
        if place is None:
            raise UserError(f"{split} of data.yaml names {name!r}, which is not there in {folder}")
        found.append(place)
    return tuple(found)


def _names(folder: Path, tree: Dict[str, Any]) -> Names:
    if tree:
        source, given = "names of data.yaml", tree.get("names")
    else:
        places = [place / name for place in (folder, folder / "labels") for name in ("classes.txt", "obj.names")]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            raise UserError(
                f"{folder} takes data.yaml, classes.txt or obj.names, which name the classes; none is there"
            )
        source, given = str(file), [line.strip() for line in read_text(file).rstrip().splitlines()]
    items = given.items() if isinstance(given, dict) else enumerate(given if isinstance(given, list) else [])
    names = [(-1 if (number := as_whole(key)) is None else number, label) for key, label in items]
    if not names or any(key < 0 or not label or not is_label(label) for key, label in names):
        takes = f"takes the names of the classes, of 1 to {MAX_LETTERS} letters, in a list or by whole numbers"
        raise UserError(f"{folder}: {source} {takes}, got {shortened_repr(given)}")
    return tuple(sorted(names))


def _images(folder: Path, place: Path) -> List[Path]:
    if place.suffix != ".txt":
        return list_images(place, recursive=True)
    lines = [line.strip() for line in read_text(place).splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{place} is empty; it takes the path of a picture a line")
    return [find_picture(line, folder, place.parent) for line in lines]


def _texts_of(image: Path) -> List[Path]:
    """Where the boxes of a picture may be: in labels/ for a picture in images/, or beside it."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return list(dict.fromkeys(path.with_suffix(".txt") for path in (Path(*parts), image)))


def _picture(image: Path, labels: Dict[int, str], is_pose: bool) -> Annotated:
    file = next((file for file in _texts_of(image) if file.is_file()), None)
    if file is None:
        return Annotated(image, str(image), image, None, [])
    boxes = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        with entry():
            if words := line.split():
                boxes.append(_box(file, number, words[:5] if is_pose else words, labels))
    return Annotated(file, str(file), image, None, boxes, relative=True)


def _box(file: Path, number: int, words: List[str], labels: Dict[int, str]) -> Box:
    where, given = f"{file}: line {number}", shortened_repr(" ".join(words))
    index = as_whole(words[0])
    if index is None or index not in labels:
        known = f"the classes are {min(labels)} to {max(labels)}"
        raise UserError(f"{where}: there is no class {shortened_repr(words[0])}; {known}")
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError:
        numbers = []
    is_polygon = len(numbers) >= 6 and len(numbers) % 2 == 0
    if len(numbers) != 4 and not is_polygon:
        takes = "class, x, y, width and height, or class and the points of a polygon"
        raise UserError(f"{where} takes {takes}, got {given}")
    if not all(-SLACK <= n <= 1 + SLACK for n in numbers):
        raise UserError(f"{where} takes parts of the picture's width and height, from 0 to 1, got {given}")
    return Box(
        f"line {number}", labels[index], around(numbers[::2], numbers[1::2]) if is_polygon else _corners(*numbers)
    )


def _corners(x: float, y: float, width: float, height: float) -> Corners:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
