"""Pictures and masks that lists name, as PaddleSeg has them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import List, Optional, Sequence, Union

from ..utils.arguments import check_path
from ..utils.errors import UserError, shortened_repr
from ..utils.problems import entry
from . import DATASETS
from .annotations import read_later
from .files import check_folder, read_text
from .mask_files import MaskLabels, Pair, labels_in, segmented_images
from .masks import LabelledMasks, SegmentationData
from .readable import check_on_error


@DATASETS.register
def mask_list(
    path: str = "",
    train: str = "train.txt",
    test: Optional[str] = None,
    labels: Union[str, Sequence[str], None] = None,
    split_seed: int = 0,
    on_error: str = "stop",
) -> SegmentationData:
    """A line of a list is a picture and its mask, with a tab or a blank between them. Masks and labels are as
    ``mask_folder`` has them.

    Parameters:
        path: the folder that the pictures and the lists are in.
        train: the list of what is trained on. test: of what is held out; None: "val.txt", and where that is not there,
            a fifth of the pictures is.

    Raises:
        UserError: a line or a file is wrong, which it names.
    """
    folder = check_folder(path)
    check_path("train", train)
    if test is not None:
        check_path("test", test)
    check_on_error(on_error)
    if test is None and (folder / "val.txt").is_file():
        test = "val.txt"
    read = partial(_read, folder=folder, labels=labels_in(folder, labels), on_error=on_error)
    held_out = (folder / test,) if test else None
    return SegmentationData(*read_later(read, (folder / train,), held_out, split_seed))


def _read(file: Path, *, folder: Path, labels: MaskLabels, on_error: str) -> LabelledMasks:
    pairs: List[Pair] = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if not line.strip():
            continue
        with entry():
            parts = [part.strip() for part in line.strip().split("\t" if "\t" in line.strip() else " ")]
            if len(parts) != 2 or not all(parts):
                given = shortened_repr(line)
                raise UserError(f"{file}, line {number}: takes a picture and its mask, got {given}")
            picture, mask = (folder / part.replace("\\", "/") for part in parts)
            pairs.append(Pair(f"{file}, line {number}", picture, mask))
    if not pairs:
        raise UserError(f"{file} names no picture; a line takes a picture and its mask")
    return segmented_images(file, pairs, labels, on_error)
