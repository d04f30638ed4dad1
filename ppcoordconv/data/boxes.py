"""Pictures with boxes: what a detector is trained on, and what moves boxes with their pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, ClassVar, List, Optional, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from ..ops.boxes import clipped
from ..ops.masks import IGNORED
from ..utils.errors import UserError, shortened
from ..utils.progress import log_info
from .images import Preprocess, read_image
from .splits import both_have


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
        """uint8 ``[H, W, 3]``, as ``annotated_pixels`` gives them."""
        return annotated_pixels(self.image, self.size)


def annotated_pixels(image: Union[np.ndarray, Path], size: Tuple[int, int]) -> np.ndarray:
    """uint8 ``[H, W, 3]``; as it is stored, if the annotations are of that, and not of how a camera was held.

    Parameters:
        size: the height and width that the annotations are for.

    Raises:
        UserError: the file is not a picture, or one of another size.
    """
    pixels = read_image(image) if isinstance(image, Path) else image
    if isinstance(image, Path) and pixels.shape[:2] == size[::-1] != size:
        pixels = read_image(image, oriented=False)
    if pixels.shape[:2] != size:
        (height, width), (h, w) = size, pixels.shape[:2]
        raise UserError(f"{image} is {w}x{h} pixels, its annotations say {width}x{height}")
    return pixels


# Pictures, and the labels of their classes.
LabelledBoxes = Tuple[Sequence[BoxedImage], List[str]]


class DetectionData:
    """A training and a test set, and the labels of the classes. A set is read when it is asked for first.

    The classes of both sets are indices into ``labels``: classes are matched by name, in whatever order and number a
    set has them.

    Parameters:
        read_train, read_test: each gives a set's pictures, and the names that its classes are indices into.
    """

    def __init__(self, read_train: Callable[[], LabelledBoxes], read_test: Callable[[], LabelledBoxes]) -> None:
        self._read_train = read_train
        self._read_test = read_test
        self._labels: Optional[List[str]] = None

    @cached_property
    def train(self) -> Sequence[BoxedImage]:
        images, names = self._read_train()
        if not names:
            raise UserError("the training set has no box, and so no category")
        self._labels = self._labels or names
        return _matched("training", images, names, self._labels)

    @cached_property
    def test(self) -> Sequence[BoxedImage]:
        images = _matched("test", *self._read_test(), self.labels)
        if all(image.crowd.all() for image in images):
            log_info("the test set has no box: nothing can be measured on it")
        if "train" in self.__dict__:
            say_what_both_have(self.train, images)
        return images

    @property
    def labels(self) -> List[str]:
        """Those that were set, else the training set's, which is read for them.

        To be set before a set is read: with those of trained weights, the test set is read alone.
        """
        if self._labels is None:
            _ = self.train
            assert self._labels is not None
        return self._labels

    @labels.setter
    def labels(self, labels: List[str]) -> None:
        self._labels = labels


def _matched(which: str, images: Sequence[BoxedImage], names: List[str], labels: List[str]) -> Sequence[BoxedImage]:
    """The pictures with classes that are indices into ``labels`` in the place of ``names``."""
    if names == labels:
        return images
    numbers = {label: number for number, label in enumerate(labels)}
    if unknown := [name for name in names if name not in numbers]:
        trained = shortened([repr(label) for label in labels], 20)
        raise UserError(f"the {which} set has the category {unknown[0]!r}, which is not trained on: {trained}")
    index = np.array([numbers[name] for name in names], np.int64)
    return [replace(image, classes=index[image.classes]) for image in images]


def say_what_both_have(train: Sequence[Any], test: Sequence[Any]) -> None:
    """How many pictures of the test set, each the attribute ``image`` of one, are in the training set, too."""
    trained, measured = ([one.image for one in part] for part in (train, test))
    if said := both_have(trained, measured, "of the test set are in the training set"):
        log_info(said)


@dataclass(frozen=True)
class Letterbox(Preprocess):
    """Pixels to a detector's input: scaled to fit, aspect kept, at the top left; what is left over is grey (mean)."""

    kind: ClassVar[str] = "letterbox"

    def of_image(self, image: Image.Image) -> np.ndarray:
        """An RGB picture -> float32 ``[3, *image_size]``."""
        size = self._fitted((image.height, image.width))
        if size != image.size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        grey = tuple(np.broadcast_to(np.round(255 * np.array(self.mean)), 3).astype(int).tolist())
        box = Image.new("RGB", self.image_size[::-1], grey)
        box.paste(image)
        return super().of_image(box)

    def boxes_to_image(self, boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """Boxes ``[n, 4]`` in pixels of a picture of that height and width, and inside it."""
        height, width = size[:2]
        return clipped(boxes / self.scale((height, width)), height, width)

    def of_mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask, uint8 ``[H, W]``, as the input shows its picture, ``[*image_size]``; what is left over is ignored."""
        size = self._fitted(mask.shape)
        fitted = np.full(self.image_size, IGNORED, np.uint8)
        fitted[: size[1], : size[0]] = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        return fitted

    def mask_to_image(self, mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """From a mask of the input, which may be smaller than it, that of the picture of that height and width."""
        height, width = size[:2]
        shown = zip(self._fitted((height, width))[::-1], mask.shape, self.image_size)
        rows, columns = (max(1, round(part * length / whole)) for part, length, whole in shown)
        part = Image.fromarray(mask[:rows, :columns])
        return np.asarray(part.resize((width, height), Image.Resampling.NEAREST))

    def _fitted(self, size: Sequence[int]) -> Tuple[int, int]:
        """The width and height, in the input, of a picture of that height and width."""
        height, width = (max(1, round(n * self.scale(size))) for n in size)
        return width, height

    def window(self, part: np.ndarray, size: Sequence[int], whole: Letterbox) -> np.ndarray:
        """Where the input lies that is made of a part of a picture, beside that made of the picture by ``whole``.

        Parameters:
            part: left, top, right, bottom, in pixels of the picture. size: the picture's height and width.

        Returns:
            ``[6]``, in pixels of the picture: left, top, right, bottom, and the height and width of the whole input.
        """
        left, top, right, bottom = part
        height, width = self._extent((bottom - top, right - left))
        return np.array([left, top, left + width, top + height, *whole._extent(size)], np.float32)

    def _extent(self, size: Sequence[int]) -> np.ndarray:
        """The height and width of the input in pixels of the picture, of that height and width, that it shows."""
        return np.array(self.image_size) / self.scale(size)

    def scale(self, size: Sequence[int]) -> float:
        """By which a picture of that height and width, and its boxes, are multiplied."""
        return min(wanted / n for wanted, n in zip(self.image_size, size))
