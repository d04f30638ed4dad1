"""Pictures with objects and their masks: what an instance segmentation network is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Sequence, Tuple

import numpy as np

from .boxes import BoxedImage, DetectionData
from .outlines import Outline


@dataclass(frozen=True)
class InstanceImage(BoxedImage):
    """One picture and what is on it, of each object a box, the class, whether it is a crowd, and

    Attributes:
        outlines: where it is, ``[n]``.
    """

    outlines: Tuple[Outline, ...]

    def masks(self) -> np.ndarray:
        """Of each object which pixels are its: uint8 ``[n, H, W]``, 0 or 1. Masks may overlap."""
        masks = np.zeros([len(self.outlines), *self.size], np.uint8)
        for mask, outline in zip(masks, self.outlines):
            mask[:] = outline.mask()
        return masks


class InstanceData(DetectionData):
    """A training and a test set of ``InstanceImage``s, and the labels of their classes."""

    if TYPE_CHECKING:

        @cached_property
        def train(self) -> Sequence[InstanceImage]: ...

        @cached_property
        def test(self) -> Sequence[InstanceImage]: ...
