"""Anybody's pictures: a folder with a folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..utils.errors import UserError
from . import DATASETS, ClassificationData, LabelledImages, stratified_split
from .images import list_images


@DATASETS.register
def image_folder(path: str) -> ClassificationData:
    """``path/<class>/<name>.png`` (or another format); four fifths of each class to train on, one to test on.

    The labels are the folders' names, sorted. Pictures are read when they are needed.

    Raises:
        UserError: there is no such folder, it holds fewer than two class folders, or one with fewer than two pictures.
    """
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; image_folder takes one with a folder of pictures for each class")
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if len(folders) < 2:
        raise UserError(f"{root} holds {len(folders)} class folders; at least 2 are needed, <class>/<name>.png")
    by_class = [list_images(folder) for folder in folders]
    for folder, images in zip(folders, by_class):
        if len(images) < 2:
            raise UserError(f"the class folder {folder} holds one picture; at least 2 are needed, to train and to test")
    classes = np.repeat(np.arange(len(folders)), [len(images) for images in by_class])
    samples = LabelledImages([image for images in by_class for image in images], classes)
    return stratified_split(samples, [folder.name for folder in folders])
