"""Segmentation: a mask of classes for a picture."""

from __future__ import annotations

import base64
import io
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from ..viz.draw import indexed, masked
from . import SERVED, ServedForm, check_labels


@SERVED.register
class Segmentation(ServedForm):
    """From logits ``[N, classes, H, W]`` to a "mask", uint8 ``[H, W]``, of each pixel the index of its class, one of
    "labels".

    As plain values, that is a PNG with a palette, and "classes" has a "label", the "class_id" and the "share" (0..1) of
    each class that has pixels.
    """

    name = "segmentation"
    in_picture = True
    output_shape = (None, None, None)

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        check_labels(outputs.shape[1], labels)
        return [{"labels": labels, "mask": mask} for mask in outputs.argmax(axis=1).astype(np.uint8)]

    def to_image(self, result: Dict[str, Any], preprocess: Any, size: Sequence[int]) -> Dict[str, Any]:
        mask = preprocess.mask_to_image(result["mask"], size)
        return {**result, "height": int(size[0]), "width": int(size[1]), "mask": mask}

    @classmethod
    def saves_pictures(cls) -> bool:
        return True

    def joined(
        self, results: List[Dict[str, Any]], tiles: Sequence[Tuple[Sequence[float], ...]], size: Sequence[int]
    ) -> Dict[str, Any]:
        """Of each tile the part of its own."""
        height, width = size
        mask = np.zeros([height, width], np.uint8)
        for result, (box, own) in zip(results, tiles):
            left, top, right, bottom = (int(np.clip(np.round(n), 0, side)) for n, side in zip(own, (width, height) * 2))
            x, y = int(box[0]), int(box[1])
            mask[top:bottom, left:right] = result["mask"][top - y : bottom - y, left - x : right - x]
        return {**results[0], "height": int(height), "width": int(width), "mask": mask}

    def reduced(self, result: Dict[str, Any], factor: int) -> Dict[str, Any]:
        height, width = (-(-result[side] // factor) for side in ("height", "width"))
        mask = Image.fromarray(result["mask"]).resize((width, height), Image.Resampling.NEAREST)
        return {**result, "mask": np.asarray(mask)}

    def draw(self, pixels: np.ndarray, output: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
        return masked(pixels, result["mask"], result["labels"], side=256)

    def as_plain(self, result: Dict[str, Any], save: Optional[Callable[[bytes], str]] = None) -> Dict[str, Any]:
        mask = result["mask"]
        file, image = io.BytesIO(), indexed(mask)
        image.save(file, format="PNG", optimize=True)
        png = file.getvalue()
        classes = [
            {"label": label, "class_id": number, "share": round(count / mask.size, 6)}
            for number, (label, count) in enumerate(zip(result["labels"], image.histogram()))
            if count
        ]
        place = save(png) if save else "data:image/png;base64," + base64.b64encode(png).decode()
        plain = {**result, "mask": place, "classes": classes}
        del plain["labels"]
        return plain
