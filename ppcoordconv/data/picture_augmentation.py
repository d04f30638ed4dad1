"""What training pictures of classification undergo, by preset: crops, flips, turns, colours, erased parts.

The operations are those of ``paddle.vision.transforms``. What is random is drawn here, by a generator of each sample's
own: Paddle's draw from one for all threads, and what comes out would depend on the order in which samples are read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np
from paddle.vision.transforms import functional as F
from PIL import Image

from ..utils.arguments import check_number

# Of the sides of a crop, and of an erased part: width by height, each as a part of the picture's.
RATIOS = (3 / 4, 4 / 3)
# An erased part has so much of the picture.
ERASED = (0.02, 0.2)


@dataclass(frozen=True)
class Augmentation:
    """Samples and applies an augmentation; every second picture is mirrored, left to right.

    Parameters:
        area: a crop has at least this part (0..1) of the picture's area.
        colour: brightness, contrast and saturation each change by up to this part (0..1).
        hue: it changes by up to this part (0..0.5) of the circle of colours.
        degrees: it is turned by up to so many, one way or the other.
        erase: how probable it is that a part is covered with a colour, 0..1.
    """

    area: float
    colour: float
    hue: float = 0.0
    degrees: float = 0.0
    erase: float = 0.0

    def __call__(
        self, image: Image.Image, size: Tuple[int, int], rng: np.random.Generator
    ) -> Tuple[Image.Image, np.ndarray]:
        """The picture at a size, height and width, and which part of it that is, ``[4]``: left, top, right, bottom, in
        its pixels. Of a mirrored one, the whole is mirrored.
        """
        top, left, height, width = _part(rng, image.height, image.width, self.area, 1.0)
        mirrored = rng.random() < 0.5
        part = np.array([left, top, left + width, top + height], np.float32)
        if mirrored:
            part[[0, 2]] = image.width - part[[2, 0]]
        image = F.resize(F.crop(image, top, left, height, width), size)
        if mirrored:
            image = F.hflip(image)
        if self.degrees:
            image = F.rotate(image, rng.uniform(-self.degrees, self.degrees), "bilinear")
        for adjust in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation):
            image = adjust(image, 1 + rng.uniform(-self.colour, self.colour))
        if self.hue:
            image = F.adjust_hue(image, rng.uniform(-self.hue, self.hue))
        if rng.random() < self.erase:
            image = F.erase(image, *_part(rng, *size, *ERASED), rng.integers(0, 256, 3))
        return image, part


PRESETS: Dict[str, Augmentation] = {
    "weak": Augmentation(area=0.5, colour=0.2),
    "strong": Augmentation(area=0.2, colour=0.4, hue=0.1, degrees=15, erase=0.25),
}


def _part(
    rng: np.random.Generator, height: int, width: int, smallest: float, largest: float
) -> Tuple[int, int, int, int]:
    """A part of a picture: top, left, height, width."""
    area = rng.uniform(smallest, largest)
    ratio = math.exp(rng.uniform(*np.log(RATIOS)))
    h = min(height, max(1, round(height * math.sqrt(area / ratio))))
    w = min(width, max(1, round(width * math.sqrt(area * ratio))))
    return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w


@dataclass(frozen=True)
class SoftTargets:
    """What a network is to say of a picture: for each class a part of 1.

    Parameters:
        num_classes: of the data.
        label_smoothing: this part (0..1) of the 1 is shared by all classes alike.
        mixup: the parameter (0..10) of the beta distribution from which the shares of two mixed pictures are drawn; 0:
            they are not mixed.
    """

    num_classes: int
    label_smoothing: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        check_number("label_smoothing", self.label_smoothing, 0, 1)
        check_number("mixup", self.mixup, 0, 10)

    def draw_share(self, rng: np.random.Generator) -> float:
        """Of a picture in the mixture with another: the greater one, so that its class stays the right one."""
        share = rng.beta(self.mixup, self.mixup)
        return max(share, 1 - share)

    def __call__(self, label: int, other: int, share: float) -> np.ndarray:
        """``[num_classes]``, of a picture with that share of one class, and the rest of the other."""
        target = np.full(self.num_classes, self.label_smoothing / self.num_classes)
        target[label] += (1 - self.label_smoothing) * share
        target[other] += (1 - self.label_smoothing) * (1 - share)
        return target.astype(np.float32)
