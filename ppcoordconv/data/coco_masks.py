"""Masks in COCO's format: polygons and run lengths of objects, drawn into one mask a picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..ops.masks import MAX_CLASSES
from ..utils.errors import MissingFileError, UserError, shortened, shortened_repr
from ..utils.problems import entry
from ..utils.progress import log_info
from . import DATASETS
from .annotations import read_later
from .coco_file import LABEL, Id, label, read_coco_file, sets_in
from .files import check_file, find_picture
from .masks import LabelledMasks, SegmentationData, SegmentedImage
from .outlines import Outline, read_outline
from .readable import check_on_error, readable

BACKGROUND = "background"


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

    train, test = sets_in(path, (train_annotations, train_images), (test_annotations, test_images))
    check_on_error(on_error)
    return SegmentationData(*read_later(partial(_read, on_error=on_error), train, test, split_seed))


def _read(file: Path, images: Path, on_error: str) -> LabelledMasks:
    try:
        read = read_coco_file(file, {"name": (label, LABEL)})
    except MissingFileError:
        raise UserError(
            f"there is no file {file}; data.train_annotations and data.test_annotations name COCO's files"
        ) from None
    names = [fields["name"] for fields in read.categories.values()]
    has_background = names[0].lower() == BACKGROUND
    names = names if has_background else [BACKGROUND, *names]
    if len(set(names)) < len(names) or len(names) > MAX_CLASSES:
        takes = f"takes at most {MAX_CLASSES - 1} categories of different names, of which one is the background at most"
        raise UserError(f"{file}: {takes}, got {len(names)}: {shortened([repr(name) for name in names], 8)}")
    numbers = {key: number + (not has_background) for number, key in enumerate(read.categories)}
    outlines: Dict[Id, List[Tuple[int, Outline]]] = {key: [] for key in read.pictures}
    without = 0
    for name, record in read.named_annotations():
        with entry():
            picture, category, _ = read.belongs_to(name, record)
            fields = read.pictures[picture]
            size = (fields["height"], fields["width"])
            found = read_outline(f"{file}: {name}", record.get("segmentation"), size)
            if found is None:
                without += 1
            else:
                outlines[picture].append((numbers[category], found))
    if without:
        log_info(f"{file}: annotations without a segmentation are left out: {without} of {len(read.annotations)}")
    if not any(outlines.values()):
        raise UserError(f"{file}: it has no annotation with a segmentation")
    return readable(_images(read, images, outlines, on_error), SegmentedImage.pixels, on_error), names


def _images(
    read: Any, images: Path, outlines: Dict[Id, List[Tuple[int, Outline]]], on_error: str
) -> List[SegmentedImage]:
    found = []
    for key, fields in read.pictures.items():
        with entry():
            picture, size = find_picture(fields["file_name"], images), (fields["height"], fields["width"])
            if on_error == "stop":
                check_file(f"{read.file}: image {shortened_repr(key)}", picture)
            found.append(SegmentedImage(picture, size, partial(drawn, size, outlines[key])))
    empty = sum(not parts for parts in outlines.values())
    if empty:
        log_info(f"{read.file}: pictures without an object, all background: {empty} of {len(outlines)}")
    return found


def drawn(size: Tuple[int, int], outlines: Sequence[Tuple[int, Outline]]) -> np.ndarray:
    """The outlines' classes as one mask, uint8 ``[H, W]``, 0 where none is, the smaller ones on top."""
    masks = [(number, outline.mask()) for number, outline in outlines]
    mask = np.zeros(size, np.uint8)
    for number, inside in sorted(masks, key=lambda one: -int(one[1].sum())):
        mask[inside] = number
    return mask
