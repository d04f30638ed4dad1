"""From a picture file to pixels, and from pixels to a network's input.

To be served, a large JPEG is decoded at a reduced size, which gives nearly the same input as in full.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Dict, Iterator, List, Optional, Tuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..utils.arguments import check_number, is_size
from ..utils.errors import ArgumentError, UnreadableImageError, UserError
from ..utils.files import open_regular
from .inputs import Input, Prepared, unreadable
from .listing import list_images

# In pixels, of a network's input; larger pictures go in tiles.
MAX_PIXELS = 2**24
# Pillow's names. In others, as .ico, the size that is read first is not that of the picture in it.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM")
# EXIF's orientations with which a camera was held sideways.
SIDEWAYS = (5, 6, 7, 8)


class ImageTooLargeError(UserError):
    """A picture has more pixels than may be decoded."""


def read_image(path: Path, oriented: bool = True) -> np.ndarray:
    """The pixels of a picture file.

    Any mode becomes RGB: 16-bit samples are scaled to 8 bits, transparency is laid on white, the orientation that a
    camera noted is applied.

    Parameters:
        oriented: False: the pixels are taken as they are stored, whatever the camera noted.

    Returns:
        uint8 ``[H, W, 3]``.

    Raises:
        UserError: there is no such file, or it is not a picture, or damaged.
    """
    with open_regular(path) as file:
        return np.asarray(decode_image(file, str(path), oriented=oriented)[0])


def decode_image(
    file: BinaryIO,
    name: str,
    max_megapixels: float = math.inf,
    needed: Optional[Tuple[int, int]] = None,
    oriented: bool = True,
) -> Tuple[Image.Image, Tuple[int, int]]:
    """``read_image`` of an open file, which errors call by ``name``.

    Parameters:
        needed: the height and width that are enough; a JPEG is decoded at a half, a quarter or an eighth of its size
            where that is still twice as large, which takes a part of the time and memory.

    Returns:
        The picture, RGB, and its height and width in full.

    Raises:
        ImageTooLargeError: it has more than ``max_megapixels`` million pixels; they are not decoded.
        UserError: as ``read_image``.
    """
    with opened(file, name) as image:
        width, height = image.size
        if width * height > 1e6 * max_megapixels:
            size = f"{width}x{height}"
            raise ImageTooLargeError(f"{name} has {size} pixels; at most {max_megapixels} million are taken")
        if needed:
            image.draft(None, (2 * max(needed), 2 * max(needed)))
        if oriented:
            if image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS:
                width, height = height, width
            ImageOps.exif_transpose(image, in_place=True)
        return to_rgb(image), (height, width)


def read_size(path: Path, oriented: bool = True) -> Tuple[int, int]:
    """The height and width of what ``read_image`` gives of a file, of which no more than the head is read.

    Raises:
        UserError: there is no such file, or it is not a picture.
    """
    with open_regular(path) as file, opened(file, str(path)) as image:
        width, height = image.size
        if not oriented:
            return height, width
        # Not image.getexif(), which decodes a whole PNG to find what may stand at its end.
        is_turned = Image.Image.getexif(image).get(ExifTags.Base.Orientation) in SIDEWAYS
        return (width, height) if is_turned else (height, width)


@contextlib.contextmanager
def opened(file: BinaryIO, name: str) -> Iterator[Image.Image]:
    try:
        with Image.open(file, formats=FORMATS) as image:
            yield image
    except ImageTooLargeError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"{name} is too large: {error}") from error
    except UnidentifiedImageError:  # its message names the open file, not the path
        raise UnreadableImageError(f"{name} is not a readable picture: its format is not known") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise UnreadableImageError(f"{name} is not a readable picture: {error}") from error


# Of a picture with 16 bits a sample, so many rows are converted at a time: as float32 it takes twice its memory.
_ROWS = 64


def to_rgb(image: Image.Image) -> Image.Image:
    """With little memory beside the picture and the result."""
    if image.mode.startswith("I"):
        # 16-bit grey, for which Pillow's own conversion clips everything above 255.
        grey = np.empty(image.size[::-1], np.uint8)
        for top in range(0, image.height, _ROWS):
            rows = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
            grey[top : top + _ROWS] = (np.asarray(rows).clip(0, 65535).astype(np.float32) / 257).round()
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "F":
        raise ValueError("its samples are floating-point numbers of no known range; save it with 8 or 16 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
        on_white = Image.new("L" if image.mode == "LA" else "RGB", image.size, "white")
        on_white.paste(image, mask=image.getchannel("A"))
        return on_white.convert("RGB") if on_white.mode == "L" else on_white
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


@dataclass(frozen=True)
class Preprocess:
    """Pixels to a network's input: resized, scaled to 0..1, normalised, channels first.

    Parameters:
        image_size: height and width, in pixels.
        mean, std: of the red, green and blue samples, on the scale 0..1; with one number each, of the grey ones.
    """

    kind: ClassVar[str] = "image"
    image_size: Tuple[int, int]
    mean: Tuple[float, ...] = (0.5, 0.5, 0.5)
    std: Tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if not is_size(self.image_size) or math.prod(self.image_size) > MAX_PIXELS:
            takes = f"takes a height and a width, of at most {MAX_PIXELS} pixels"
            raise ArgumentError("image_size", f"{takes}, got {self.image_size!r}")
        for name, lowest in (("mean", 0.0), ("std", 1e-6)):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) not in (1, 3) or len(value) != len(self.mean):
                raise ArgumentError(name, f"takes three numbers, or one for grey pictures, got {value!r}")
            for number in value:
                check_number(name, number, lowest, 1000)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 ``[H, W, 3]`` -> float32 ``[3 or 1, *image_size]``."""
        return self.of_image(Image.fromarray(pixels))

    def of_image(self, image: Image.Image) -> np.ndarray:
        """An RGB picture -> float32 ``[3 or 1, *image_size]``."""
        height, width = self.image_size
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        if len(self.mean) == 1:
            image = image.convert("L")
        x = np.asarray(image).reshape(height, width, -1).astype(np.float32) / 255
        x = (x - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(x.transpose(2, 0, 1))

    def decode(self, file: BinaryIO, name: str, max_megapixels: float = math.inf) -> Prepared:
        """A picture file, open, prepared, and its height and width; raises what ``decode_image`` raises."""
        image, size = decode_image(file, name, max_megapixels, self.image_size)
        return self.of_image(image), size

    @property
    def input_shape(self) -> List[int]:
        return [len(self.mean), *self.image_size]

    def inputs(self, path: Path, recursive: bool = False) -> List[Input]:
        """A picture file, or those in a folder, and with ``recursive`` in the folders in it."""
        try:
            paths = list_images(path, recursive)
        except UserError as error:
            hint = "" if recursive else "; with recursive, those in its folders count, too"
            return [unreadable(path, UserError(f"{error}{hint}"))]
        return [Input(str(p), p, p.stem, partial(self._prepare, p), partial(read_image, p)) for p in paths]

    def _prepare(self, path: Path) -> Prepared:
        with open_regular(path) as file:
            return self.decode(file, str(path))

    @staticmethod
    def from_value(value: Any) -> np.ndarray:
        """Pixels from nested lists ``[H][W][3]`` of whole numbers 0 to 255.

        Raises:
            UserError: it is something else.
        """
        wanted = "a picture is a list of rows, a row of pixels, a pixel of three whole numbers 0 to 255"
        # Not by numpy, which makes one text of a million letters into a million such for its neighbours.
        shape, items = [], [value]
        for _ in range(3):
            if set(map(type, items)) != {list}:
                raise UserError(f"{wanted}; got other values")
            lengths = set(map(len, items))
            if len(lengths) > 1:
                raise UserError(f"{wanted}; the lists have different lengths")
            shape.append(lengths.pop())
            items = list(itertools.chain.from_iterable(items))
        if shape[2] != 3:
            raise UserError(f"{wanted}; got lists of lengths {shape}")
        if set(map(type, items)) != {int} or min(items) < 0 or max(items) > 255:
            raise UserError(f"{wanted}; got other values")
        return np.array(items, np.uint8).reshape(shape)

    def to_dict(self) -> Dict[str, Any]:
        return {"kind": self.kind, **{key: list(value) for key, value in asdict(self).items()}}


def check_normalisation(mean: Any, std: Any) -> None:
    """That both are three numbers, as RGB pictures need them; ``Preprocess`` checks these."""
    for name, value in (("mean", mean), ("std", std)):
        if not isinstance(value, (list, tuple)) or len(value) != 3:
            raise ArgumentError(name, f"takes three numbers, of red, green and blue, got {value!r}")


def shifted(x: np.ndarray, down: int, right: int) -> np.ndarray:
    """``[C, H, W]`` moved by whole pixels; what comes in at an edge repeats that edge."""
    margin = max(abs(down), abs(right))
    padded = np.pad(x, [(0, 0), (margin, margin), (margin, margin)], mode="edge")
    _, height, width = x.shape
    return padded[:, margin - down : margin - down + height, margin - right : margin - right + width]
