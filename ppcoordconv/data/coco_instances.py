"""Objects with masks in COCO's format: polygons and run lengths, each object for itself."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Tuple

import numpy as np

from ..ops.boxes import areas
from ..utils.progress import log_info
from . import DATASETS
from .coco import category_names
from .coco_file import sets_later
from .coco_outlines import pictures_of, read_outlines
from .instances import InstanceData, InstanceImage
from .readable import readable


@DATASETS.register
def coco_instances(
    path: str = "",
    train_annotations: str = "train.json",
    train_images: str = "train",
    test_annotations: Optional[str] = None,
    test_images: str = "test",
    split_seed: int = 0,
    on_error: str = "stop",
) -> InstanceData:
    """Pictures with objects, each with its outline, ``segmentation``; the classes are the categories, by name.

    An object's box is the one around its outline, not ``bbox``. Crowds are kept as such: what is found in one counts
    as neither right nor wrong. Objects without a ``segmentation``, or outside of their picture, are left out, and said
    to be. Pictures without an object are kept: they teach what is nothing.

    Parameters:
        path: the folder that the other four are in; COCO's own are "annotations/instances_train2017.json",
            "train2017", "annotations/instances_val2017.json" and "val2017".
        test_annotations: None: "test.json", and where that is not there, a fifth of the pictures is held out.
        split_seed: draws the pictures that are held out.
        on_error: "stop" at a picture that is missing or can't be read, or "skip".

    Raises:
        UserError: a file or a picture is missing, or an entry is wrong; it names the entry.
    """
    # What draws polygons: it is missed now, rather than at the first picture.
    import pycocotools  # noqa: F401

    sets = (train_annotations, train_images), (test_annotations, test_images)
    return InstanceData(*sets_later(_read, path, *sets, split_seed, on_error))


def _read(file: Path, images: Path, on_error: str) -> Tuple[List[InstanceImage], List[str]]:
    read, objects = read_outlines(file)
    names = category_names(file, read.categories, {one.category for of_one in objects.values() for one in of_one})
    numbers = {key: names.index(fields["name"]) for key, fields in read.categories.items()}
    found, outside = [], 0
    for key, picture, size in pictures_of(read, images, on_error):
        boxes = np.array([one.outline.box() for one in objects[key]], np.float32).reshape(-1, 4)
        inside = areas(boxes) > 0
        outside += int((~inside).sum())
        kept = [one for one, is_inside in zip(objects[key], inside) if is_inside]
        classes = np.array([numbers[one.category] for one in kept], np.int64)
        crowd = np.array([one.crowd for one in kept], bool)
        outlines = tuple(one.outline for one in kept)
        found.append(InstanceImage(picture, size, boxes[inside], classes, crowd, outlines))
    empty = sum(not len(image.classes) for image in found)
    for count, total, what in (
        (outside, len(read.annotations), "objects without a pixel in their picture, which are left out"),
        (empty, len(found), "pictures without an object"),
    ):
        if count:
            log_info(f"{file}: {what}: {count} of {total}")
    return readable(found, InstanceImage.pixels, on_error), names
