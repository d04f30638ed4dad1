"""Fields of digits: real handwritten digits scattered over a canvas, written as a COCO data set.

Liu et al. 2018 (arXiv:1807.03247), section 5, scatter five MNIST digits over a canvas of 64x64.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
from PIL import Image

from ..ops.boxes import ious
from ..ops.masks import run_lengths
from ..utils.errors import UserError
from ..utils.files import write_text
from ..utils.progress import bar
from . import ClassificationData, LabelledImages

# A digit is drawn so large, in pixels of its longer side.
SIDES = (14, 22)
# How much two boxes may overlap.
MAX_IOU = 0.1
# A canvas may have no place left for one more; then it has fewer.
TRIES = 50
# What counts as ink, of 0..255.
INK = 64


def write_fields(
    folder: Path,
    digits: ClassificationData,
    counts: Tuple[int, int] = (9000, 1000),
    canvas: int = 64,
    number: int = 5,
    by_position: bool = False,
    masks: bool = False,
    copies: bool = False,
    seed: int = 0,
) -> None:
    """Writes ``train.json``, ``test.json`` and the pictures beside them, in ``train/`` and ``test/``.

    Parameters:
        digits: what is scattered; test pictures show test digits only.
        counts: of training and of test pictures.
        canvas: their side, in pixels.
        number: of digits on each.
        by_position: the class of a digit is not what it is but the half of the canvas that its middle lies in, "left"
            or "right", and all lie far from the edges: of one digit alone, a convolution can't tell the half.
        masks: each digit's ink is there, too, as run lengths in ``segmentation``.
        copies: all digits of a picture are the same one in the same size, which differ in their place alone; the one
            class there is then is "digit".

    Raises:
        UserError: the folder is there and not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"the folder {folder} is not empty; choose another")
    labels = ["digit"] if copies else ["left", "right"] if by_position else digits.labels
    rng = np.random.default_rng(seed)
    for split, count, samples in (("train", counts[0], digits.train), ("test", counts[1], digits.test)):
        inks = [_ink(image) for image in samples.images if isinstance(image, np.ndarray)]
        (folder / split).mkdir(parents=True)
        images: List[Dict[str, Any]] = []
        annotations: List[Dict[str, Any]] = []
        with bar(count, unit="picture") as progress:
            for key in range(1, count + 1):
                margin = 3 * canvas // 8 if by_position else 0
                pixels, boxes, shown, drawn = _field(rng, inks, canvas, number, margin, copies)
                name = f"{key:05}.png"
                Image.fromarray(pixels).save(folder / split / name)
                images.append({"id": key, "file_name": name, "width": canvas, "height": canvas})
                for (left, top, right, bottom), sample, digit in zip(boxes.tolist(), shown, drawn):
                    half, kind = int(left + right >= canvas), int(samples.classes[sample])
                    category = 0 if copies else half if by_position else kind
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": key,
                            "category_id": category + 1,
                            "bbox": [left, top, right - left, bottom - top],
                            "area": (right - left) * (bottom - top),
                            "iscrowd": 0,
                        }
                    )
                    if masks:
                        inside = np.zeros([canvas, canvas], bool)
                        inside[top:bottom, left:right] = digit >= INK
                        annotations[-1].update(segmentation=run_lengths(inside), area=int(inside.sum()))
                progress.update()
        categories = [{"id": index + 1, "name": label} for index, label in enumerate(labels)]
        tree = {"images": images, "annotations": annotations, "categories": categories}
        write_text(folder / f"{split}.json", json.dumps(tree))


def _field(
    rng: np.random.Generator, inks: List[Image.Image], canvas: int, number: int, margin: int, copies: bool
) -> Tuple[np.ndarray, np.ndarray, List[int], List[np.ndarray]]:
    """Pixels ``[canvas, canvas, 3]``, boxes ``[n, 4]`` around the ink, which digit is in each, and its grey there."""
    pixels = np.zeros([canvas, canvas], np.uint8)
    boxes = np.zeros([0, 4], int)
    shown: List[int] = []
    drawn: List[np.ndarray] = []
    for _ in range(TRIES):
        if len(shown) == number:
            break
        if not (copies and shown):
            sample = int(rng.integers(len(inks)))
            factor = int(rng.integers(*SIDES, endpoint=True)) / max(inks[sample].size)
        width, height = (max(1, round(n * factor)) for n in inks[sample].size)
        # With a margin, middles keep away from the left and right edges.
        left = int(rng.integers(max(0, margin - width // 2), min(canvas - width, canvas - margin - width // 2) + 1))
        top = int(rng.integers(0, canvas - height + 1))
        box = np.array([[left, top, left + width, top + height]])
        if ious(box, boxes).max(initial=0) > MAX_IOU:
            continue
        digit = np.asarray(inks[sample].resize((width, height), Image.Resampling.BILINEAR))
        place = pixels[top : top + height, left : left + width]
        np.maximum(place, digit, out=place)
        boxes = np.concatenate([boxes, box])
        shown.append(sample)
        drawn.append(digit)
    return pixels[:, :, None].repeat(3, axis=2), boxes, shown, drawn


def _ink(image: np.ndarray) -> Image.Image:
    """The part of a grey digit that has ink."""
    grey = image[:, :, 0]
    rows, columns = (np.nonzero((grey >= INK).any(axis=axis))[0] for axis in (1, 0))
    return Image.fromarray(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def mnist(folder: Path) -> ClassificationData:
    """MNIST from its four files, ``train-images-idx3-ubyte`` and so on, packed (``.gz``) or not.

    Raises:
        UserError: one is missing, or is no such file.
    """
    train, test = (
        LabelledImages(
            [image[:, :, None].repeat(3, axis=2) for image in _read_idx(folder, f"{name}-images-idx3-ubyte", 3)],
            _read_idx(folder, f"{name}-labels-idx1-ubyte", 1).astype(np.int64),
        )
        for name in ("train", "t10k")
    )
    return ClassificationData(train, test, [str(n) for n in range(10)])


def _read_idx(folder: Path, name: str, rank: int) -> np.ndarray:
    """The format of yann.lecun.com/exdb/mnist: a magic number, the lengths of the axes, the bytes."""
    openers: Dict[str, Callable[..., Any]] = {name: open, f"{name}.gz": gzip.open}
    found: Optional[Path] = next((folder / file for file in openers if (folder / file).exists()), None)
    if found is None:
        raise UserError(f"there is no file {folder / name}, nor {name}.gz")
    try:
        with openers[found.name](found, "rb") as file:
            data = file.read()
    except (OSError, EOFError) as error:
        raise UserError(f"{found} can't be read: {error}") from error
    head = np.frombuffer(data[: 4 * (rank + 1)], ">i4")
    if len(head) != rank + 1 or head[0] != 0x0800 + rank or np.prod(head[1:]) != len(data) - 4 * (rank + 1):
        raise UserError(f"{found} is not a valid MNIST file")
    return np.frombuffer(data, np.uint8, offset=4 * (rank + 1)).reshape(head[1:])
