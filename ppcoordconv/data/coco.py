"""Data sets in COCO's format: a JSON file of images, annotations and categories, beside a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

from ..utils.arguments import MAX_PIXEL, as_side, as_whole, is_pixel
from ..utils.errors import ArgumentError, MissingFileError, UserError, shortened, shortened_repr
from ..utils.labels import MAX_LETTERS, is_label
from ..utils.problems import entry
from . import DATASETS
from .annotations import Annotated, Annotations, Box, Corners, around, boxed_images, detection_data
from .boxes import DetectionData, LabelledBoxes
from .files import find_picture, read_json

Id = Union[int, str]
# What a test file is called that is not named.
TEST_FILE = "test.json"
LABEL = f"a text of 1 to {MAX_LETTERS} letters"
SIDE = "a whole number of pixels, from 1 to 2^31 - 1"


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
    if not path:
        raise ArgumentError("path", "takes the folder of the data set's files, got nothing")
    folder = Path(path)
    if test_annotations is None and (folder / TEST_FILE).exists():
        test_annotations = TEST_FILE
    test = (folder / test_annotations, folder / test_images) if test_annotations else None
    return detection_data(parse_coco, (folder / train_annotations, folder / train_images), test, split_seed, on_error)


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
        tree = read_json(file, "an object with images, annotations and categories")
    except MissingFileError:
        raise UserError(f"there is no file {file}; {_what_is_there(file.parent)}") from None
    records = {key: _records(file, tree, key) for key in ("images", "annotations", "categories")}
    categories = _by_id(file, "category", records["categories"], {"name": (_label, LABEL)})
    pictures = _by_id(
        file,
        "image",
        records["images"],
        {"file_name": (_text, "a text"), "width": (as_side, SIDE), "height": (as_side, SIDE)},
    )
    found: Dict[Id, List[Box]] = {key: [] for key in pictures}
    used: Set[Id] = set()
    for number, record in enumerate(records["annotations"]):
        name = f"annotation {shortened_repr(record['id']) if 'id' in record else f'number {number}'}"
        with entry():
            picture = _known(f"{file}: {name}", "image", record, pictures)
            category = _known(f"{file}: {name}", "category", record, categories)
            crowd = 0 if record.get("iscrowd") is None else record["iscrowd"]
            if crowd not in (0, 1):
                raise UserError(f"{file}: {name}: iscrowd takes 0 or 1, got {shortened_repr(crowd)}")
            used.add(category)
            corners = _corners(f"{file}: {name}", record)
            found[picture].append(Box(name, categories[category]["name"], corners, bool(crowd)))
    annotated = [
        Annotated(
            file,
            f"{file}: image {shortened_repr(key)}",
            find_picture(record["file_name"], images),
            (record["height"], record["width"]),
            found[key],
        )
        for key, record in pictures.items()
    ]
    return Annotations(file, _names(file, categories, used), annotated)


def _known(where: str, kind: str, record: Dict[str, Any], there: Dict[Id, Dict[str, Any]]) -> Id:
    key = _id(record.get(f"{kind}_id"))
    if key is None or key not in there:
        raise UserError(f"{where}: there is no {kind} of {kind}_id {shortened_repr(record.get(f'{kind}_id'))}")
    return key


def _names(file: Path, categories: Dict[Id, Dict[str, Any]], used: Set[Id]) -> List[str]:
    """Each once: a root without boxes, as Roboflow writes one, may have the name of a category in it."""
    named: Dict[str, List[Id]] = {}
    for key, record in categories.items():
        named.setdefault(record["name"], []).append(key)
    for name, keys in named.items():
        if sum(key in used for key in keys) > 1:
            raise UserError(f"{file}: two categories have the name {name!r}")
    return list(named)


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
    path: Path, what: str, records: List[Dict[str, Any]], fields: Dict[str, Tuple[Callable[[Any], Any], str]]
) -> Dict[Id, Dict[str, Any]]:
    """The fields of the records by their id, ascending.

    Parameters:
        fields: for each what reads it, None being wrong, and what it takes.
    """
    by_id: Dict[Id, Dict[str, Any]] = {}
    for number, record in enumerate(records):
        with entry():
            key = _id(record.get("id"))
            if key is None:
                given = shortened_repr(record.get("id"))
                raise UserError(f"{path}: {what} number {number}: id takes a whole number or a text, got {given}")
            if key in by_id:
                raise UserError(f"{path}: two entries have the {what} id {shortened_repr(key)}")
            values = {name: read(record.get(name)) for name, (read, _) in fields.items()}
            for name, value in values.items():
                if value is None:
                    takes, given = fields[name][1], shortened_repr(record.get(name))
                    raise UserError(f"{path}: {what} {shortened_repr(key)}: {name} takes {takes}, got {given}")
            by_id[key] = values
    if not by_id:
        raise UserError(f"{path}: it has no {what}")
    return dict(sorted(by_id.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _id(value: Any) -> Optional[Id]:
    """7 for 7, 7.0 and "7", which tools mix; a text that is no number is one, too."""
    whole = as_whole(value)
    return value if whole is None and isinstance(value, str) and value else whole


def _text(value: Any) -> Optional[str]:
    return value if isinstance(value, str) and value else None


def _label(value: Any) -> Optional[str]:
    return value if value and is_label(value) else None


def _corners(where: str, record: Dict[str, Any]) -> Corners:
    box = record.get("bbox")
    points = _points(record.get("segmentation"))
    if points and (not box or (isinstance(box, list) and box[2:] == [0, 0])):
        return around(points[::2], points[1::2])
    if not (isinstance(box, list) and len(box) == 4 and all(type(n) in (int, float) for n in box)):
        raise UserError(f"{where}: bbox takes left, top, width and height, got {shortened_repr(box)}")
    if not all(map(is_pixel, box)):
        raise UserError(f"{where}: bbox takes numbers of at most {MAX_PIXEL:g}, got {shortened_repr(box)}")
    left, top, width, height = box
    if width < 0 or height < 0:
        given = shortened_repr(box)
        raise UserError(f"{where}: bbox is left, top, width and height, and no size is negative, got {given}")
    return left, top, left + width, top + height


def _points(segmentation: Any) -> List[float]:
    """x and y in turn, of all polygons, or of the one that is not in a list of its own, as VIA has it; [] of a mask."""
    parts = segmentation if isinstance(segmentation, list) else []
    points = [n for part in parts for n in (part if isinstance(part, list) else [part])]
    return points if len(points) % 2 == 0 and all(map(is_pixel, points)) else []
