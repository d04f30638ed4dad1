"""What training pictures with boxes undergo: crops, flips, colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence, Tuple

import numpy as np
from PIL import Image, ImageEnhance

from ..ops.boxes import clipped
from ..utils.arguments import check_bool, check_number


@dataclass(frozen=True)
class Augmentation:
    """Samples and applies an augmentation.

    Parameters:
        flip: half of the pictures are mirrored, left to right.
        crop: up to this part (0..0.9) of the height and of the width is cut away; boxes whose middle goes, go too.
        colour: brightness, contrast and saturation each change by up to this part (0..1).
    """

    flip: bool = False
    crop: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        check_bool("flip", self.flip)
        check_number("crop", self.crop, 0, 0.9)
        check_number("colour", self.colour, 0, 1)

    def __call__(
        self, pixels: np.ndarray, boxes: np.ndarray, rng: np.random.Generator
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The picture ``[H, W, 3]``, its boxes ``[n, 4]``, which of those there were they are, bool ``[m]``, and which
        part of the whole picture it is, ``[4]``: left, top, right, bottom. Of a mirrored one, the whole is mirrored.
        """
        kept = np.ones(len(boxes), bool)
        height, width = pixels.shape[:2]
        part = np.array([0, 0, width, height])
        if self.crop:
            h, w = (max(1, round(n * (1 - rng.uniform(0, self.crop)))) for n in (height, width))
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            pixels = pixels[top : top + h, left : left + w]
            middles = (boxes[:, :2] + boxes[:, 2:]) / 2 - [left, top]
            kept = ((middles >= 0) & (middles < [w, h])).all(axis=1)
            boxes = clipped(boxes[kept] - np.array([left, top, left, top], np.float32), h, w)
            part = np.array([left, top, left + w, top + h])
        if self.flip and rng.random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            boxes, part = mirrored(boxes, pixels.shape[1]), mirrored(part, width)
        if self.colour:
            pixels = recoloured(pixels, self.colour, rng)
        return pixels, boxes, kept, part

    def with_mask(
        self, pixels: np.ndarray, mask: np.ndarray, boxes: np.ndarray, seed: Sequence[int]
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The picture, its mask ``[H, W, ...]``, of the same part and the same mirror, which of the boxes there were
        are left, and which part it is.
        """
        # Of the same numbers drawn; colours come last.
        pixels, _, kept, part = self(pixels, boxes, np.random.default_rng(seed))
        mask, *_ = replace(self, colour=0.0)(mask, boxes, np.random.default_rng(seed))
        return pixels, mask, kept, part


def recoloured(pixels: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation each changed by up to that part."""
    image = Image.fromarray(pixels)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(1 + rng.uniform(-part, part))
    return np.asarray(image)


def mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    """Boxes ``[..., 4]`` of a picture of that width, in its mirror image."""
    left, top, right, bottom = np.moveaxis(boxes, -1, 0)
    return np.stack([width - right, top, width - left, bottom], axis=-1)
