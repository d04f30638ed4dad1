"""Data sets in COCO's format: a JSON file of images, annotations and categories, beside a folder of pictures."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np

from ..ops.boxes import areas, clipped
from ..utils.arguments import MAX_PIXEL
from ..utils.errors import ArgumentError, MissingFileError, UserError, shortened_repr
from ..utils.files import open_regular
from ..utils.labels import MAX_LETTERS, is_label
from ..utils.progress import log_info
from . import DATASETS
from .boxes import BoxedImage, DetectionData
from .readable import check_on_error, readable


@DATASETS.register
def coco(
    path: str = "",
    train_annotations: str = "train.json",
    train_images: str = "train",
    test_annotations: str = "test.json",
    test_images: str = "test",
    on_error: str = "stop",
) -> DetectionData:
    """Any data set with COCO JSON; the training and the test set are read when they are asked for.

    ``bbox`` is left, top, width, height, in pixels. Boxes are cut at the edges of their picture; those without width or
    height are left out, and said to be. Pictures without annotations are kept: they teach what is nothing.

    Parameters:
        path: the folder that the other four are in; COCO's own are "annotations/instances_train2017.json",
            "train2017", "annotations/instances_val2017.json" and "val2017".
        on_error: "stop" at a picture that is missing or can't be read, or "skip": all are read once before, and such
            are left out.

    Raises:
        UserError: a file or a picture is missing, or an entry is wrong; it names the entry.
    """
    if not path:
        raise ArgumentError("path", "takes the folder of the data set's files, got nothing")
    check_on_error(on_error)
    folder = Path(path)
    return DetectionData(
        partial(read_coco, folder / train_annotations, folder / train_images, on_error),
        partial(read_coco, folder / test_annotations, folder / test_images, on_error),
    )


def read_coco(annotations: Path, images: Path, on_error: str = "stop") -> Tuple[List[BoxedImage], List[str]]:
    """The pictures of a COCO file, by ascending id, and the names of its categories, by ascending id."""
    tree = _read_json(annotations)
    records = {key: _records(annotations, tree, key) for key in ("images", "annotations", "categories")}
    categories = _by_id(annotations, "category", records["categories"], {"name": _label})
    names = [categories[key]["name"] for key in sorted(categories)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{annotations}: two categories have the name {twice!r}")
    if not names:
        raise UserError(f"{annotations}: it has no category")
    index = {key: number for number, key in enumerate(sorted(categories))}
    pictures = _by_id(annotations, "image", records["images"], {"file_name": _text, "width": _side, "height": _side})
    if not pictures:
        raise UserError(f"{annotations}: it has no image")
    found: Dict[int, List[Tuple[np.ndarray, int, bool]]] = {key: [] for key in pictures}
    flat = []
    for number, record in enumerate(records["annotations"]):
        where = f"{annotations}: annotation {shortened_repr(record['id']) if 'id' in record else f'number {number}'}"
        picture, category = record.get("image_id"), record.get("category_id")
        if not _is_id(picture) or picture not in pictures:
            raise UserError(f"{where}: there is no image of image_id {shortened_repr(picture)}")
        if not _is_id(category) or category not in categories:
            raise UserError(f"{where}: there is no category of category_id {shortened_repr(category)}")
        crowd = record.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise UserError(f"{where}: iscrowd takes 0 or 1, got {shortened_repr(crowd)}")
        box = _box(where, record.get("bbox"), pictures[picture])
        if areas(box) > 0:
            found[picture].append((box, index[category], bool(crowd)))
        else:
            flat.append(record.get("id", number))
    if flat:
        log_info(
            f"{annotations}: {len(flat)} boxes without width or height are left out, the first of annotation {flat[0]}"
        )
    boxed = [_boxed(images, pictures[key], found[key]) for key in sorted(pictures)]
    if on_error == "stop":
        for key, picture in zip(sorted(pictures), boxed):
            _check_is_there(f"{annotations}: image {key}", picture.image)
    return readable(boxed, BoxedImage.pixels, on_error), names


def _check_is_there(where: str, file: Any) -> None:
    if not os.path.isfile(file):  # noqa: PTH113 - Path's raises where the name is too long
        raise UserError(f"{where}: there is no file {shortened_repr(str(file), 200)}")


def _boxed(images: Path, picture: Dict[str, Any], found: List[Tuple[np.ndarray, int, bool]]) -> BoxedImage:
    return BoxedImage(
        images / picture["file_name"],
        (picture["height"], picture["width"]),
        np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([category for _, category, _ in found], np.int64),
        np.array([crowd for _, _, crowd in found], bool),
    )


def _read_json(path: Path) -> Dict[str, Any]:
    try:
        with open_regular(path) as file:
            tree = json.loads(file.read().decode("utf-8"))
    except MissingFileError:
        raise UserError(
            f"there is no file {path}; coco takes a folder in COCO's format, as python tools/fields.py --output FOLDER "
            "writes one"
        ) from None
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} takes an object with images, annotations and categories, got {type(tree).__name__}")
    return tree


def _records(path: Path, tree: Dict[str, Any], key: str) -> List[Dict[str, Any]]:
    records = tree.get(key)
    if not isinstance(records, list):
        raise UserError(
            f"{path}: {key!r} takes a list, got {'nothing' if records is None else shortened_repr(records, 40)}"
        )
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise UserError(f"{path}: number {number} of {key!r} is not an object: {shortened_repr(record, 40)}")
    return records


def _by_id(
    path: Path, what: str, records: List[Dict[str, Any]], fields: Dict[str, Callable[[Any], str]]
) -> Dict[int, Dict[str, Any]]:
    """The records by their id. A field's function gives what the field takes, or "" where it is right."""
    by_id: Dict[int, Dict[str, Any]] = {}
    for number, record in enumerate(records):
        key: Any = record.get("id")
        if not _is_id(key):
            raise UserError(f"{path}: {what} number {number}: id takes a whole number, got {shortened_repr(key)}")
        if key in by_id:
            raise UserError(f"{path}: two entries have the {what} id {key}")
        for name, check in fields.items():
            if takes := check(record.get(name)):
                raise UserError(f"{path}: {what} {key}: {name} takes {takes}, got {shortened_repr(record.get(name))}")
        by_id[key] = record
    return by_id


