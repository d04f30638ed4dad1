"""Masks in files: the number of a class for each pixel, checked and counted before a training."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..ops.masks import IGNORED, MAX_CLASSES
from ..utils.errors import ArgumentError, UserError, shortened, shortened_repr
from ..utils.files import open_regular
from ..utils.progress import log_info
from .files import check_file, check_label, read_text
from .images import opened, read_size
from .masks import LabelledMasks, SegmentedImage
from .readable import read_each

# Where nothing else is said, the first of these that a data set has names its classes.
LABEL_FILES = ("labels.txt", "classes.txt", "labelmap.txt")
# As index masks are written; what JPEG keeps of a class is near it.
_EXACT = ("PNG", "BMP", "DIB", "GIF", "TIFF")
_SIXTEEN_BITS_IGNORED = 65535
Colour = Tuple[int, int, int]
_OF_COLOUR = re.compile(r".*:\s*\d+\s*,\s*\d+\s*,\s*\d+\s*:.*:.*")


class MaskLabels(NamedTuple):
    """What is known of the classes.

    Attributes:
        names: in the order of their numbers; None: nothing is.
        colours: where masks show classes in colours, the number of each.
    """

    names: Optional[List[str]] = None
    colours: Optional[Dict[Colour, int]] = None


class Pair(NamedTuple):
    """A picture and its mask; ``entry`` is what names them, for messages."""

    entry: str
    picture: Path
    mask: Path


class _Scanned(NamedTuple):
    image: SegmentedImage
    values: np.ndarray


def labels_in(folder: Path, given: Any) -> MaskLabels:
    """The classes of a data set.

    Parameters:
        given: their names, or the name of a file with one a line, or with CVAT's ``name:red,green,blue::``; None: of
            ``LABEL_FILES`` the first that is there.

    Raises:
        UserError: it is something else; a line is wrong.
    """
    if isinstance(given, (list, tuple)):
        return MaskLabels(_checked("data.labels", list(given)))
    if given is not None and (not isinstance(given, str) or not given):
        raise ArgumentError("labels", f"takes names, or the file that has them, got {shortened_repr(given)}")
    files = [folder / given] if given else [folder / name for name in LABEL_FILES if (folder / name).is_file()]
    if not files:
        return MaskLabels()
    file, lines = files[0], [line.strip() for line in read_text(files[0]).splitlines() if line.strip()]
    if not any(map(_OF_COLOUR.fullmatch, lines)):
        return MaskLabels(_checked(str(file), lines))
    entries = [line.rsplit(":", 3) for line in lines if not line.startswith("#")]
    names = _checked(str(file), [entry[0] for entry in entries])
    colours: Dict[Colour, int] = {}
    for number, (name, entry) in enumerate(zip(names, entries)):
        colour = _colour(file, name, entry[1:])
        if colour in colours:
            raise UserError(f"{file}: {names[colours[colour]]!r} and {name!r} have one colour, {colour}")
        colours[colour] = number
    return MaskLabels(names, colours)


def segmented_images(where: Path, pairs: Sequence[Pair], labels: MaskLabels, on_error: str) -> LabelledMasks:
    """Pictures whose masks were read once, with the classes that there are.

    Where all masks have 0 and 255 alone, and there are no more than two classes, they are black and white: 255 is
    class 1. Without names, classes are called by their numbers.

    Raises:
        UserError: a file is missing or no mask, has another size than its picture, or a class that there isn't; or all
            pixels are of one class, and nothing names a second.
    """
    scanned = read_each(pairs, partial(_scan, labels), on_error)
    if not scanned:
        raise UserError(f"{where}: there is no picture with a mask")
    there = np.unique(np.concatenate([one.values for one in scanned]))
    if there.tolist() == [IGNORED]:
        raise UserError(f"{where}: no pixel of its masks counts, as all are {IGNORED}")
    names = labels.names
    if labels.colours is None and there.tolist() == [0, IGNORED] and names is not None and len(names) > 2:
        raise UserError(
            f"{where}: its masks are 0 and {IGNORED} alone, and of which of {len(names)} classes is not said"
        )
    is_black_and_white = labels.colours is None and there.tolist() == [0, 255] and (names is None or len(names) == 2)
    if names is None:
        known = [0, 1] if is_black_and_white else range(int(there[there < IGNORED].max(initial=0)) + 1)
        names = [str(number) for number in known]
        if len(names) < 2:
            raise UserError(f"{where}: all pixels of its masks are of class 0; at least 2 classes are needed")
        log_info(f"{where}: its classes have no names, which labels.txt would give, a line each: {shortened(names, 8)}")
    table = np.arange(256, dtype=np.uint8)
    if is_black_and_white:
        table[IGNORED] = 1
        log_info(f"{where}: its masks are black and white, and white, 255, is the class {names[1]}")
    images = [SegmentedImage(one.image.image, one.image.size, one.image.read_mask, table) for one in scanned]
    unused = [name for number, name in enumerate(names) if number not in table[there]]
    if unused:
        log_info(f"{where}: classes without a pixel: {len(unused)} of {len(names)}, {shortened(unused, 5)}")
    return images, names


def read_mask(file: Path, colours: Optional[Dict[Colour, int]] = None) -> np.ndarray:
    """The numbers of a mask's pixels, 255 of those to be ignored: those of a picture with 1, 8 or 16 bits a pixel,
    indices into a palette, or what ``colours`` says of colours.

    Returns:
        uint8 ``[H, W]``.

    Raises:
        UserError: the file can't be read as a picture, or has no such numbers.
    """
    with open_regular(file) as stream, opened(stream, str(file)) as image:
        kind, is_wide = image.format, "16" in str(getattr(image, "tile", ""))
        if colours is not None and image.mode == "P":
            image = image.convert("RGB")  # noqa: PLW2901
        mode, values = image.mode, np.array(image)
    if kind not in _EXACT:
        raise UserError(f"{file}: a mask is a PNG, BMP, GIF or TIFF; {kind} does not keep numbers exactly")
    if mode in ("RGB", "RGBA") and is_wide:  # of which Pillow keeps the high byte
        raise UserError(f"{file}: its colours have 16 bits a sample; save it with 8, or with one sample a pixel")
    if mode in ("RGB", "RGBA"):
        values = values[..., :3]
        if colours is not None:
            return _by_colour(file, values, colours)
        if (values != values[..., :1]).any():
            raise UserError(
                f"{file}: its pixels have colours, and nothing says of which class; a labelmap.txt beside the folders "
                "does, with a line name:red,green,blue:: for each"
            )
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "biu":
        raise UserError(f"{file}: a mask has one whole number a pixel, this picture's mode is {mode}")
    values = np.where(values == _SIXTEEN_BITS_IGNORED, IGNORED, values) if values.dtype.itemsize > 1 else values
    for value in (values.min(initial=0), values.max(initial=0)):
        if not 0 <= value <= IGNORED:
            raise UserError(f"{file}: classes are numbered from 0 to {MAX_CLASSES - 1}, got {value}")
    return values.astype(np.uint8)


def _scan(labels: MaskLabels, pair: Pair) -> _Scanned:
    for file in (pair.picture, pair.mask):
        check_file(pair.entry, file)
    mask = read_mask(pair.mask, labels.colours)
    # As it is shown, or as it is stored.
    sizes = [read_size(pair.picture), read_size(pair.picture, oriented=False)]
    if mask.shape not in sizes:
        (height, width), (h, w) = sizes[0], mask.shape
        raise UserError(f"{pair.mask} is {w}x{h} pixels, its picture {pair.picture} {width}x{height}")
    values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).astype(np.uint8)
    known = len(labels.names) if labels.names is not None else MAX_CLASSES
    if (wrong := values[(values >= known) & (values != IGNORED)]).size:
        names = shortened(labels.names or [], 5)
        raise UserError(f"{pair.mask}: there is no class {wrong[0]}; the classes are 0 to {known - 1}, {names}")
    return _Scanned(SegmentedImage(pair.picture, mask.shape, partial(read_mask, pair.mask, labels.colours)), values)


def _by_colour(file: Path, values: np.ndarray, colours: Dict[Colour, int]) -> np.ndarray:
    packed = values.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, places = np.unique(packed, return_inverse=True)
    numbers = np.empty(len(found), np.uint8)
    for place, value in enumerate(found.tolist()):
        colour = (value >> 16, value >> 8 & 255, value & 255)
        if colour not in colours:
            raise UserError(f"{file}: no class has the colour {colour}; its labelmap.txt names {len(colours)} others")
        numbers[place] = colours[colour]
    return numbers[places.reshape(packed.shape)]


def _colour(file: Path, name: str, rest: List[str]) -> Colour:
    parts = [part.strip() for part in rest[0].split(",")] if rest else []
    if len(parts) != 3 or not all(part.isdecimal() and int(part) <= 255 for part in parts):
        given = shortened_repr(":".join(rest))
        raise UserError(f"{file}: {name!r}: takes name:red,green,blue:: with numbers from 0 to 255, got {given}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _checked(where: str, names: List[Any]) -> List[str]:
    for name in names:
        check_label(where, "a class", name)
    if len(set(names)) < len(names) or not 2 <= len(names) <= MAX_CLASSES:
        takes = f"takes 2 to {MAX_CLASSES} different classes, the background among them"
        raise UserError(f"{where}: {takes}, got {len(names)}: {shortened([repr(name) for name in names], 6)}")
    return names
