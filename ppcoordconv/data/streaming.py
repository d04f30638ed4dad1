"""Pictures of any size, read from top to bottom: of one that can be read so, no more is held than the last rows."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from pathlib import Path
from typing import Any, BinaryIO, Iterator, Optional, Tuple, Union

import numpy as np
import pyvips
from PIL import ExifTags, Image

from ..utils.errors import UnreadableImageError
from ..utils.files import open_regular
from .images import decode_image, opened, to_rgb

# By Pillow's mode, the samples of which libvips makes the same pixels.
SAMPLES = {
    "L": ("uchar", 1),
    "LA": ("uchar", 2),
    "RGB": ("uchar", 3),
    "RGBA": ("uchar", 4),
    "CMYK": ("uchar", 4),
    "I;16": ("ushort", 1),
}
# Of TIFF, its tags and what they may say.
PHOTOMETRIC, YCBCR = 262, 6
COMPRESSION, JPEG = 259, 7
EXTRA_SAMPLES, PREMULTIPLIED = 338, 1
# So many rows are decoded at a time.
ROWS = 64
# Pictures to draw on have about so many pixels at most.
MAX_DRAWN = 2**24
# Pillow has one limit for all threads.
_LIMIT = threading.Lock()


class Streamed:
    """A picture that is decoded as far down as it is asked for; as Pillow's pictures, it has ``size`` and ``crop``."""

    def __init__(self, picture: Any, mode: str, name: str) -> None:
        self.size: Tuple[int, int] = (picture.width, picture.height)
        self._region = pyvips.Region.new(picture)
        self._mode = mode
        self._name = name
        self._top = 0
        self._rows = np.empty([0, picture.width, 3], np.uint8)

    def crop(self, box: Tuple[int, int, int, int]) -> Image.Image:
        """A part, RGB.

        Parameters:
            box: left, top, right and bottom; the top and the bottom are nowhere above those of the part before.

        Raises:
            UserError: the file is damaged.
        """
        left, top, right, bottom = box
        held = self._top + len(self._rows)
        assert top >= self._top and bottom >= held, "what is above is gone"
        if (top, bottom) != (self._top, held):
            kept = self._rows[top - self._top :]
            shape = bottom - top, self.size[0], 3
            # In place, as the kept rows are moved up.
            rows = self._rows if self._rows.shape == shape else np.empty(shape, np.uint8)
            rows[: len(kept)] = kept
            for start in range(top + len(kept), bottom, ROWS):
                stop = min(start + ROWS, bottom)
                rows[start - top : stop - top] = self._decoded(start, stop)
            self._top, self._rows = top, rows
        return Image.fromarray(self._rows[:, left:right])

    def _decoded(self, top: int, bottom: int) -> np.ndarray:
        size = (self.size[0], bottom - top)
        try:
            samples = self._region.fetch(0, top, *size)
        except pyvips.Error as error:
            # The lines before are of pictures before this.
            raise UnreadableImageError(
                f"{self._name} is not a readable picture: {str(error).strip().splitlines()[-1]}"
            ) from error
        return np.asarray(to_rgb(Image.frombuffer(self._mode, size, samples, "raw", self._mode, 0, 1)))


@contextlib.contextmanager
def open_of_any_size(path: Path) -> Iterator[Union[Streamed, Image.Image]]:
    """What has the pixels of ``read_image``, to be cropped from top to bottom.

    JPEG, PNG and TIFF of the modes in SAMPLES are streamed; libvips holds a progressive JPEG or interlaced PNG in full.
    Read in full, with 4 bytes a pixel or more, are other formats and modes, pictures that a camera noted as turned, a
    PNG with notes after its pixels, and a TIFF of YCbCr that is no JPEG or whose colours are multiplied by their
    transparency.

    Raises:
        UserError: there is no such file, or it is not a picture, or damaged.
    """
    with open_regular(path) as file:
        with _without_limit():
            picture = _streamed(file, path) or decode_image(file, str(path))[0]
        yield picture


def read_reduced(path: Path) -> Tuple[np.ndarray, int]:
    """The pixels of a picture of any size, as a whole number of times smaller as makes it at most MAX_DRAWN pixels.

    Returns:
        uint8 ``[H, W, 3]``, and how many times smaller each side is; raises what ``open_of_any_size`` raises.
    """
    with open_of_any_size(path) as picture:
        width, height = picture.size
        factor = 1
        while width * height > MAX_DRAWN * factor**2:
            factor += 1
        pixels = np.empty([-(-height // factor), -(-width // factor), 3], np.uint8)
        for top in range(0, height, factor * ROWS):
            rows = picture.crop((0, top, width, min(top + factor * ROWS, height)))
            pixels[top // factor :][:ROWS] = np.asarray(rows.reduce(factor))
        return pixels, factor


@contextlib.contextmanager
def _without_limit() -> Iterator[None]:
    """Pillow refuses pictures of over 178 million pixels, which might be meant to fill the memory."""
    with _LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _streamed(file: BinaryIO, path: Path) -> Optional[Streamed]:
    """None: it has to be read in full."""
    with opened(file, str(path)) as image:
        if not _is_same(image, file):
            return None
        try:
            # Not by pyvips.Image.new_from_file, which takes what is in brackets in a name for options.
            source = pyvips.Source.new_from_file(os.fsencode(path))
            picture = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
        except pyvips.Error:  # Pillow says what is wrong, if it can't read it either
            return None
        same = SAMPLES.get(image.mode) == (picture.format, picture.bands)
        return Streamed(picture, image.mode, str(path)) if same else None


def _is_same(image: Any, file: BinaryIO) -> bool:
    """Whether libvips makes the same pixels of it, if it makes the same samples."""
    # Not image.getexif(), which decodes a whole PNG to find what may stand at its end.
    if Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1) != 1:
        return False
    if image.format == "PNG":
        return _ends_with_pixels(file)
    if image.format == "TIFF":
        tags = image.tag_v2
        is_ycbcr, is_jpeg = tags.get(PHOTOMETRIC) == YCBCR, tags.get(COMPRESSION) == JPEG
        return (is_jpeg or not is_ycbcr) and PREMULTIPLIED not in tags.get(EXTRA_SAMPLES, ())
    return image.format == "JPEG"


def _ends_with_pixels(file: BinaryIO) -> bool:
    """Whether a PNG has nothing after its pixels, where it may say that they are turned."""
    file.seek(8)
    kinds = [b"", b""]
    while kinds[-1] != b"IEND" and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind != kinds[-1]:
            kinds.append(kind)
        file.seek(length + 4, os.SEEK_CUR)
    return kinds[-2:] == [b"IDAT", b"IEND"]
