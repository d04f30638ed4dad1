"""Masks in COCO's format: polygons and run lengths of objects, drawn into one mask a picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Optional, Sequence, Tuple

import numpy as np

from ..ops.masks import BACKGROUND, MAX_CLASSES
from ..utils.errors import UserError, shortened
from ..utils.progress import log_info
from . import DATASETS
from .coco import category_names
from .coco_file import sets_later
from .coco_outlines import pictures_of, read_outlines
from .masks import LabelledMasks, SegmentationData, SegmentedImage
from .outlines import Outline
from .readable import readable


@DATASETS.register
def coco_masks(
    path: str = "",
    train_annotations: str = "train.json",
    train_images: str = "train",
    test_annotations: Optional[str] = None,
    test_images: str = "test",
    split_seed: int = 0,
    on_error: str = "stop",
) -> SegmentationData:
    """Pictures with the classes of their pixels: the categories, and before them the background, where no object is.

    Where objects overlap, the smaller one is on top. Crowds count as their category. Those without a ``segmentation``
    are left out, and said to be.

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
    return SegmentationData(*sets_later(_read, path, *sets, split_seed, on_error))


def _read(file: Path, images: Path, on_error: str) -> LabelledMasks:
    read, objects = read_outlines(file)
    names = category_names(file, read.categories, {one.category for of_one in objects.values() for one in of_one})
    is_first = names[0].lower() == BACKGROUND
    numbers = {key: names.index(fields["name"]) + (not is_first) for key, fields in read.categories.items()}
    names = [BACKGROUND, *names[is_first:]]
    if len(set(names)) < len(names) or len(names) > MAX_CLASSES:
        takes = f"takes at most {MAX_CLASSES - 1} categories, of which none but the first is the background"
        raise UserError(f"{file}: {takes}, got {len(names)}: {shortened([repr(name) for name in names], 8)}")
    found = []
    for key, picture, size in pictures_of(read, images, on_error):
        parts = [(numbers[one.category], one.outline) for one in objects[key]]
        found.append(SegmentedImage(picture, size, partial(drawn, size, parts)))
    if empty := sum(not parts for parts in objects.values()):
        log_info(f"{file}: pictures without an object, all background: {empty} of {len(objects)}")
    return readable(found, SegmentedImage.pixels, on_error), names


def drawn(size: Tuple[int, int], outlines: Sequence[Tuple[int, Outline]]) -> np.ndarray:
    """The outlines' classes as one mask, uint8 ``[H, W]``, 0 where none is, the smaller ones on top."""
    masks = [(number, outline.mask()) for number, outline in outlines]
    mask = np.zeros(size, np.uint8)
    for number, inside in sorted(masks, key=lambda one: -int(one[1].sum())):
        mask[inside] = number
    return mask
