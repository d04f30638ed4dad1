"""The part of a picture that a keypoint network is given, and what it undergoes in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from ..utils.arguments import check_bool, check_choice, check_number
from .augment import mirrored, recoloured
from .keypoints import KeypointObject


@dataclass(frozen=True)
class Region:
    """Chooses and cuts the part.

    Parameters:
        region: "box", that of the object's box, or "whole", the whole picture.
        margin: how much of the box's longer side is added on each side, 0..1.
        flip: half of the parts are mirrored, left to right.
        jitter: the part is moved, and enlarged or reduced, by up to this part (0..0.5) of its size.
        colour: brightness, contrast and saturation each change by up to this part (0..1).
    """

    region: str = "box"
    margin: float = 0.15
    flip: bool = False
    jitter: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        check_choice("region", self.region, ("box", "whole"))
        check_number("margin", self.margin, 0, 1)
        check_bool("flip", self.flip)
        check_number("jitter", self.jitter, 0, 0.5)
        check_number("colour", self.colour, 0, 1)

    def __call__(
        self, one: KeypointObject, rng: Optional[np.random.Generator] = None, flip_order: Optional[np.ndarray] = None
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The part of the picture, uint8 ``[h, w, 3]``; the points in it, ``[K, 3]``, where something is drawn those
        outside with visibility 0; and where it is in the whole picture, left, top, right, bottom, ``[4]``. Of a
        mirrored one, the whole is mirrored.

        Parameters:
            rng: what is drawn, comes from it; None: nothing is, the part is the same each time.
            flip_order: for each point the index of what it is in a mirror.
        """
        height, width = one.size
        left, top, right, bottom = part = self._part(one, rng)
        pixels = one.pixels()[top:bottom, left:right]
        points = one.points - np.array([left, top, 0], np.float32)
        if rng is not None:  # in training: what is measured counts all points, as COCO does
            outside = ((points[:, :2] < 0) | (points[:, :2] > [right - left, bottom - top])).any(axis=1)
            points[outside] = 0
        if rng is not None and flip_order is not None and self.flip and rng.random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            points = points[flip_order] * np.array([-1, 1, 1], np.float32) + np.array([right - left, 0, 0], np.float32)
            part = mirrored(part, width)
        if rng is not None and self.colour:
            pixels = recoloured(pixels, self.colour, rng)
        return pixels, points, part

    def _part(self, one: KeypointObject, rng: Optional[np.random.Generator]) -> np.ndarray:
        height, width = one.size
        left, top, right, bottom = one.box if self.region == "box" else (0, 0, width, height)
        margin = self.margin * max(right - left, bottom - top) if self.region == "box" else 0
        sides = np.array([right - left, bottom - top]) + 2 * margin
        middle = np.array([left + right, top + bottom]) / 2
        if rng is not None and self.jitter:
            middle = middle + rng.uniform(-self.jitter, self.jitter, 2) * sides
            sides = sides * (1 + rng.uniform(-self.jitter, self.jitter))
        low = np.clip(np.floor(middle - sides / 2), 0, [width - 1, height - 1])
        high = np.clip(np.ceil(middle + sides / 2), low + 1, [width, height])
        return np.concatenate([low, high]).astype(int)
