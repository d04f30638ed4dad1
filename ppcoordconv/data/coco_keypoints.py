"""Keypoints in COCO's format: of each annotation ``keypoints``, of its category their names and the skeleton."""

from __future__ import annotations

import itertools
import math
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..ops.boxes import clipped
from ..utils.arguments import is_pixel
from ..utils.errors import ArgumentError, MissingFileError, UserError, shortened, shortened_repr
from ..utils.problems import entry
from ..utils.progress import log_info
from . import DATASETS
from .annotations import around
from .coco_file import LABEL, CocoFile, corners_of, label, read_coco_file, sets_later
from .files import check_file, find_picture
from .keypoints import HIDDEN, NOT_LABELLED, VISIBLE, KeypointData, KeypointObject, Keypoints, Skeleton, pairs_of
from .readable import readable

NAMES = "a list of different texts"
EDGES = "a list of pairs of numbers"


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
    _check_flip_pairs(flip_pairs)
    sets = (train_annotations, train_images), (test_annotations, test_images)
    read = partial(read_coco_keypoints, flip_pairs=flip_pairs)
    return KeypointData(*sets_later(read, path, *sets, split_seed, on_error))


def read_coco_keypoints(
    file: Path, images: Path, flip_pairs: Optional[Sequence[Sequence[str]]] = None, on_error: str = "stop"
) -> Keypoints:
    """The objects of a file that have a labelled point, in its order, and their skeleton."""
    try:
        read = read_coco_file(file, {"name": (label, LABEL), "keypoints": (_names, NAMES), "skeleton": (_edges, EDGES)})
    except MissingFileError:
        raise UserError(
            f"there is no file {file}; data.train_annotations and data.test_annotations name COCO's keypoint files"
        ) from None
    category, skeleton = _skeleton(read, flip_pairs)
    paths = {key: find_picture(fields["file_name"], images) for key, fields in read.pictures.items()}
    objects: List[KeypointObject] = []
    others = crowds = unlabelled = 0
    for name, record in read.named_annotations():
        with entry():
            picture, kind, is_crowd = read.belongs_to(name, record)
            others, crowds = others + (kind != category), crowds + (kind == category and is_crowd)
            if kind != category or is_crowd:
                continue
            where, fields = f"{file}: {name}", read.pictures[picture]
            size = (fields["height"], fields["width"])
            points = _points(where, record, skeleton.names, size)
            if (points[:, 2] == NOT_LABELLED).all():
                unlabelled += 1
                continue
            if on_error == "stop":
                check_file(f"{file}: image {shortened_repr(picture)}", paths[picture])
            box = _box(where, record, points, size)
            objects.append(KeypointObject(paths[picture], size, box, points, _area(where, record, box)))
    for count, what in (
        (others, "annotations of other categories"),
        (crowds, "crowds"),
        (unlabelled, "objects without a labelled point"),
    ):
        if count:
            log_info(f"{file}: {what} are left out: {count} of {len(read.annotations)}")
    if not objects:
        raise UserError(f"{file}: it has no object with a labelled keypoint")
    one_of_each = list({one.image: one for one in objects}.values())
    are_there = {one.image for one in readable(one_of_each, KeypointObject.pixels, on_error)}
    return [one for one in objects if one.image in are_there], skeleton


def _names(value: Any) -> Optional[Sequence[str]]:
    """() of a category without keypoints."""
    names = () if value is None else value
    if not isinstance(names, (list, tuple)) or not all(map(label, names)) or len(set(names)) < len(names):
        return None
    return names


def _edges(value: Any) -> Optional[Sequence[Sequence[int]]]:
    edges = () if value is None else value
    are_pairs = isinstance(edges, (list, tuple)) and all(
        isinstance(edge, list) and len(edge) == 2 and all(type(n) is int for n in edge) for edge in edges
    )
    return edges if are_pairs else None


def _skeleton(read: CocoFile, flip_pairs: Optional[Sequence[Sequence[str]]]) -> Tuple[Any, Skeleton]:
    """The id of the one category that has keypoints, and these."""
    having = {key: fields for key, fields in read.categories.items() if fields["keypoints"]}
    if len(having) != 1:
        found = shortened([repr(fields["name"]) for fields in having.values()], 3) or "none"
        raise UserError(f"{read.file}: one category with keypoints is taken, and it has {len(having)}: {found}")
    ((key, fields),) = having.items()
    names = list(fields["keypoints"])
    for edge in fields["skeleton"]:
        if not all(1 <= n <= len(names) for n in edge):
            raise UserError(
                f"{read.file}: category {fields['name']!r}: skeleton takes pairs of numbers from 1 to {len(names)}, "
                f"those of its keypoints, got {edge}"
            )
    edges = [[a - 1, b - 1] for a, b in fields["skeleton"]]
    if flip_pairs is None:
        return key, Skeleton(names, edges, pairs_of(names))
    for name in itertools.chain.from_iterable(flip_pairs):
        if name not in names:
            known = shortened(names, 20)
            raise UserError(f"data.flip_pairs names {name!r}, which is none of the keypoints {known}")
    return key, Skeleton(names, edges, [[names.index(left), names.index(right)] for left, right in flip_pairs])


def _check_flip_pairs(pairs: Any) -> None:
    are_pairs = pairs is None or (
        isinstance(pairs, (list, tuple)) and all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs)
    )
    flat = [str(name) for pair in pairs or () for name in pair] if are_pairs else []
    if not are_pairs or len(set(flat)) < len(flat):
        given = shortened_repr(pairs, 80)
        raise ArgumentError("flip_pairs", f"takes pairs of names of keypoints, each once, got {given}")


def _points(where: str, record: Dict[str, Any], names: List[str], size: Tuple[int, int]) -> np.ndarray:
    """float32 ``[K, 3]``; (0, 0, 0) what is not labelled."""
    given = record.get("keypoints") or [0] * (3 * len(names))
    if not isinstance(given, list) or len(given) != 3 * len(names):
        many = f"{len(given)} numbers" if isinstance(given, list) else shortened_repr(given)
        raise UserError(f"{where}: keypoints takes x, y and visibility of {len(names)} points, got {many}")
    height, width = size
    points = np.zeros([len(names), 3], np.float32)
    for number, name in enumerate(names):
        x, y, visibility = given[3 * number : 3 * number + 3]
        if visibility not in (NOT_LABELLED, HIDDEN, VISIBLE) or isinstance(visibility, bool):
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
    """COCO Annotator writes a box of zeros, and a list of no polygons, beside points alone."""
    seen = points[points[:, 2] != NOT_LABELLED]
    box, polygons = record.get("bbox"), record.get("segmentation")
    has_box = bool(box) and not (isinstance(box, list) and box[2:] == [0, 0])
    if has_box or (polygons and isinstance(polygons, list)):
        corners = corners_of(where, record)
    else:
        corners = around(seen[:, 0], seen[:, 1])
    (cut,) = clipped(np.array([corners], np.float32), *size)
    if (cut[2:] <= cut[:2]).any():
        raise UserError(f"{where}: its box has no width or no height in the picture, got {shortened_repr(corners)}")
    return cut


def _area(where: str, record: Dict[str, Any], box: np.ndarray) -> float:
    """COCO's own, of the object's outline; without one, that of the box."""
    area = record.get("area")
    if not area:
        return float((box[2] - box[0]) * (box[3] - box[1]))
    if type(area) not in (int, float) or not math.isfinite(area) or area < 0:
        raise UserError(f"{where}: area takes a number above 0, got {shortened_repr(area)}")
    return float(area)
