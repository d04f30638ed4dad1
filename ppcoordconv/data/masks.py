"""Pictures with a class for each pixel: what a segmentation network is trained on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple, Union

import numpy as np

from ..utils.errors import UserError, shortened
from .boxes import annotated_pixels, say_what_both_have

_AS_IT_IS = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class SegmentedImage:
    """One picture and the classes of its pixels.

    Attributes:
        image: uint8 ``[H, W, 3]``, RGB, or the path of a picture file.
        size: its height and width, in pixels.
        read_mask: gives uint8 ``[H, W]``, a number for each pixel.
        table: uint8 ``[256]``, by the number that is read the index of its class; 255: ignored.
    """

    image: Union[np.ndarray, Path]
    size: Tuple[int, int]
    read_mask: Callable[[], np.ndarray]
    table: np.ndarray = field(default_factory=_AS_IT_IS.copy)

    def pixels(self) -> np.ndarray:
        """uint8 ``[H, W, 3]``, as ``annotated_pixels`` gives them."""
        return annotated_pixels(self.image, self.size)

    def mask(self) -> np.ndarray:
        """uint8 ``[H, W]``: of each pixel the index of its class, or 255."""
        return self.table[self.read_mask()]


# Pictures, and the labels of their classes.
LabelledMasks = Tuple[Sequence[SegmentedImage], List[str]]


class SegmentationData:
    """A training and a test set, each read when it is asked for first, and the labels of the classes, the first of
    which is often the background.

    Classes are matched by name: the test set has those of the training set, in any order, or some of them.

    Attributes:
        names: the labels; of trained weights, where they are set before a set is read.
    """

    def __init__(self, read_train: Callable[[], LabelledMasks], read_test: Callable[[], LabelledMasks]) -> None:
        self._read = {"training": read_train, "test": read_test}
        self.names: Optional[List[str]] = None

    @cached_property
    def train(self) -> Sequence[SegmentedImage]:
        return self._set("training")

    @cached_property
    def test(self) -> Sequence[SegmentedImage]:
        images = self._set("test")
        if "train" in self.__dict__:
            say_what_both_have(self.train, images)
        return images

    @property
    def labels(self) -> List[str]:
        """Those that were set, else the training set's, which is read for them."""
        if self.names is None:
            _ = self.train
        assert self.names is not None
        return self.names

    def _set(self, which: str) -> Sequence[SegmentedImage]:
        images, names = self._read[which]()
        labels = names if self.names is None and which == "training" else self.labels
        self.names = labels
        if names == labels:
            return images
        numbers = {label: number for number, label in enumerate(labels)}
        if unknown := [name for name in names if name not in numbers]:
            trained = shortened([repr(label) for label in labels], 20)
            raise UserError(f"the {which} set has the class {unknown[0]!r}, which is not trained on: {trained}")
        # By the index in this set, that in the labels.
        table = _AS_IT_IS.copy()
        table[: len(names)] = [numbers[name] for name in names]
        return [replace(image, table=table[image.table]) for image in images]
