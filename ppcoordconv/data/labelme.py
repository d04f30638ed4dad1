"""LabelMe's format: a JSON file of shapes beside each picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..utils.arguments import as_side, is_pixel
from ..utils.errors import UserError, shortened_repr
from ..utils.problems import entry
from ..utils.progress import log_info
from . import DATASETS
from .annotations import Annotated, Annotations, Box, Corners, around, detection_data
from .boxes import DetectionData
from .files import check_folder, check_label, choose_splits, files_ending, find_picture, read_json

Points = List[Tuple[float, float]]


@DATASETS.register
def labelme(
    path: str = "",
    train_split: Optional[str] = None,
    test_split: Optional[str] = None,
    split_seed: int = 0,
    on_error: str = "stop",
) -> DetectionData:
    """Pictures with LabelMe's JSON files beside them: the boxes around rectangles, polygons, circles and masks.

    Shapes without inside, as points and lines, are left out and counted, and so are pictures without a JSON file.

    Parameters:
        path: the folder; files in the folders in it count, too.
        train_split, test_split, split_seed, on_error: as ``voc`` has them; a split is a folder in ``path``.

    Raises:
        UserError: a file or a picture is missing, or an entry is wrong; it names the file and the entry.
    """
    folder = check_folder(path)
    train, test = choose_splits(train_split, test_split, lambda name: (folder / name).is_dir())
    test_folder = (folder / test,) if test else None
    return detection_data(parse_labelme, (folder / (train or ""),), test_folder, split_seed, on_error)


def parse_labelme(folder: Path) -> Annotations:
    """What the JSON files in a folder, and in the folders in it, say."""
    left_out: List[str] = []
    pictures = []
    for file in files_ending(folder, ".json"):
        with entry():
            pictures.append(_picture(file, left_out))
    if left_out:
        log_info(f"{folder}: {len(left_out)} shapes without inside are left out, the first a {left_out[0]}")
    labels = sorted({box.label for picture in pictures for box in picture.boxes})
    return Annotations(folder, labels, pictures)


def _picture(file: Path, left_out: List[str]) -> Annotated:
    tree = read_json(file, "LabelMe's object with shapes and imagePath")
    shapes, name = tree.get("shapes"), tree.get("imagePath")
    if not isinstance(shapes, list) or not (isinstance(name, str) and name):
        raise UserError(f"{file} takes LabelMe's object with shapes, a list, and imagePath, a text")
    boxes = []
    for number, shape in enumerate(shapes):
        with entry():
            boxes += _box(file, number, shape, left_out)
    height, width = (as_side(tree.get(key)) for key in ("imageHeight", "imageWidth"))
    size = (height, width) if height and width else None
    return Annotated(file, str(file), find_picture(name, file.parent), size, boxes)


def _box(file: Path, number: int, shape: Any, left_out: List[str]) -> List[Box]:
    """[] of a shape without inside."""
    where = f"{file}: shape {number}"
    if not isinstance(shape, dict):
        raise UserError(f"{where} takes an object, got {shortened_repr(shape, 40)}")
    kind = str(shape.get("shape_type") or "polygon")[:40]
    if kind not in AROUND:
        left_out.append(f"{kind}, {where}")
        return []
    label = check_label(where, "label", shape.get("label"))
    return [Box(f"shape {number}", label, AROUND[kind](_points(where, shape)))]


def _points(where: str, shape: Dict[str, Any]) -> Points:
    points: Any = shape.get("points")
    is_points = (
        isinstance(points, list) and len(points) > 1 and all(isinstance(p, list) and len(p) == 2 for p in points)
    )
    if not is_points or not all(is_pixel(n) for point in points for n in point):
        raise UserError(f"{where}: points takes at least two [x, y] in pixels, got {shortened_repr(points)}")
    return [(x, y) for x, y in points]


def _around_points(points: Points) -> Corners:
    return around(*zip(*points))


def _around_circle(points: Points) -> Corners:
    """Its middle, and a point on it."""
    (x, y), (edge_x, edge_y) = points[:2]
    radius = math.hypot(edge_x - x, edge_y - y)
    return x - radius, y - radius, x + radius, y + radius


AROUND: Dict[str, Callable[[Points], Corners]] = {
    "circle": _around_circle,
    **dict.fromkeys(("mask", "polygon", "rectangle", "rotation"), _around_points),
}
