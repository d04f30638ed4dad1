"""Average precision as COCO defines it, by pycocotools, and how well boxes fit."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import numpy as np

from ..ops.boxes import areas, ious
from ..postprocess.detection import SCORE_THRESHOLD
from . import Metric

# The rows of COCO's table: precision or recall, over which IoUs, of objects of which size, with how many detections.
ROWS = {
    "ap": ("Precision", "0.50:0.95", "all", 100),
    "ap50": ("Precision", "0.50", "all", 100),
    "ap75": ("Precision", "0.75", "all", 100),
    "ap_small": ("Precision", "0.50:0.95", "small", 100),
    "ap_medium": ("Precision", "0.50:0.95", "medium", 100),
    "ap_large": ("Precision", "0.50:0.95", "large", 100),
    "ar1": ("Recall", "0.50:0.95", "all", 1),
    "ar10": ("Recall", "0.50:0.95", "all", 10),
    "ar100": ("Recall", "0.50:0.95", "all", 100),
    "ar_small": ("Recall", "0.50:0.95", "small", 100),
    "ar_medium": ("Recall", "0.50:0.95", "medium", 100),
    "ar_large": ("Recall", "0.50:0.95", "large", 100),
}


class AveragePrecision(Metric):
    """How good detections are, as COCO measures it, but that an object's size is its box's area.

    ``compute`` gives "ap", the mean over the classes and over the IoUs 0.5, 0.55, ..., 0.95 of the average precision;
    "ap50", "ap75"; "ap_small", "ap_medium", "ap_large", where there are such objects; "ar1", "ar10", "ar100", the same
    mean of the recall with so many detections a picture, and "ar_small", ...; all 0..1. "mean_iou": of each object with
    the best of the detections of its class that score at least 0.3, 0 where there is none; crowds are left out.

    Parameters:
        labels: of the classes.
        detections: from outputs to ``[N, K, 6]``: class (-1: none), score, left, top, right, bottom. Detections and
            objects are all that is kept of a batch.
    """

    def __init__(self, labels: List[str], detections: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self._labels = labels
        self._detections = detections

    def reduce(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> List[_Picture]:
        """The pictures of a batch.

        Parameters:
            targets: boxes ``[N, M, 4]`` in pixels of the network's input, classes ``[N, M]`` (-1: none), crowds, bool
                ``[N, M]``, and by what each picture was scaled, ``[N]``: the sizes small (under 32x32 pixels), medium
                (under 96x96) and large are those of the picture itself.
        """
        return [
            _Picture(rows[rows[:, 0] >= 0], boxes[classes >= 0], classes[classes >= 0], crowd[classes >= 0], scale)
            for rows, boxes, classes, crowd, scale in zip(self._detections(outputs), *targets)
        ]

    def compute(self) -> Dict[str, float]:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        pictures = [picture for batch in self._batches for picture in batch]
        annotations = [
            {
                "image_id": number,
                "category_id": int(category),
                "bbox": _as_coco(box),
                "area": float(areas(box)),
                "iscrowd": int(is_crowd),
            }
            for number, picture in enumerate(pictures)
            for box, category, is_crowd in zip(picture.boxes / picture.scale, picture.classes, picture.crowd)
        ]
        results = [
            {"image_id": number, "category_id": int(category), "bbox": _as_coco(box), "score": float(score)}
            for number, picture in enumerate(pictures)
            for box, (category, score) in zip(picture.detections[:, 2:] / picture.scale, picture.detections[:, :2])
        ]
        nothing = {name: 0.0 for name, (_, _, area, _) in ROWS.items() if area == "all"}
        if not annotations:
            return {**nothing, "mean_iou": 0.0}
        with contextlib.redirect_stdout(io.StringIO()):
            coco, detected = COCO(), COCO()
            coco.dataset = {
                "info": {},
                "images": [{"id": number} for number in range(len(pictures))],
                "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
                "categories": [{"id": number, "name": name} for number, name in enumerate(self._labels)],
            }
            coco.createIndex()
            if results:  # pycocotools can't load none
                detected = coco.loadRes(results)
            evaluation = COCOeval(coco, detected, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        stats = {name: float(value) for name, value in zip(ROWS, evaluation.stats) if value >= 0}
        best = [iou for picture in pictures for iou in _best_ious(picture)]
        return {**nothing, **stats, "mean_iou": float(np.mean(best)) if best else 0.0}

    def table(self, metrics: Dict[str, float]) -> str:
        """In the lines of COCO's own tools; -1 where there are no such objects."""
        return "\n".join(
            f" {f'Average {what}':<18} ({'AP' if what == 'Precision' else 'AR'}) "
            f"@[ IoU={ious:<9} | area={area:>6} | maxDets={most:>3} ] = {metrics.get(name, -1):.3f}"
            for name, (what, ious, area, most) in ROWS.items()
        )


class _Picture(NamedTuple):
    """What is on a picture, and what was found there, in pixels of the network's input."""

    detections: np.ndarray  # [k, 6]
    boxes: np.ndarray  # [m, 4]
    classes: np.ndarray  # [m]
    crowd: np.ndarray  # [m]
    scale: np.float32


def _best_ious(picture: _Picture) -> List[float]:
    rows = picture.detections[picture.detections[:, 1] >= SCORE_THRESHOLD]
    return [
        float(ious(box[None], rows[rows[:, 0] == category, 2:]).max(initial=0))
        for box, category in zip(picture.boxes[~picture.crowd], picture.classes[~picture.crowd])
    ]


def _as_coco(box: Any) -> List[float]:
    left, top, right, bottom = (float(n) for n in box)
    return [left, top, right - left, bottom - top]
