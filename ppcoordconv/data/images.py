"""The one way from a picture file to pixels, and from pixels to a network's input."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar, Dict, List, Tuple, Union

import numpy as np
from PIL import Image, ImageOps

from ..utils.errors import UserError
from .inputs import Input, unreadable

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class ImageTooLargeError(UserError):
    """A picture has more pixels than may be decoded."""


def read_image(path: Path) -> np.ndarray:
    """The pixels of a picture file.

    Any mode becomes RGB: 16-bit samples are scaled to 8 bits, transparency is laid on white, the orientation that a
    camera noted is applied.

    Returns:
        uint8 ``[H, W, 3]``.

    Raises:
        UserError: there is no such file, or it is not a picture, or damaged.
    """
    return decode_image(path, str(path))


def decode_image(file: Union[Path, IO[bytes]], name: str, max_megapixels: float = math.inf) -> np.ndarray:
    """``read_image`` of a file or an open one, which errors call by ``name``.

    Raises:
        ImageTooLargeError: it has more than ``max_megapixels`` million pixels; they are not decoded.
        UserError: as ``read_image``.
    """
    try:
        with Image.open(file) as image:
            if image.width * image.height > 1e6 * max_megapixels:
                size = f"{image.width}x{image.height}"
                raise ImageTooLargeError(f"{name} has {size} pixels; at most {max_megapixels} million are taken")
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except FileNotFoundError:
        raise UserError(f"there is no file {name}") from None
    except ImageTooLargeError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them stumble over
        raise UserError(f"{name} is not a readable picture: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # 16-bit grey, for which Pillow's own conversion clips everything above 255.
        samples = np.asarray(image).astype(np.int64)
        return Image.fromarray((samples.clip(0, 65535) / 257).round().astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its samples are floating-point numbers of no known range; save it with 8 or 16 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def list_images(path: Path) -> List[Path]:
    """A picture file itself, or the picture files in a folder, sorted.

    Raises:
        UserError: the folder holds none.
    """
    if not path.is_dir():
        return [path]
    images = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS)
    if not images:
        raise UserError(f"there is no picture in the folder {path}; it takes {', '.join(ENDINGS)}")
    return images


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

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 ``[H, W, 3]`` -> float32 ``[3 or 1, *image_size]``."""
        height, width = self.image_size
        if pixels.shape[:2] != (height, width):
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        if len(self.mean) == 1:
            pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
        x = pixels.astype(np.float32) / 255
        x = (x - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(x.transpose(2, 0, 1))

    @property
    def input_shape(self) -> List[int]:
        return [len(self.mean), *self.image_size]

    def inputs(self, path: Path) -> List[Input]:
        """A picture file, or those in a folder."""
        try:
            paths = list_images(path)
        except UserError as error:
            return [unreadable(path, error)]
        return [Input(str(path), path, path.stem, partial(read_image, path)) for path in paths]

    @staticmethod
    def from_value(value: Any) -> np.ndarray:
        """Pixels from nested lists ``[H][W][3]`` of whole numbers 0 to 255.

        Raises:
            UserError: it is something else.
        """
        wanted = "a picture is a list of rows, a row of pixels, a pixel of three whole numbers 0 to 255"
        try:
            pixels = np.array(value)
        except ValueError:
            raise UserError(f"{wanted}; the lists have different lengths") from None
        if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise UserError(f"{wanted}; got lists of lengths {list(pixels.shape)}")
        if pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
            raise UserError(f"{wanted}; got other values")
        return pixels.astype(np.uint8)

    def to_dict(self) -> Dict[str, Any]:
        return {"kind": self.kind, **{key: list(value) for key, value in asdict(self).items()}}


def shifted(x: np.ndarray, down: int, right: int) -> np.ndarray:
    """``[C, H, W]`` moved by whole pixels; what comes in at an edge repeats that edge."""
    margin = max(abs(down), abs(right))
    padded = np.pad(x, [(0, 0), (margin, margin), (margin, margin)], mode="edge")
    _, height, width = x.shape
    return padded[:, margin - down : margin - down + height, margin - right : margin - right + width]
