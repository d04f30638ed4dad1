"""From what a reader of any format has read to pictures with boxes: checked, cut, counted, split, and said."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Protocol, Sequence, Tuple, TypeVar

import numpy as np

from ..ops.boxes import areas, clipped
from ..utils.arguments import check_int
from ..utils.errors import UserError, shortened
from ..utils.problems import entry
from ..utils.progress import log_info
from .boxes import BoxedImage, DetectionData, LabelledBoxes
from .files import check_file
from .images import read_size
from .readable import check_on_error, read_each, readable

# Left, top, right, bottom.
Corners = Tuple[float, float, float, float]


class Box(NamedTuple):
    """One box; ``entry`` is what it is called in messages, after its file, as "annotation 5"."""

    entry: str
    label: str
    corners: Corners
    crowd: bool = False


class Annotated(NamedTuple):
    """One picture.

    Attributes:
        file: what annotates it. entry: what it is called in messages, as "a.json: image 7".
        size: its height and width as the annotations have it; None: they don't, and mean the picture as it is shown.
        relative: corners are parts of the width and of the height, not pixels.
    """

    file: Path
    entry: str
    image: Path
    size: Optional[Tuple[int, int]]
    boxes: List[Box]
    relative: bool = False


class Annotations(NamedTuple):
    """What a reader has read; ``file`` is what the whole is called in messages."""

    file: Path
    labels: List[str]
    pictures: List[Annotated]


Item = TypeVar("Item")
# What reads a set, given the arguments that say which.
Reader = Callable[..., Annotations]


def detection_data(
    read: Reader, train: Tuple[Any, ...], test: Optional[Tuple[Any, ...]], split_seed: int, on_error: str
) -> DetectionData:
    """Data whose sets are read when they are asked for.

    Parameters:
        read: the reader of a format. train, test: what it is called with for either set; a path first.
        test: None: a fifth of the training pictures is held out, drawn by ``split_seed``.
        on_error: "stop" or "skip", as ``readable`` has it.
    """
    check_on_error(on_error)
    return DetectionData(*read_later(lambda *which: boxed_images(read(*which), on_error), train, test, split_seed))


class OfPicture(Protocol):
    """What is annotated of a picture, an array or the path of a file."""

    @property
    def image(self) -> Any: ...


Part = TypeVar("Part", bound=OfPicture)
Known = TypeVar("Known")


def read_later(
    read: Callable[..., Tuple[Sequence[Part], Known]],
    train: Tuple[Any, ...],
    test: Optional[Tuple[Any, ...]],
    split_seed: int,
) -> Tuple[Callable[[], Tuple[Sequence[Part], Known]], Callable[[], Tuple[Sequence[Part], Known]]]:
    """What reads the training set and the test set, each once, when it is asked for.

    Parameters:
        read: gives what is annotated, and what is known of all. train, test: what it is called with; a path first.
        test: None: a fifth of the training pictures is held out, drawn by ``split_seed``.
    """
    check_int("split_seed", split_seed, 0, 2**32 - 1)

    @cache
    def read_set(arguments: Tuple[Any, ...]) -> Tuple[Sequence[Part], Known]:
        return read(*arguments)

    @cache
    def halves() -> List[Tuple[Sequence[Part], Known]]:
        items, known = read_set(train)
        return [(part, known) for part in split(items, train[0], split_seed)]

    if test is None:
        return lambda: halves()[0], lambda: halves()[1]
    if test == train:
        log_info(f"{train[0]} is the training and the test set: what is measured says nothing of other pictures")
    return lambda: read_set(train), lambda: read_set(test)


def split(images: Sequence[Part], file: Path, seed: int) -> Tuple[List[Part], List[Part]]:
    """Four fifths of the pictures to train on and one to test on; all that there is of a picture is in one of them.

    Raises:
        UserError: there is one picture alone.
    """
    names = sorted({str(image.image) for image in images})
    if len(names) < 2:
        raise UserError(f"{file}: at least 2 pictures are needed, to train and to test, and it has {len(names)}")
    count = math.ceil(len(names) / 5)
    chosen = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]}
    log_info(f"{file}: {count} of {len(names)} pictures are held out as the test set, drawn by split_seed={seed}")
    parts: Tuple[List[Part], List[Part]] = ([], [])
    for image in images:
        parts[str(image.image) in chosen].append(image)
    return parts


def boxed_images(found: Annotations, on_error: str = "stop") -> LabelledBoxes:
    """The pictures with their boxes cut at the edges, those without width or height left out, and what is odd said.

    Raises:
        UserError: there is no picture, a picture is missing, or a box lies outside; it names the entry.
    """
    if not found.pictures:
        raise UserError(f"{found.file}: it has no image")
    pictures = _that_are_there(found.pictures) if on_error == "stop" else found.pictures
    index = {label: number for number, label in enumerate(found.labels)}
    flat: List[str] = []
    images = [_boxed(found, picture, index, flat) for picture in _sized(pictures, on_error)]
    _say_what_is_odd(found, images, flat)
    return readable(images, BoxedImage.pixels, on_error), found.labels


def _that_are_there(pictures: List[Annotated]) -> List[Annotated]:
    there = []
    for picture in pictures:
        with entry():
            check_file(picture.entry, picture.image)
            there.append(picture)
    return there


def _sized(pictures: List[Annotated], on_error: str) -> List[Annotated]:
    """With the sizes that annotations don't have, from the heads of the files."""
    if all(picture.size for picture in pictures):
        return pictures
    return read_each(pictures, lambda p: p if p.size else p._replace(size=read_size(p.image)), on_error)


