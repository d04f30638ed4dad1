"""Detection: boxes around the objects of a picture, with non-maximum suppression in the network or after it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..ops.boxes import areas, intersections
from ..ops.nms import matrix_nms_numpy
from ..viz.draw import boxed
from . import SERVED, ServedForm, check_labels

# Objects that score less are not shown, unless a config or an exported model says otherwise.
SCORE_THRESHOLD = 0.3
# Objects of two tiles that share more of the smaller one are one object.
SAME_OBJECT = 0.5


@SERVED.register
class Detection(ServedForm):
    """From ``[N, K, 6]`` (class, score, left, top, right, bottom; class -1: none), the best first, to "objects".

    Each has its "label", its index "class_id", its "score" (0..1) and its "box", left, top, right, bottom, in pixels.
    """

    name = "detection"
    in_picture = True
    output_shape: Optional[Tuple[Optional[int], ...]] = (None, 6)
    without_onnx: Optional[str] = (
        "Paddle2ONNX can't convert matrix NMS: with nms=False (in a config, export.nms: false) it is left to infer"
    )
    score_threshold: float = SCORE_THRESHOLD

    def detections(self, outputs: np.ndarray) -> np.ndarray:
        """``[N, K, 6]``."""
        return outputs

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        pictures = self.detections(outputs)
        check_labels(1 + int(pictures[..., 0].max(initial=-1)), labels)
        return [
            {
                "objects": [
                    {
                        "label": labels[int(category)],
                        "class_id": int(category),
                        "score": round(float(score), 6),
                        "box": [round(float(edge), 2) for edge in box],
                    }
                    for category, score, *box in picture[picture[:, 1] >= self.score_threshold]
                    if category >= 0
                ]
            }
            for picture in pictures
        ]

    def to_image(self, result: Dict[str, Any], preprocess: Any, size: Sequence[int]) -> Dict[str, Any]:
        objects = result["objects"]
        boxes = preprocess.boxes_to_image(np.array([found["box"] for found in objects]).reshape(-1, 4), size)
        return {
            **result,
            "height": int(size[0]),
            "width": int(size[1]),
            "objects": [
                {**found, "box": [round(float(edge), 2) for edge in box]} for found, box in zip(objects, boxes)
            ],
        }

    def joined(
        self, results: List[Dict[str, Any]], tiles: Sequence[Tuple[Sequence[float], ...]], size: Sequence[int]
    ) -> Dict[str, Any]:
        """Of objects of one class and two tiles that share more than half of the smaller one, the one that scores more.

        As Akyon et al. 2022, arXiv:2202.06934: of an object, a tile may see a part.
        """
        objects: List[Tuple[int, Dict[str, Any]]] = []
        for number, (result, ((left, top, *_), own)) in enumerate(zip(results, tiles)):
            for found in result["objects"]:
                box = np.round(found["box"] + np.array([left, top, left, top]), 2)
                middle = (box[:2] + box[2:]) / 2
                if (own[:2] <= middle).all() and (middle <= own[2:]).all():
                    objects.append((number, {**found, "box": box.tolist()}))
        objects.sort(key=lambda one: -one[1]["score"])
        boxes = np.array([found["box"] for _, found in objects]).reshape(-1, 4)
        numbers = np.array([number for number, _ in objects])
        classes = np.array([found["class_id"] for _, found in objects])
        kept = np.zeros(len(objects), bool)
        for n, box in enumerate(boxes):
            others = boxes[kept & (classes == classes[n]) & (numbers != numbers[n])]
            shared = intersections(others, box[None])[:, 0]
            kept[n] = not (shared > SAME_OBJECT * np.minimum(areas(others), areas(box))).any()
        return {"height": int(size[0]), "width": int(size[1]), "objects": [objects[n][1] for n in np.flatnonzero(kept)]}

    def reduced(self, result: Dict[str, Any], factor: int) -> Dict[str, Any]:
        objects = [{**found, "box": [edge / factor for edge in found["box"]]} for found in result["objects"]]
        return {**result, "objects": objects}

    def draw(self, pixels: np.ndarray, output: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
        return boxed(pixels, result["objects"], side=256)


@SERVED.register
class DetectionWithoutNMS(Detection):
    """The same from ``[N, P, 4 + classes]``: left, top, right, bottom, and a score for each class.

    Paddle's operator for matrix NMS is run on them, so that serving needs Paddle whatever the engine.
    """

    name = "detection_without_nms"
    output_shape = (None, None)
    without_onnx = None

    def detections(self, outputs: np.ndarray) -> np.ndarray:
        return matrix_nms_numpy(outputs)
