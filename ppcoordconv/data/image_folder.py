"""Anybody's pictures: a folder with a folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..utils.errors import UserError
from . import DATASETS, ClassificationData, LabelledImages, stratified_split
from .images import list_images, read_image
from .readable import check_on_error, readable


@DATASETS.register
def image_folder(path: str, on_error: str = "stop") -> ClassificationData:
    """``path/<class>/<name>.png`` (or another format); four fifths of each class to train on, one to test on.

    The labels are the folders' names, sorted. Pictures are read when they are needed.

    Parameters:
        on_error: "stop" at a picture that can't be read, or "skip": all are read once before, and such are left out.

    Raises:
        UserError: there is no such folder, it holds fewer than two class folders, or one with fewer than two pictures.
    """
    check_on_error(on_error)
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; image_folder takes one with a folder of pictures for each class")
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    for folder in folders:
        try:
            folder.name.encode()
        except UnicodeEncodeError:
            raise UserError(f"the name of the class folder {str(folder)!r} is not UTF-8; rename it") from None
    if len(folders) < 2:
        raise UserError(f"{root} holds {len(folders)} class folders; at least 2 are needed, <class>/<name>.png")
    files = [(file, number) for number, folder in enumerate(folders) for file in list_images(folder)]
    files = readable(files, lambda labelled: read_image(labelled[0]), on_error)
    classes = np.array([number for _, number in files])
    for folder, count in zip(folders, np.bincount(classes, minlength=len(folders))):
        if count < 2:
            found = ("no picture that can be read", "one picture")[count]
            raise UserError(f"the class folder {folder} holds {found}; at least 2 are needed, to train and to test")
    samples = LabelledImages([file for file, _ in files], classes)
    return stratified_split(samples, [folder.name for folder in folders])
