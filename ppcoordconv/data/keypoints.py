"""Objects with keypoints: what a keypoint network is trained on, and what moves points with their pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from ..utils.errors import UserError, shortened
from .boxes import annotated_pixels, say_what_both_have

# COCO's visibilities.
NOT_LABELLED, HIDDEN, VISIBLE = 0, 1, 2
# What says the side in a point's name, and what does in the name of the other one.
_OTHER_SIDE = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_SIDE = re.compile("left|Left|LEFT|(?<![A-Za-z])[lL](?![A-Za-z])")


class Skeleton(NamedTuple):
    """What the keypoints of a data set are.

    Attributes:
        names: of the points, in their order.
        edges: pairs of indices, which are joined by a line where points are drawn.
        flip_pairs: pairs of indices, left and right, which change places where a picture is mirrored.
    """

    names: List[str]
    edges: List[List[int]]
    flip_pairs: List[List[int]]

    def flip_order(self) -> np.ndarray:
        """For each point the index of what it is in a mirror: int64 ``[K]``."""
        order = np.arange(len(self.names))
        for left, right in self.flip_pairs:
            order[[left, right]] = right, left
        return order


def pairs_of(names: Sequence[str]) -> List[List[int]]:
    """Left and right, by names that differ in that alone: "left_eye" and "right_eye", "hand_l" and "hand_r"."""
    others = [_SIDE.sub(lambda side: _OTHER_SIDE[side[0]], name) for name in names]
    index = {name: number for number, name in enumerate(names)}
    return [[index[name], index[other]] for name, other in zip(names, others) if name != other and other in index]


@dataclass(frozen=True)
class KeypointObject:
    """One object in a picture.

    Attributes:
        image: uint8 ``[H, W, 3]``, RGB, or the path of a picture file.
        size: the picture's height and width, in pixels.
        box: float32 ``[4]``: left, top, right, bottom, in pixels of the picture.
        points: float32 ``[K, 3]``: x, y, and visibility as COCO has it: 0 not labelled, 1 hidden, 2 visible.
        area: of the object, in square pixels.
    """

    image: Union[np.ndarray, Path]
    size: Tuple[int, int]
    box: np.ndarray
    points: np.ndarray
    area: float

    def pixels(self) -> np.ndarray:
        """uint8 ``[H, W, 3]``, as ``annotated_pixels`` gives them."""
        return annotated_pixels(self.image, self.size)


# Objects, and what their points are.
Keypoints = Tuple[Sequence[KeypointObject], Skeleton]


class KeypointData:
    """A training and a test set, each read when it is asked for first, and the skeleton of both.

    Attributes:
        names: those that both sets must have; of trained weights, where they are set before a set is read.
    """

    def __init__(self, read_train: Callable[[], Keypoints], read_test: Callable[[], Keypoints]) -> None:
        self._read = {"training": read_train, "test": read_test}
        self.names: Optional[List[str]] = None

    @cached_property
    def train(self) -> Sequence[KeypointObject]:
        return self._set("training")[0]

    @cached_property
    def test(self) -> Sequence[KeypointObject]:
        objects = self._set("test")[0]
        if "train" in self.__dict__:
            say_what_both_have(self.train, objects)
        return objects

    @cached_property
    def skeleton(self) -> Skeleton:
        """The training set's."""
        return self._set("training")[1]

    def _set(self, which: str) -> Keypoints:
        objects, skeleton = self._read[which]()
        self.names = self.names or skeleton.names
        if skeleton.names != self.names:
            there = f"the {which} set has the keypoints {shortened(skeleton.names, 20)}"
            raise UserError(f"{there}, not {shortened(self.names, 20)}")
        return objects, skeleton
