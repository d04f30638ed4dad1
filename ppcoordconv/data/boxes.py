"""Pictures with boxes: what a detector is trained on, and what moves boxes with their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Dict, List, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from ..ops.boxes import clipped
from ..utils.errors import UserError
from .images import Preprocess, read_image


@dataclass(frozen=True)
class BoxedImage:
    """One picture and what is on it.

    Attributes:
        image: uint8 ``[H, W, 3]``, RGB, or the path of a picture file.
        size: its height and width, in pixels.
        boxes: float32 ``[n, 4]``: left, top, right, bottom, in pixels of the picture.
        classes: int64 ``[n]``, indices into the labels.
        crowd: bool ``[n]``: a box around many, in which nothing that is found counts as wrong.
    """

    image: Union[np.ndarray, Path]
    size: Tuple[int, int]
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray

    def pixels(self) -> np.ndarray:
        """uint8 ``[H, W, 3]``.

        Raises:
            UserError: the file is no picture, or one of another size than the annotations say.
        """
        pixels = read_image(self.image) if isinstance(self.image, Path) else self.image
        if pixels.shape[:2] != self.size:
            (height, width), (h, w) = self.size, pixels.shape[:2]
            raise UserError(f"{self.image} is {w}x{h} pixels, its annotations say {width}x{height}")
        return pixels


@dataclass(frozen=True)
class DetectionData:
    """A training and a test set, and the labels of the classes."""

    train: Sequence[BoxedImage]
    test: Sequence[BoxedImage]
    labels: List[str]


@dataclass(frozen=True)
class Letterbox(Preprocess):
    """Pixels to a detector's input: scaled to fit, aspect kept, at the top left; what is left over is grey (mean)."""

    kind: ClassVar[str] = "letterbox"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 ``[H, W, 3]`` -> float32 ``[3, *image_size]``."""
        scale = self.scale(pixels.shape[:2])
        height, width = (max(1, round(n * scale)) for n in pixels.shape[:2])
        box = np.empty([*self.image_size, 3], np.uint8)
        box[:] = np.round(255 * np.array(self.mean))
        if (height, width) != pixels.shape[:2]:
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        box[:height, :width] = pixels
        return super().__call__(box)

    def on(self, size: Sequence[int], result: Dict[str, Any]) -> Dict[str, Any]:
        """A result whose boxes are in pixels of a picture of that height and width, and inside it."""
        height, width = size[:2]
        scale = self.scale((height, width))
        objects = []
        for found in result["objects"]:
            (box,) = clipped(np.array([found["box"]]) / scale, height, width)
            objects.append({**found, "box": [round(float(edge), 2) for edge in box]})
        return {**result, "objects": objects}

    def scale(self, size: Sequence[int]) -> float:
        """By which a picture of that height and width, and its boxes, are multiplied."""
        return min(wanted / n for wanted, n in zip(self.image_size, size))
