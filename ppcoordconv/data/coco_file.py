"""A COCO file, checked: what its readers of boxes and of keypoints share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from ..utils.arguments import MAX_PIXEL, as_side, as_whole, is_pixel
from ..utils.errors import ArgumentError, UserError, shortened_repr
from ..utils.labels import MAX_LETTERS, is_label
from ..utils.problems import entry
from .annotations import Corners, around, read_later
from .files import read_json
from .readable import check_on_error

Id = Union[int, str]
# By the name of a field, what reads it, None being wrong, and what it takes.
Fields = Mapping[str, Tuple[Callable[[Any], Any], str]]
# What a test file is called that is not named.
TEST_FILE = "test.json"
LABEL = f"a text of 1 to {MAX_LETTERS} letters"
_SIDE = "a whole number of pixels, from 1 to 2^31 - 1"


class CocoFile(NamedTuple):
    """What is in a file: the fields of pictures and categories by their id, ascending, and the annotations as they are.

    A picture has "file_name", "width" and "height".
    """

    file: Path
    pictures: Dict[Id, Dict[str, Any]]
    categories: Dict[Id, Dict[str, Any]]
    annotations: List[Dict[str, Any]]

    def named_annotations(self) -> Iterator[Tuple[str, Dict[str, Any]]]:
        """Each with what it is called in messages, after the file."""
        for number, record in enumerate(self.annotations):
            yield f"annotation {shortened_repr(record['id']) if 'id' in record else f'number {number}'}", record

    def belongs_to(self, name: str, record: Dict[str, Any]) -> Tuple[Id, Id, bool]:
        """The ids of an annotation's picture and category, and whether it is of a crowd."""
        where = f"{self.file}: {name}"
        picture = _known(where, "image", record, self.pictures)
        category = _known(where, "category", record, self.categories)
        crowd = 0 if record.get("iscrowd") is None else record["iscrowd"]
        if crowd not in (0, 1):
            raise UserError(f"{where}: iscrowd takes 0 or 1, got {shortened_repr(crowd)}")
        return picture, category, bool(crowd)


def sets_in(
    path: str, train: Tuple[str, str], test: Tuple[Optional[str], str]
) -> Tuple[Tuple[Path, Path], Optional[Tuple[Path, Path]]]:
    """The files and the folders of pictures of a training and a test set, in the folder ``path``.

    Parameters:
        test: None as its file: "test.json", and where that is not there, there is no test set.
    """
    if not path:
        raise ArgumentError("path", "takes the folder of the data set's files, got nothing")
    folder, (file, images) = Path(path), test
    if file is None and (folder / TEST_FILE).exists():
        file = TEST_FILE
    return (folder / train[0], folder / train[1]), (folder / file, folder / images) if file else None


def sets_later(
    read: Callable[..., Any],
    path: str,
    train: Tuple[str, str],
    test: Tuple[Optional[str], str],
    split_seed: int,
    on_error: str,
) -> Tuple[Callable[[], Any], Callable[[], Any]]:
    """``read_later`` of the sets that are ``sets_in`` the folder.

    Parameters:
        read: called with the file and the folder of pictures of a set, and ``on_error``, "stop" or "skip".
    """
    check_on_error(on_error)
    return read_later(partial(read, on_error=on_error), *sets_in(path, train, test), split_seed)


def read_coco_file(file: Path, categories: Fields) -> CocoFile:
    """Reads a file whose categories have these fields.

    Raises:
        MissingFileError: there is none.
        UserError: an entry is wrong; it names the entry.
    """
    tree = read_json(file, "an object with images, annotations and categories")
    records = {key: _records(file, tree, key) for key in ("images", "annotations", "categories")}
    pictures: Fields = {"file_name": (_text, "a text"), "width": (as_side, _SIDE), "height": (as_side, _SIDE)}
    kinds = _by_id(file, "category", records["categories"], categories)
    return CocoFile(file, _by_id(file, "image", records["images"], pictures), kinds, records["annotations"])


def corners_of(where: str, record: Dict[str, Any]) -> Corners:
    """The box of an annotation: its "bbox", and where that is missing or empty the one around its polygons."""
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


def _known(where: str, kind: str, record: Dict[str, Any], there: Dict[Id, Dict[str, Any]]) -> Id:
    key = _id(record.get(f"{kind}_id"))
    if key is None or key not in there:
        raise UserError(f"{where}: there is no {kind} of {kind}_id {shortened_repr(record.get(f'{kind}_id'))}")
    return key


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


def _by_id(path: Path, what: str, records: List[Dict[str, Any]], fields: Fields) -> Dict[Id, Dict[str, Any]]:
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


def label(value: Any) -> Optional[str]:
    return value if value and is_label(value) else None


def _points(segmentation: Any) -> List[float]:
    """x and y in turn, of all polygons, or of the one that is not in a list of its own, as VIA has it; [] of a mask."""
    parts = segmentation if isinstance(segmentation, list) else []
    points = [n for part in parts for n in (part if isinstance(part, list) else [part])]
    return points if len(points) % 2 == 0 and all(map(is_pixel, points)) else []
