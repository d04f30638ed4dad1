"""Keypoints in COCO's format: of each annotation ``keypoints``, of its category their names and the skeleton."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..ops.boxes import clipped
from ..utils.arguments import check_int, is_pixel
from ..utils.errors import ArgumentError, MissingFileError, UserError, shortened, shortened_repr
from ..utils.problems import entry
from ..utils.progress import log_info
from . import DATASETS
from .annotations import around, split
from .coco_file import LABEL, CocoFile, corners_of, label, read_coco_file
from .files import check_file, find_picture
from .keypoints import NOT_LABELLED, VISIBLE, KeypointData, KeypointObject, Keypoints, Skeleton, pairs_of
from .readable import check_on_error, readable

TEST_FILE = "test.json"


@DATASETS.register
def coco_keypoints(
    path: str = "",
    train_annotations: str = "train.json",
    train_images: str = "train",
    test_annotations: Optional[str] = None,
    test_images: str = "test",
    flip_pairs: Optional[Sequence[Sequence[str]]] = None,
    split_seed: int = 0,
    on_error: str = "stop",
) -> KeypointData:
    """Objects with keypoints, of one category; those without a labelled point are left out, and said to be.

    ``keypoints`` of an annotation are x, y and visibility in turn (0: not labelled, 1: hidden, 2: visible), for each
    point that its category names in ``keypoints``. Where there is no ``bbox``, the box around the labelled points is
    taken.

    Parameters:
        path: the folder that the other four are in; COCO's own are "annotations/person_keypoints_train2017.json",
            "train2017", "annotations/person_keypoints_val2017.json" and "val2017".
        test_annotations: None: "test.json", and where that is not there, a fifth of the pictures is held out.
        flip_pairs: the names of points that change places in a mirror, ``[[left_eye, right_eye], ...]``; None: those
            whose names differ by left and right, or l and r, alone.
        split_seed: draws the pictures that are held out.
        on_error: "stop" at a picture that is missing or can't be read, or "skip".

    Raises:
        UserError: a file or a picture is missing, or an entry is wrong; it names the entry.
    """
    if not path:
        raise ArgumentError("path", "takes the folder of the data set's files, got nothing")
    check_on_error(on_error)
    check_int("split_seed", split_seed, 0, 2**32 - 1)
    folder = Path(path)
    train = (folder / train_annotations, folder / train_images)
    if test_annotations is None and (folder / TEST_FILE).exists():
        test_annotations = TEST_FILE

    @cache
    def read_set(file: Path, images: Path) -> Keypoints:
        return read_coco_keypoints(file, images, flip_pairs, on_error)

    @cache
    def halves() -> Tuple[Keypoints, Keypoints]:
        objects, skeleton = read_set(*train)
        kept, held_out = split(objects, train[0], split_seed)
        return (kept, skeleton), (held_out, skeleton)

    if test_annotations is None:
        return KeypointData(lambda: halves()[0], lambda: halves()[1])
    test = (folder / test_annotations, folder / test_images)
    return KeypointData(lambda: read_set(*train), lambda: read_set(*test))


def read_coco_keypoints(
    file: Path, images: Path, flip_pairs: Optional[Sequence[Sequence[str]]] = None, on_error: str = "stop"
) -> Keypoints:
    """The objects of a file that have a labelled point, in its order, and their skeleton."""
    try:
        read = read_coco_file(file, {"name": (label, LABEL), "keypoints": (_as_is, ""), "skeleton": (_as_is, "")})
    except MissingFileError:
        raise UserError(
            f"there is no file {file}; data.train_annotations and data.test_annotations name COCO's keypoint files"
        ) from None
    category, skeleton = _skeleton(read, flip_pairs)
    objects: List[KeypointObject] = []
    others = crowds = unlabelled = 0
    for name, record in read.named_annotations():
        with entry():
            picture, kind, is_crowd = read.belongs_to(name, record)
            others, crowds = others + (kind != category), crowds + (kind == category and is_crowd)
            if kind != category or is_crowd:
                continue
            fields = read.pictures[picture]
            size = (fields["height"], fields["width"])
            points = _points(f"{file}: {name}", record, skeleton.names, size)
            if (points[:, 2] == NOT_LABELLED).all():
                unlabelled += 1
                continue
            box = _box(f"{file}: {name}", record, points, size)
            path = find_picture(fields["file_name"], images)
            check_file(f"{file}: image {shortened_repr(picture)}", path)
            objects.append(KeypointObject(path, size, box, points, _area(f"{file}: {name}", record, box)))
    for count, what in (
        (others, "annotations of other categories"),
        (crowds, "crowds"),
        (unlabelled, "objects without a labelled point"),
    ):
        if count:
            log_info(f"{file}: {what} are left out: {count} of {len(read.annotations)}")
    if not objects:
        raise UserError(f"{file}: it has no object with a labelled keypoint")
    return readable(objects, KeypointObject.pixels, on_error), skeleton


def _as_is(value: Any) -> Any:
    """A field that some categories have; None is none."""
    return () if value is None else value


def _skeleton(read: CocoFile, flip_pairs: Optional[Sequence[Sequence[str]]]) -> Tuple[Any, Skeleton]:
    """The id of the one category that has keypoints, and these."""
    having = {key: fields for key, fields in read.categories.items() if fields["keypoints"]}
    if len(having) != 1:
        found = shortened([repr(fields["name"]) for fields in having.values()], 3) or "none"
        raise UserError(f"{read.file}: one category with keypoints is taken, and it has {len(having)}: {found}")
    ((key, fields),) = having.items()
    where = f"{read.file}: category {fields['name']!r}"
    names = fields["keypoints"]
    if not isinstance(names, list) or not all(label(name) for name in names) or len(set(names)) < len(names):
        raise UserError(f"{where}: keypoints takes a list of different texts, got {shortened_repr(names)}")
    edges = list(fields["skeleton"]) if isinstance(fields["skeleton"], (list, tuple)) else [fields["skeleton"]]
    for edge in edges:
        is_pair = isinstance(edge, list) and len(edge) == 2 and all(type(n) is int for n in edge)
        if not is_pair or not all(1 <= n <= len(names) for n in edge):
            raise UserError(
                f"{where}: skeleton takes pairs of numbers from 1 to {len(names)}, those of its keypoints, got "
                f"{shortened_repr(edge)}"
            )
    return key, Skeleton(names, [[a - 1, b - 1] for a, b in edges], _pairs(names, flip_pairs))


def _pairs(names: List[str], flip_pairs: Optional[Sequence[Sequence[str]]]) -> List[List[int]]:
    if flip_pairs is None:
        return pairs_of(names)
    are_pairs = isinstance(flip_pairs, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in flip_pairs
    )
    flat = [name for pair in flip_pairs for name in pair] if are_pairs else []
    if unknown := [name for name in flat if name not in names]:
        raise ArgumentError(
            "flip_pairs", f"names {unknown[0]!r}, which is none of the keypoints {shortened(names, 20)}"
        )
    if not are_pairs or len(set(flat)) < len(flat):
        given = shortened_repr(flip_pairs, 80)
        raise ArgumentError("flip_pairs", f"takes pairs of names of keypoints, each once, got {given}")
    return [[names.index(left), names.index(right)] for left, right in flip_pairs]


def _points(where: str, record: Dict[str, Any], names: List[str], size: Tuple[int, int]) -> np.ndarray:
    """float32 ``[K, 3]``; (0, 0, 0) what is not labelled."""
    given = record.get("keypoints")
    if not isinstance(given, list) or len(given) != 3 * len(names):
        many = f"{len(given)} numbers" if isinstance(given, list) else shortened_repr(given)
        raise UserError(f"{where}: keypoints takes x, y and visibility of {len(names)} points, got {many}")
    height, width = size
    points = np.zeros([len(names), 3], np.float32)
    for number, name in enumerate(names):
        x, y, visibility = given[3 * number : 3 * number + 3]
        if visibility not in (NOT_LABELLED, 1, VISIBLE) or isinstance(visibility, bool):
            raise UserError(f"{where}: keypoint {name!r}: visibility takes 0, 1 or 2, got {shortened_repr(visibility)}")
        if visibility == NOT_LABELLED:
            continue
        if not (is_pixel(x) and is_pixel(y)):
            raise UserError(f"{where}: keypoint {name!r}: takes x and y in pixels, got {shortened_repr([x, y])}")
        if not (0 <= x <= width and 0 <= y <= height):
            place = f"lies at {x:g}, {y:g}, outside its image of {width}x{height} pixels"
            raise UserError(f"{where}: keypoint {name!r} {place}; what is not seen has visibility 0")
        points[number] = x, y, visibility
    return points


def _box(where: str, record: Dict[str, Any], points: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    seen = points[points[:, 2] != NOT_LABELLED]
    has_box = record.get("bbox") or record.get("segmentation")
    corners = corners_of(where, record) if has_box else around(seen[:, 0], seen[:, 1])
    (box,) = clipped(np.array([corners], np.float32), *size)
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        raise UserError(f"{where}: its box has no width or no height in the picture, got {shortened_repr(corners)}")
    return box


def _area(where: str, record: Dict[str, Any], box: np.ndarray) -> float:
    """COCO's own, of the object's outline; without one, that of the box."""
    area = record.get("area")
    if area is None:
        return float((box[2] - box[0]) * (box[3] - box[1]))
    if type(area) not in (int, float) or not math.isfinite(area) or area <= 0:
        raise UserError(f"{where}: area takes a number above 0, got {shortened_repr(area)}")
    return float(area)
