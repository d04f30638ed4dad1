"""Average precision as COCO defines it, by pycocotools, and how well boxes fit."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Dict, List, Sequence

import numpy as np

from ..ops.boxes import areas, ious
from ..postprocess.decoding import SCORE_THRESHOLD

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


def average_precision(detections: np.ndarray, truth: Sequence[np.ndarray], labels: List[str]) -> Dict[str, float]:
    """How good detections are; everything in pixels of the network's input.

    Parameters:
        detections: ``[N, K, 6]``: class (-1: none), score, left, top, right, bottom.
        truth: what is there: boxes ``[N, M, 4]``, classes ``[N, M]`` (-1: none), crowds, bool ``[N, M]``, and by what
            each picture was scaled, ``[N]``: the sizes small (under 32x32 pixels), medium (under 96x96) and large are
            those of the picture itself.

    Returns:
        "ap", the mean over the classes and over the IoUs 0.5, 0.55, ..., 0.95 of the average precision; "ap50", "ap75";
        "ap_small", "ap_medium", "ap_large", where there are such objects; "ar1", "ar10", "ar100", the same mean of the
        recall with so many detections a picture, and "ar_small", ...; all 0..1. "mean_iou": of each object with the
        best of the detections of its class that score at least 0.3, 0 where there is none.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    boxes, classes, crowd, scales = truth
    there, found = (corners / scales[:, None, None] for corners in (boxes, detections[:, :, 2:]))
    annotations = [
        {
            "image_id": int(picture),
            "category_id": int(classes[picture, place]),
            "bbox": _as_coco(there[picture, place]),
            "area": float(areas(there[picture, place])),
            "iscrowd": int(crowd[picture, place]),
        }
        for picture, place in np.argwhere(classes >= 0)
    ]
    results = [
        {
            "image_id": int(picture),
            "category_id": int(detections[picture, place, 0]),
            "bbox": _as_coco(found[picture, place]),
            "score": float(detections[picture, place, 1]),
        }
        for picture, place in np.argwhere(detections[:, :, 0] >= 0)
    ]
    nothing = {name: 0.0 for name, (_, _, area, _) in ROWS.items() if area == "all"}
    if not results or not annotations:
        return {**nothing, "mean_iou": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": picture} for picture in range(len(boxes))],
            "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
            "categories": [{"id": number, "name": name} for number, name in enumerate(labels)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = {name: float(value) for name, value in zip(ROWS, evaluation.stats) if value >= 0}
    return {**nothing, **stats, "mean_iou": _mean_iou(detections, boxes, classes, crowd)}


def coco_table(metrics: Dict[str, float]) -> str:
    """What ``average_precision`` found, in the lines of COCO's own tools; -1 where there are no such objects."""
    return "\n".join(
        f" {f'Average {what}':<18} ({'AP' if what == 'Precision' else 'AR'}) "
        f"@[ IoU={ious:<9} | area={area:>6} | maxDets={most:>3} ] = {metrics.get(name, -1):.3f}"
        for name, (what, ious, area, most) in ROWS.items()
    )


def _mean_iou(detections: np.ndarray, boxes: np.ndarray, classes: np.ndarray, crowd: np.ndarray) -> float:
    best: List[float] = []
    for rows, there, wanted, is_object in zip(detections, boxes, classes, (classes >= 0) & ~crowd):
        rows = rows[rows[:, 1] >= SCORE_THRESHOLD]
        for box, category in zip(there[is_object], wanted[is_object]):
            best.append(float(ious(box[None], rows[rows[:, 0] == category, 2:]).max(initial=0)))
    return float(np.mean(best)) if best else 0.0


def _as_coco(box: Any) -> List[float]:
    left, top, right, bottom = (float(n) for n in box)
    return [left, top, right - left, bottom - top]