def _boxed(found: Annotations, picture: Annotated, index: Dict[str, int], flat: List[str]) -> BoxedImage:
    assert picture.size
    height, width = picture.size
    corners = np.array([box.corners for box in picture.boxes], np.float64).reshape(-1, 4)
    if picture.relative:
        corners *= [width, height, width, height]
    outside = (corners[:, :2] >= [width, height]).any(axis=1) | (corners[:, 2:] < 0).any(axis=1)
    for row in np.flatnonzero(outside):
        left, top, right, bottom = corners[row]
        place = f"from {left:g}, {top:g} to {right:g}, {bottom:g}"
        where = f"{picture.file}: {picture.boxes[row].entry}"
        with entry():
            raise UserError(f"{where}: the bbox {place} lies outside its image of {width}x{height} pixels")
    boxes = clipped(corners.astype(np.float32), height, width)
    kept = areas(boxes) > 0
    flat += [_place(found, picture, picture.boxes[row]) for row in np.flatnonzero(~kept & ~outside)]
    return BoxedImage(
        picture.image,
        picture.size,
        boxes[kept],
        np.array([index[box.label] for box in picture.boxes], np.int64)[kept],
        np.array([box.crowd for box in picture.boxes], bool)[kept],
    )


def _say_what_is_odd(found: Annotations, images: List[BoxedImage], flat: List[str]) -> None:
    """A line for each kind, with its count and the first few."""
    if flat:
        log_info(f"{found.file}: {len(flat)} boxes without width or height are left out, the first of {flat[0]}")
    used = {int(number) for image in images for number in image.classes}
    unused = [repr(label) for number, label in enumerate(found.labels) if number not in used]
    empty = [image.image for image in images if not len(image.boxes)]
    listed_again = [picture.image for picture in _repeated(found.pictures, lambda picture: picture.image)]
    for what, items, total in (
        ("categories without a box", unused, len(found.labels)),
        ("pictures without a box", empty, len(images)),
        ("pictures that are listed twice", listed_again, len(images)),
        ("boxes that are there twice", _repeated_boxes(found), sum(len(p.boxes) for p in found.pictures)),
    ):
        if items:
            log_info(f"{found.file}: {what}: {len(items)} of {total}, {shortened(items, 3)}")


def _repeated(items: List[Item], key: Callable[[Item], Any]) -> List[Item]:
    """Those whose key an earlier one has."""
    first: Dict[Any, Item] = {}
    return [item for item in items if first.setdefault(key(item), item) is not item]


def _repeated_boxes(found: Annotations) -> List[str]:
    """The entries of those that another of their picture equals."""
    return [
        _place(found, picture, box)
        for picture in found.pictures
        for box in _repeated(picture.boxes, lambda box: box[1:])
    ]


def _place(found: Annotations, picture: Annotated, box: Box) -> str:
    """Where a box is, after the name of the whole."""
    return box.entry if picture.file == found.file else f"{picture.file.name}: {box.entry}"


def around(x: Iterable[float], y: Iterable[float]) -> Corners:
    """The box around points."""
    x, y = list(x), list(y)
    return min(x), min(y), max(x), max(y)