def _is_id(value: Any) -> bool:
    return type(value) is int


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value else "a text"


def _label(value: Any) -> str:
    return "" if value and is_label(value) else f"a text of 1 to {MAX_LETTERS} letters"


def _side(value: Any) -> str:
    return "" if type(value) is int and 0 < value < 2**31 else "a whole number of pixels, from 1 to 2^31 - 1"


def _box(where: str, box: Any, picture: Dict[str, Any]) -> np.ndarray:
    """``[4]``: left, top, right, bottom, inside the picture."""
    is_numbers = isinstance(box, list) and len(box) == 4 and all(type(n) in (int, float) for n in box)
    if not is_numbers:
        raise UserError(f"{where}: bbox takes left, top, width and height, got {shortened_repr(box)}")
    # A whole number may be too large for a float; nan is not below anything.
    if not all(abs(n) <= MAX_PIXEL for n in box):
        raise UserError(f"{where}: bbox takes numbers of at most {MAX_PIXEL:g}, got {shortened_repr(box)}")
    left, top, width, height = box
    if width < 0 or height < 0:
        given = shortened_repr(box)
        raise UserError(f"{where}: bbox is left, top, width and height, and no size is negative, got {given}")
    if left >= picture["width"] or top >= picture["height"] or left + width < 0 or top + height < 0:
        size = f"{picture['width']}x{picture['height']}"
        raise UserError(f"{where}: the bbox {box!r} lies outside its image of {size} pixels")
    corners = np.array([[left, top, left + width, top + height]], np.float32)
    return clipped(corners, picture["height"], picture["width"])[0]
