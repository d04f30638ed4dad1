"""Data sets in COCO's format: a JSON file of images, annotations and categories, beside a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Set

from ..utils.errors import MissingFileError, UserError, shortened, shortened_repr
from ..utils.problems import entry
from . import DATASETS
from .annotations import Annotated, Annotations, Box, boxed_images, detection_data
from .boxes import DetectionData, LabelledBoxes
from .coco_file import LABEL, Id, corners_of, label, read_coco_file, sets_in
from .files import find_picture


@DATASETS.register
def coco(
    path: str = "",
    train_annotations: str = "train.json",
    train_images: str = "train",
    test_annotations: Optional[str] = None,
    test_images: str = "test",
    split_seed: int = 0,
    on_error: str = "stop",
) -> DetectionData:
    """Any data set with COCO JSON; the training and the test set are read when they are asked for.

    ``bbox`` is left, top, width, height, in pixels; where it is missing or empty, the box around ``segmentation``'s
    polygons is taken. Boxes are cut at the edges of their picture; those without width or height are left out, and said
    to be. Pictures without annotations are kept: they teach what is nothing.

    Parameters:
        path: the folder that the other four are in; COCO's own are "annotations/instances_train2017.json",
            "train2017", "annotations/instances_val2017.json" and "val2017".
        test_annotations: None: "test.json", and where that is not there, a fifth of the training pictures is held out.
        split_seed: draws those that are held out.
        on_error: "stop" at a picture that is missing or can't be read, or "skip": all are read once before, and such
            are left out.

    Raises:
        UserError: a file or a picture is missing, or an entry is wrong; it names the entry.
    """
    train, test = sets_in(path, (train_annotations, train_images), (test_annotations, test_images))
    return detection_data(parse_coco, train, test, split_seed, on_error)


def _what_is_there(folder: Path) -> str:
    if (folder / "data.yaml").exists():
        return "data.yaml is there, which data.name=yolo reads"
    if there := sorted(path.name for path in folder.glob("*.json")):
        return f"{shortened(there, 3)} is there: data.train_annotations and data.test_annotations name the files"
    return "coco takes a folder in COCO's format, as python tools/fields.py --output FOLDER writes one"


def read_coco(annotations: Path, images: Path, on_error: str = "stop") -> LabelledBoxes:
    """The pictures of a COCO file, by ascending id, and the names of its categories, by ascending id."""
    return boxed_images(parse_coco(annotations, images), on_error)


def parse_coco(file: Path, images: Path) -> Annotations:
    """What a COCO file says of the pictures in a folder.

    Raises:
        UserError: it is missing, or an entry is wrong; it names the entry.
    """
    try:
        read = read_coco_file(file, {"name": (label, LABEL)})
    except MissingFileError:
        raise UserError(f"there is no file {file}; {_what_is_there(file.parent)}") from None
    found: Dict[Id, List[Box]] = {key: [] for key in read.pictures}
    used: Set[Id] = set()
    for name, record in read.named_annotations():
        with entry():
            picture, category, crowd = read.belongs_to(name, record)
            used.add(category)
            corners = corners_of(f"{file}: {name}", record)
            found[picture].append(Box(name, read.categories[category]["name"], corners, crowd))
    annotated = [
        Annotated(
            file,
            f"{file}: image {shortened_repr(key)}",
            find_picture(record["file_name"], images),
            (record["height"], record["width"]),
            found[key],
        )
        for key, record in read.pictures.items()
    ]
    return Annotations(file, category_names(file, read.categories, used), annotated)


def category_names(file: Path, categories: Dict[Id, Dict[str, Any]], used: Set[Id]) -> List[str]:
    """Each once: a root without boxes, as Roboflow writes one, may have the name of a category in it."""
    named: Dict[str, List[Id]] = {}
    for key, record in categories.items():
        named.setdefault(record["name"], []).append(key)
    for name, keys in named.items():
        if sum(key in used for key in keys) > 1:
            raise UserError(f"{file}: two categories have the name {name!r}")
    return list(named)
