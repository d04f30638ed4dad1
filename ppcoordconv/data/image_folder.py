"""Anybody's pictures: a folder with a folder for each class, or with one such folder for each part of the split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from ..utils.arguments import check_choice, check_int, check_path
from ..utils.errors import ArgumentError, UserError, shortened
from ..utils.progress import defer_info
from . import DATASETS, ClassificationData, LabelledImages
from .images import read_image
from .listing import images_below, is_hidden, is_picture, no_picture
from .readable import check_on_error, readable
from .splits import split_as_given, split_by_seed

# The parts that may be held out; the first that is there is measured on.
_HELD_OUT = ("val", "test")
# What the parts are also called.
_PARTS = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


@DATASETS.register
def image_folder(path: str, on_error: str = "stop", split_seed: int = 0, held_out: str = "val") -> ClassificationData:
    """``path/<class>/...``, of which a fifth of each class is held out, or ``path/{train,val,test}/<class>/...``.

    In the second form val is measured on, and test where there is none, or where it is asked for. They may be called
    otherwise, as training, validation and testing, or Test_Set.
    The labels are the names of the classes' folders, sorted; their pictures lie in them or in folders below, and are
    read when they are needed.

    Parameters:
        on_error: "stop" at a picture that can't be read, or "skip": all are read once before, and such are left out.
        split_seed: decides which pictures are held out, where that is not given; 0 to 2^31 - 1.
        held_out: "val", or "test", to measure on the pictures of test after all training.

    Raises:
        UserError: there is no such folder, it holds fewer than two class folders, or one with fewer than two pictures;
            or of the second form, one with no picture to train on, or what is held out has a class of its own.
    """
    check_path("path", path)
    check_on_error(on_error)
    check_int("split_seed", split_seed, 0, 2**31 - 1)
    check_choice("held_out", held_out, ("val", "test"))
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; image_folder takes one with a folder of pictures for each class")
    parts = {_part(folder.name): folder for folder in reversed(_folders(root))}
    others = [parts[name] for name in _HELD_OUT if name in parts]
    if "train" in parts and _folders(parts["train"]) and (others or len(parts) == 1):
        if held_out == "test":
            others = [parts["test"]] if "test" in parts else []
            if not any(map(_folders, others)):
                raise ArgumentError("held_out", f"is test, and {root} has train/<class>, and not test/<class>")
        return _of_parts(root, parts["train"], others, on_error)
    if held_out == "test":
        raise ArgumentError(
            "held_out", f"test is for a folder with train/<class> and test/<class>, and {root} has none"
        )
    folders = _class_folders(root)
    labels = [folder.name for folder in folders]
    return split_by_seed(str(root), _samples(folders, labels, on_error), labels, split_seed)


def _of_parts(root: Path, train: Path, candidates: List[Path], on_error: str) -> ClassificationData:
    # A test set without labels is of no use here.
    held_out = next(filter(_folders, candidates), None)
    if held_out is None:
        raise UserError(
            f"{root} has train/<class>, and neither val/<class> nor test/<class>; the path {train} holds out a fifth"
        )
    folders, others = _class_folders(train), _folders(held_out)
    labels = [folder.name for folder in folders]
    if unknown := [folder.name for folder in others if folder.name not in labels]:
        raise UserError(f"{held_out} has the classes {shortened(unknown, 5)}, which {train} has not; move them away")
    unused = [folder.name for folder in _folders(root) if folder not in (train, held_out)]
    how = f"those in {held_out.name}" + (f", and {shortened(unused, 5)} is not used" if unused else "")
    samples = _samples(folders, labels, on_error)
    return split_as_given(str(root), samples, _samples(others, labels, on_error, may_be_empty=True), labels, how)


def _part(name: str) -> str:
    """The part of a split that a folder is called after, "train" for "Training_Set"; else its name."""
    plain = re.sub("[ _-]?set$", "", name.lower())
    return _PARTS.get(plain, plain)


def _folders(folder: Path) -> List[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def _class_folders(root: Path) -> List[Path]:
    folders = _folders(root)
    for folder in folders:
        try:
            folder.name.encode()
        except UnicodeEncodeError:
            raise UserError(f"the name of the class folder {str(folder)!r} is not UTF-8; rename it") from None
    if len(folders) < 2:
        raise UserError(f"{root} holds {len(folders)} class folders; at least 2 are needed, <class>/<name>.png")
    return folders


def _samples(folders: List[Path], labels: List[str], on_error: str, may_be_empty: bool = False) -> LabelledImages:
    root = folders[0].parent
    beside = sum(is_picture(entry.name) and not is_hidden(entry.name) for entry in root.iterdir())
    if beside:
        defer_info(f"{root}: {beside} pictures lie beside the class folders, in none of them, and are left out")
    number: Dict[str, int] = {label: index for index, label in enumerate(labels)}
    files: List[Tuple[Path, int]] = []
    for folder, images in zip(folders, images_below(folders)):
        if not images and not may_be_empty:
            raise no_picture(folder)
        files += [(image, number[folder.name]) for image in images]
    files = readable(files, lambda labelled: read_image(labelled[0]), on_error)
    return LabelledImages([file for file, _ in files], np.array([index for _, index in files], np.int64))
