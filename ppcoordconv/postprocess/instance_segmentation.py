"""Instance segmentation: the objects of a picture, each with its mask."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from ..ops.masks import box_around, run_lengths
from ..ops.solo import find_instances
from ..utils.errors import UserError
from ..viz.draw import instances
from . import SERVED, ServedForm
from .detection import SCORE_THRESHOLD


@SERVED.register
class InstanceSegmentation(ServedForm):
    """From ``[N, classes + 2 * E, h, w]``, as ``PackedInstances`` gives them, to "objects", the best first.

    Each has its "label", its index "class_id", its "score" (0..1), and its "mask": a probability for each place of the
    features, float32 ``[h, w]``; of a picture, whether each pixel is the object's, bool ``[H, W]``, and the "box"
    around them, left, top, right, bottom, in pixels. As plain values, a mask is COCO's run lengths, "segmentation".
    """

    name = "instance_segmentation"
    in_picture = True
    output_shape = (None, None, None)
    score_threshold: float = SCORE_THRESHOLD

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        maps, count = outputs.shape[1], len(labels)
        if maps < count + 2 or (maps - count) % 2:
            raise UserError(f"the model gives {maps} maps, and inference.yml has {count} labels; export it again")
        return [
            {
                "objects": [
                    {
                        "label": labels[category],
                        "class_id": int(category),
                        "score": round(float(score), 6),
                        "mask": mask,
                    }
                    for category, score, mask in zip(*find_instances(packed, count))
                    if score >= self.score_threshold
                ]
            }
            for packed in outputs
        ]

    def to_image(self, result: Dict[str, Any], preprocess: Any, size: Sequence[int]) -> Dict[str, Any]:
        objects = []
        for found in result["objects"]:
            mask = in_picture(found["mask"], preprocess, size)
            if mask.any():
                objects.append({**found, "box": [float(edge) for edge in box_around(mask)], "mask": mask})
        return {**result, "height": int(size[0]), "width": int(size[1]), "objects": objects}

    def draw(self, pixels: np.ndarray, output: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
        return instances(pixels, result["objects"], side=256)

    def as_plain(self, result: Dict[str, Any], save: Optional[Callable[[bytes], str]] = None) -> Dict[str, Any]:
        objects = []
        for found in result["objects"]:
            plain = {**found, "segmentation": run_lengths(found["mask"])}
            del plain["mask"]
            objects.append(plain)
        return {**result, "objects": objects}


def in_picture(mask: np.ndarray, preprocess: Any, size: Sequence[int]) -> np.ndarray:
    """Probabilities ``[h, w]`` of an input as a mask of the picture of that height and width: bool ``[H, W]``."""
    # The picture's part of the input, in places of the features.
    scale = preprocess.scale(size[:2]) * mask.shape[0] / preprocess.image_size[0]
    height, width = (min(scale * side, length) for side, length in zip(size, mask.shape))
    return _enlarged(mask, size, (0, 0, width, height))


def in_input(masks: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Probabilities ``[n, h, w]`` as masks of an input of that height and width: bool ``[n, H, W]``."""
    height, width = masks.shape[1:]
    enlarged = [_enlarged(mask, size, (0, 0, width, height)) for mask in masks]
    return np.array(enlarged).reshape(-1, *size)


def _enlarged(mask: np.ndarray, size: Sequence[int], part: Tuple[float, float, float, float]) -> np.ndarray:
    image = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.BILINEAR, part)
    return np.asarray(image) > 0.5
