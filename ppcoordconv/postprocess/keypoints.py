"""Keypoints: where the points of an object are."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import numpy as np

from ..viz.draw import pointed
from . import SERVED, ServedForm, check_labels


@SERVED.register
class KeypointsForm(ServedForm):
    """From ``[N, K, 3]`` (x, y, score) to "points".

    Each has its "label", its "x" and "y", in pixels from the left and upper edge, and its "score", 0..1.
    """

    name = "keypoints"
    in_picture = True
    output_shape = (None, 3)

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        check_labels(outputs.shape[1], labels)
        return [
            {
                "points": [
                    {"label": label, "x": round(float(x), 2), "y": round(float(y), 2), "score": round(float(score), 6)}
                    for label, (x, y, score) in zip(labels, points)
                ]
            }
            for points in outputs
        ]

    def to_image(self, result: Dict[str, Any], preprocess: Any, size: Sequence[int]) -> Dict[str, Any]:
        scale = preprocess.scale(size)
        points = [{**point, **{axis: round(point[axis] / scale, 2) for axis in "xy"}} for point in result["points"]]
        return {**result, "height": int(size[0]), "width": int(size[1]), "points": points}

    def draw(self, pixels: np.ndarray, output: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
        return pointed(pixels, [(point["x"], point["y"]) for point in result["points"]], self.edges, side=256)
