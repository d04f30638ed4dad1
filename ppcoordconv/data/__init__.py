"""Datasets and what turns pictures into a network's input: numpy out, no networks.

A function decorated with ``DATASETS.register`` in a module of this package is a dataset of that name; its parameters
are the dataset's options.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence, Union

import numpy as np

from ..utils.registry import Registry
from .images import read_image

DATASETS = Registry("dataset", __name__)


@dataclass(frozen=True)
class LabelledImages:
    """Pictures and their classes.

    Attributes:
        images: uint8 arrays ``[H, W, 3]``, RGB, or the paths of picture files.
        classes: int64 ``[N]``, indices into the labels.
    """

    images: Sequence[Union[np.ndarray, Path]]
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int) -> np.ndarray:
        """uint8 ``[H, W, 3]``, read where it is a file."""
        image = self.images[index]
        return read_image(image) if isinstance(image, Path) else image

    def take(self, indices: np.ndarray) -> LabelledImages:
        return LabelledImages([self.images[i] for i in indices], self.classes[indices])


@dataclass(frozen=True)
class ClassificationData:
    """A training and a test set, and the labels of the classes."""

    train: LabelledImages
    test: LabelledImages
    labels: List[str]


def stratified_split(samples: LabelledImages, labels: List[str], seed: int = 0) -> ClassificationData:
    """Four fifths to train on and one to test on, drawn by the seed alone, each class in proportion."""
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(samples))
    # At least one test sample a class, however few there are.
    test_size = max(-(-len(samples) // 5), len(labels))
    train, test = train_test_split(everything, test_size=test_size, stratify=samples.classes, random_state=seed)
    # In proportion, a small class beside large ones has none.
    for missing in np.setdiff1d(samples.classes, samples.classes[test]):
        first = train[samples.classes[train] == missing][0]
        train, test = train[train != first], np.append(test, first)
    return ClassificationData(samples.take(train), samples.take(test), labels)
