"""Pictures and masks in two folders, a mask having its picture's name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple, Union

from ..utils.arguments import check_path
from ..utils.errors import UserError, shortened
from ..utils.progress import log_info
from . import DATASETS
from .annotations import read_later
from .files import check_folder, choose_splits
from .listing import list_images
from .mask_files import MaskLabels, Pair, labels_in, segmented_images
from .masks import LabelledMasks, SegmentationData
from .readable import check_on_error


@DATASETS.register
def mask_folder(
    path: str = "",
    images: str = "images",
    masks: str = "masks",
    labels: Union[str, Sequence[str], None] = None,
    train_split: Optional[str] = None,
    test_split: Optional[str] = None,
    split_seed: int = 0,
    on_error: str = "stop",
) -> SegmentationData:
    """``images/a.jpg`` and ``masks/a.png``, whose pixels are numbers of classes from 0 on; 255 counts for nothing.

    A mask has 1, 8 or 16 bits a pixel or a palette; one with 0 and 255 alone is read as black and white, two classes;
    one in colours as ``labelmap.txt`` says, which CVAT writes.

    Parameters:
        path: the folder that all are in.
        images, masks: the folders of pictures and of masks.
        labels: the names of the classes, or a file with a name a line; None: labels.txt, classes.txt or labelmap.txt,
            and where none of them is there, classes are called by their numbers.
        train_split, test_split: parts, ``images/NAME`` and ``masks/NAME``, or ``NAME/images`` and ``NAME/masks``; None:
            train, and of val, valid and test the first, if they are there; without, a fifth of the pictures is held
            out, drawn by ``split_seed``.
        on_error: "stop" at a picture or a mask that is missing or can't be read, or "skip".

    Raises:
        UserError: a picture has no mask, or one of another size or with a class that there isn't; it names the file.
    """
    folder = check_folder(path)
    check_path("images", images)
    check_path("masks", masks)
    check_on_error(on_error)
    known = labels_in(folder, labels)

    def places(name: Optional[str]) -> Tuple[Path, Path]:
        if name is None:
            return folder / images, folder / masks
        ways = [(folder / images / name, folder / masks / name), (folder / name / images, folder / name / masks)]
        return next((way for way in ways if way[0].is_dir()), ways[0])

    train, test = choose_splits(train_split, test_split, lambda name: places(name)[0].is_dir())
    read = partial(_read, labels=known, on_error=on_error)
    return SegmentationData(*read_later(read, places(train), places(test) if test else None, split_seed))


def _read(images: Path, masks: Path, *, labels: MaskLabels, on_error: str) -> LabelledMasks:
    for place in (images, masks):
        if not place.is_dir():
            raise UserError(f"there is no folder {place}; mask_folder takes one with pictures and one with their masks")
    pictures, files = list_images(images, recursive=True), list_images(masks, recursive=True)
    by_name = _by_name(masks, files)
    pairs = [
        Pair(str(picture), picture, by_name.get(name, masks / f"{name}.png"))
        for name, picture in _by_name(images, pictures).items()
    ]
    if unused := sorted(set(by_name.values()) - {pair.mask for pair in pairs}):
        log_info(f"{masks}: masks without a picture are left out: {len(unused)}, {shortened(unused, 3)}")
    return segmented_images(images, pairs, labels, on_error)


def _by_name(folder: Path, files: List[Path]) -> Dict[Path, Path]:
    """The files by their names without endings, relative to the folder."""
    by_name: Dict[Path, Path] = {}
    for file in files:
        other = by_name.setdefault(file.relative_to(folder).with_suffix(""), file)
        if other != file:
            raise UserError(
                f"{other} and {file} have one name but for the ending, by which pictures and masks are paired"
            )
    return by_name
