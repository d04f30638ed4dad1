"""The own format of VIA, the VGG image annotator: a JSON file of pictures and their regions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..utils.arguments import is_pixel
from ..utils.errors import ArgumentError, UserError, shortened, shortened_repr
from ..utils.labels import MAX_LETTERS, is_label
from ..utils.problems import entry
from ..utils.progress import log_info
from . import DATASETS
from .annotations import Annotated, Annotations, Box, Corners, around, detection_data
from .boxes import DetectionData
from .files import find_picture, read_json

# The one class where regions have no attribute.
OBJECT = "object"


@DATASETS.register
def via(
    path: str = "",
    train_annotations: str = "train.json",
    train_images: str = "train",
    test_annotations: Optional[str] = None,
    test_images: str = "test",
    attribute: Optional[str] = None,
    split_seed: int = 0,
    on_error: str = "stop",
) -> DetectionData:
    """A project of VIA 1 or 2, or the annotations that it exports as JSON: the boxes around rectangles, polygons,
    circles and ellipses.

    Shapes without inside, as points, are left out and counted.

    Parameters:
        attribute: the one of a region's attributes that says its class; None: the one that there is, and without any,
            all are of the class "object".
        others: as ``coco`` has them, but that ``test_annotations`` has no file by default.

    Raises:
        UserError: a file or a picture is missing, or an entry is wrong; it names the file and the entry.
    """
    if not path:
        raise ArgumentError("path", "takes the folder of the data set's files, got nothing")
    folder = Path(path)
    train = (folder / train_annotations, folder / train_images, attribute)
    test = (folder / test_annotations, folder / test_images, attribute) if test_annotations else None
    return detection_data(parse_via, train, test, split_seed, on_error)


def parse_via(file: Path, images: Path, attribute: Optional[str] = None) -> Annotations:
    """What VIA's file says of the pictures in a folder."""
    tree = read_json(file, "VIA's object of pictures")
    records = tree.get("_via_img_metadata", tree)
    if not isinstance(records, dict):
        raise UserError(f"{file}: _via_img_metadata takes an object, got {shortened_repr(records, 40)}")
    regions: Dict[str, List[Dict[str, Any]]] = {}
    for key, record in records.items():
        with entry():
            regions[key] = _regions(f"{file}: {shortened_repr(key)}", record)
    attribute = attribute or _only_attribute(file, [region for found in regions.values() for region in found])
    left_out: List[str] = []
    pictures = []
    for key, found in regions.items():
        boxes = []
        for number, region in enumerate(found):
            name = f"{shortened_repr(key)}, region {number}"
            with entry():
                corners = _corners(f"{file}: {name}", region["shape_attributes"])
                if corners is None:
                    left_out.append(name)
                else:
                    boxes.append(Box(name, _label(f"{file}: {name}", region, attribute), corners))
        where = f"{file}: {shortened_repr(key)}"
        pictures.append(Annotated(file, where, find_picture(records[key]["filename"], images), None, boxes))
    if left_out:
        log_info(f"{file}: {len(left_out)} shapes without inside are left out, the first of {left_out[0]}")
    return Annotations(file, sorted({box.label for picture in pictures for box in picture.boxes}), pictures)


def _regions(where: str, record: Any) -> List[Dict[str, Any]]:
    regions = record.get("regions") if isinstance(record, dict) else None
    # A list in VIA 2, an object with "0", "1", ... in VIA 1.
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(regions, list) or not (isinstance(record.get("filename"), str) and record["filename"]):
        raise UserError(f"{where} takes VIA's object with filename, a text, and regions, got {shortened_repr(record)}")
    for number, region in enumerate(regions):
        keys = ("shape_attributes", "region_attributes")
        if not isinstance(region, dict) or not all(isinstance(region.get(key), dict) for key in keys):
            raise UserError(f"{where}, region {number} takes shape_attributes and region_attributes, both objects")
    return regions


def _only_attribute(file: Path, regions: List[Dict[str, Any]]) -> Optional[str]:
    names = sorted({name for region in regions for name in region["region_attributes"]})
    if len(names) > 1:
        raise ArgumentError("attribute", f"takes the one that says the class; {file} has {shortened(names, 10)}")
    return names[0] if names else None


def _label(where: str, region: Dict[str, Any], attribute: Optional[str]) -> str:
    if attribute is None:
        return OBJECT
    value = region["region_attributes"].get(attribute)
    if isinstance(value, dict):  # of a checkbox, {"cat": true}
        chosen = [name for name, is_chosen in value.items() if is_chosen]
        value = chosen[0] if len(chosen) == 1 else value
    if not value or not is_label(value):
        takes = f"the attribute {attribute!r} takes one text of 1 to {MAX_LETTERS} letters"
        raise UserError(f"{where}: {takes}, got {shortened_repr(value)}")
    return str(value)


def _corners(where: str, shape: Dict[str, Any]) -> Optional[Corners]:
    """None of a shape without inside."""
    names, corners = SHAPES.get(str(shape.get("name")), ((), None))
    if corners is None:
        return None
    values = [shape.get(name, DEFAULTS.get(name)) for name in names]
    lists = [value if isinstance(value, list) else [value] for value in values]
    is_right = {isinstance(value, list) for value in values} == {corners is around} and len(set(map(len, lists))) == 1
    if not is_right or not lists[0] or not all(is_pixel(n) for numbers in lists for n in numbers):
        raise UserError(f"{where}: a {shape['name']} takes {', '.join(names)} in pixels, got {shortened_repr(values)}")
    return corners(*values)


def _of_ellipse(x: float, y: float, rx: float, ry: float, theta: float) -> Corners:
    """``theta`` turns it, in radians."""
    across = math.hypot(rx * math.cos(theta), ry * math.sin(theta))
    down = math.hypot(rx * math.sin(theta), ry * math.cos(theta))
    return x - across, y - down, x + across, y + down


# What VIA 1 does not write.
DEFAULTS = {"theta": 0}
# By the name of a shape: its numbers, and the box around it.
SHAPES: Dict[str, Tuple[Tuple[str, ...], Callable[..., Corners]]] = {
    "rect": (("x", "y", "width", "height"), lambda x, y, width, height: (x, y, x + width, y + height)),
    "circle": (("cx", "cy", "r"), lambda x, y, r: (x - r, y - r, x + r, y + r)),
    "ellipse": (("cx", "cy", "rx", "ry", "theta"), _of_ellipse),
    "polygon": (("all_points_x", "all_points_y"), around),
}
