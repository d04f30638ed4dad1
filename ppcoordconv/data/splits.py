"""One's own pictures, divided into those to train on and those held out, and the line that says how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Sequence

import numpy as np

from ..utils.errors import UserError, shortened
from ..utils.progress import defer_info
from . import ClassificationData, LabelledImages, stratified_split


def both_have(train: Sequence[Any], test: Sequence[Any], where: str) -> str:
    """A sentence on the pictures of the test set that are files of the training set, too; empty where none is.

    Parameters:
        where: what they are, "of the test set are in the training set".
    """
    seen = {image for image in train if isinstance(image, Path)}
    both = [image for image in test if isinstance(image, Path) and image in seen]
    if not both:
        return ""
    of_all = f"{len(both)} of {len(test)} pictures {where}, too, the first {both[0]}"
    return f"{of_all}: what is measured on them says nothing of others"


def split_by_seed(where: str, samples: LabelledImages, labels: List[str], seed: int) -> ClassificationData:
    """Four fifths of each class to train on and one held out.

    Parameters:
        where: what the pictures come from, for what is said.

    Raises:
        UserError: there are fewer than two classes, or one has fewer than two pictures.
    """
    _check_classes(where, labels)
    for label, count in zip(labels, np.bincount(samples.classes, minlength=len(labels))):
        if count < 2:
            found = ("no picture that can be read", "one picture")[count]
            raise UserError(f"{where}: the class {label!r} has {found}; at least 2 are needed, to train and to test")
    return _said(where, stratified_split(samples, labels, seed), f"a fifth of each class, by split_seed {seed}")


def split_as_given(
    where: str, train: LabelledImages, test: LabelledImages, labels: List[str], how: str
) -> ClassificationData:
    """The two sets as they are.

    Parameters:
        where: what the pictures come from, for what is said.
        how: what is held out, for what is said.

    Raises:
        UserError: there are fewer than two classes, one has no picture to train on, or none is held out.
    """
    _check_classes(where, labels)
    counts = [np.bincount(part.classes, minlength=len(labels)) for part in (train, test)]
    for label, count in zip(labels, counts[0]):
        if not count:
            raise UserError(f"{where}: the class {label!r} has no picture that can be read to train on")
    if not len(test):
        raise UserError(f"{where}: no picture that can be read is held out, {how}; at least 1 is needed")
    data = _said(where, ClassificationData(train, test, labels), how)
    if without := [label for label, count in zip(labels, counts[1]) if not count]:
        defer_info(f"{where}: no picture is held out of {shortened(without, 8)}")
    return data


def _check_classes(where: str, labels: List[str]) -> None:
    if len(labels) < 2:
        raise UserError(f"at least 2 classes are needed, and {where} has {len(labels)}")


def _said(where: str, data: ClassificationData, how: str) -> ClassificationData:
    counts = np.bincount(np.concatenate([data.train.classes, data.test.classes]), minlength=len(data.labels))
    few, many = (f"{counts[i]} pictures ({data.labels[i]})" for i in (counts.argmin(), counts.argmax()))
    sizes = f"of {counts[0]} pictures each" if counts.min() == counts.max() else f"from {few} to {many}"
    defer_info(
        f"{where}: {len(data.train)} pictures to train on, {len(data.test)} held out: {how}; {len(data.labels)} "
        f"classes, {sizes}"
    )
    return data
