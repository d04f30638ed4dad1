"""Average precision as COCO defines it, by pycocotools, how well boxes fit, and which classes are confused."""

from __future__ import annotations

import contextlib
import io
from abc import abstractmethod
from decimal import ROUND_DOWN, Context
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..ops.boxes import areas, ious
from ..postprocess.detection import SCORE_THRESHOLD
from . import MAX_CONFUSION, Metric
from .matching import Picture, matched

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


class CocoPrecision(Metric):
    """Average precision and recall by pycocotools, of boxes or of masks.

    ``compute`` gives what ``ROWS`` names, of sizes where there are such objects; ``report`` of each class "ap" and
    "ap50", None where there are no objects.

    Attributes:
        kind: what pycocotools compares, "bbox" or "segm".

    Parameters:
        labels: of the classes.
        score_threshold: from which what is found is shown, 0..1.
    """

    kind: str

    def __init__(self, labels: List[str], score_threshold: float) -> None:
        super().__init__()
        self._labels = labels
        self._score_threshold = score_threshold
        self._kept: Optional[_Figures] = None

    def update(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> None:
        self._kept = None
        super().update(outputs, targets)

    def merge(self, states: Sequence[List[Any]]) -> None:
        self._kept = None
        super().merge(states)

    @abstractmethod
    def entries(self, picture: Any) -> Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]:
        """Of a picture that ``reduce`` gave, the objects and what was found, as COCO has them: "category_id", what
        ``kind`` takes, "area", and "iscrowd" or "score".
        """

    @abstractmethod
    def best_score(self) -> float:
        """Of all that was found; 0 where nothing was."""

    def compute(self) -> Dict[str, float]:
        nothing = {name: 0.0 for name, (_, _, area, _) in ROWS.items() if area == "all"}
        return {**nothing, **{name: float(n) for name, n in zip(ROWS, self._evaluated().stats) if n >= 0}}

    def table(self, metrics: Dict[str, float]) -> str:
        """In the lines of COCO's own tools; -1 where there are no such objects."""
        return "\n".join(
            f" {f'Average {what}':<18} ({'AP' if what == 'Precision' else 'AR'}) "
            f"@[ IoU={ious:<9} | area={area:>6} | maxDets={most:>3} ] = {metrics.get(name, -1):.3f}"
            for name, (what, ious, area, most) in ROWS.items()
        )

    def report(self, labels: List[str]) -> Dict[str, Any]:
        return self._report(labels, {})

    def _report(self, labels: List[str], columns: Dict[str, List[Any]]) -> Dict[str, Any]:
        precision = self._evaluated().precision
        columns = {"ap": _means(precision), "ap50": _means(precision[:1]), **columns}
        return {
            "samples": len(self._pictures()),
            **self.compute(),
            "score_threshold": self._score_threshold,
            "classes": [
                {"label": label, **dict(zip(columns, row))} for label, row in zip(labels, zip(*columns.values()))
            ],
        }

    def pictures(self, labels: List[str]) -> Dict[str, np.ndarray]:
        from ..viz.evaluation import precision_recall

        return {"precision_recall": precision_recall(self._evaluated().precision[0], labels)}

    def advice(self, metrics: Dict[str, float], labels: List[str]) -> str:
        best = np.float32(self.best_score())
        if best >= np.float32(self._score_threshold):
            return ""
        lower = Context(prec=1, rounding=ROUND_DOWN).create_decimal(str(best))
        said = f"--threshold {lower} shows those that score less, or " if best else ""
        return (
            f"no object of the test set scores task.score_threshold={self._score_threshold}; infer shows none: "
            f"{said}train longer"
        )

    def _pictures(self) -> List[Any]:
        return [picture for batch in self._batches for picture in batch]

    def _evaluated(self) -> _Figures:
        """pycocotools' figures of all batches, which take their time: they are kept until there are others."""
        if self._kept is None:
            self._kept = self._evaluate()
        return self._kept

    def _evaluate(self) -> _Figures:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        annotations: List[Dict[str, Any]] = []
        results: List[Dict[str, Any]] = []
        pictures = self._pictures()
        for number, picture in enumerate(pictures):
            for every, some in zip((annotations, results), self.entries(picture)):
                every += [{"image_id": number, **one} for one in some]
        found_areas = [result.pop("area") for result in results]
        with contextlib.redirect_stdout(io.StringIO()):
            coco, detected = COCO(), COCO()
            coco.dataset = {
                "info": {},
                # Of masks it reads heights and widths, and needs none: run lengths have their own.
                "images": [{"id": number, "height": 1, "width": 1} for number in range(len(pictures))],
                "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
                "categories": [{"id": number, "name": name} for number, name in enumerate(self._labels)],
            }
            coco.createIndex()
            if results:  # pycocotools can't load none
                detected = coco.loadRes(results)
                for found, area in zip(detected.dataset["annotations"], found_areas):
                    found["area"] = area
            evaluation = COCOeval(coco, detected, self.kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        # Of objects of all sizes, and of 100 detections a picture.
        return _Figures(evaluation.stats, evaluation.eval["precision"][..., 0, -1].copy())


class AveragePrecision(CocoPrecision):
    """How good detections are, as COCO measures it, but that an object's size is its box's area.

    ``compute`` gives "ap", the mean over the classes and over the IoUs 0.5, 0.55, ..., 0.95 of the average precision;
    "ap50", "ap75"; "ap_small", "ap_medium", "ap_large", where there are such objects; "ar1", "ar10", "ar100", the same
    mean of the recall with so many detections a picture, and "ar_small", ...; all 0..1. "mean_iou": of each object with
    the best of the detections of its class that score at least ``score_threshold``, 0 where there is none; crowds are
    left out. The others take detections of any score.

    Parameters:
        labels: of the classes.
        detections: from outputs to ``[N, K, 6]``: class (-1: none), score, left, top, right, bottom. Detections and
            objects are all that is kept of a batch.
        score_threshold: from which a detection is shown, 0..1.
    """

    kind = "bbox"

    def __init__(
        self,
        labels: List[str],
        detections: Callable[[np.ndarray], np.ndarray],
        score_threshold: float = SCORE_THRESHOLD,
    ) -> None:
        super().__init__(labels, score_threshold)
        self._detections = detections

    def reduce(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> List[Picture]:
        """The pictures of a batch.

        Parameters:
            targets: boxes ``[N, M, 4]`` in pixels of the network's input, classes ``[N, M]`` (-1: none), crowds, bool
                ``[N, M]``, and by what each picture was scaled, ``[N]``: the sizes small (under 32x32 pixels), medium
                (under 96x96) and large are those of the picture itself.
        """
        return [
            Picture(rows[rows[:, 0] >= 0], boxes[classes >= 0], classes[classes >= 0], crowd[classes >= 0], scale)
            for rows, boxes, classes, crowd, scale in zip(self._detections(outputs), *targets)
        ]

    def entries(self, picture: Picture) -> Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]:
        true, found = picture.boxes / picture.scale, picture.detections[:, 2:] / picture.scale
        objects = [
            {
                "category_id": int(category),
                "bbox": _as_coco(box),
                "area": float(areas(box)),
                "iscrowd": int(is_crowd),
            }
            for box, category, is_crowd in zip(true, picture.classes, picture.crowd)
        ]
        results = [
            {"category_id": int(category), "bbox": _as_coco(box), "area": float(areas(box)), "score": float(score)}
            for box, (category, score) in zip(found, picture.detections[:, :2])
        ]
        return objects, results

    def best_score(self) -> float:
        return max((float(one.detections[:, 1].max(initial=0)) for one in self._pictures()), default=0.0)

    def compute(self) -> Dict[str, float]:
        best = [iou for picture in self._pictures() for iou in _best_ious(picture, self._score_threshold)]
        return {**super().compute(), "mean_iou": float(np.mean(best)) if best else 0.0}

    def report(self, labels: List[str]) -> Dict[str, Any]:
        """Of each class "ap" and "ap50", None where there are no objects, "objects", and of the detections that score
        at least the threshold, without those in crowds, "found", how many there are, "precision" and "recall" at an IoU
        of 0.5; a quotient by 0 is 0. "confusion": in row i and column j, how many objects of class i were found as
        class j; the last row is of detections that are no object's, the last column of objects that were missed.
        """
        count = len(labels)
        pairs = self._pairs(count)
        right, objects, found = (
            np.bincount(classes, minlength=count + 1)[:count]
            for classes in (pairs[pairs[:, 0] == pairs[:, 1], 0], pairs[:, 0], pairs[:, 1])
        )
        columns = {
            "objects": objects.tolist(),
            "found": found.tolist(),
            "precision": (right / np.maximum(found, 1)).tolist(),
            "recall": (right / np.maximum(objects, 1)).tolist(),
        }
        report = self._report(labels, columns)
        if count <= MAX_CONFUSION:
            report["confusion"] = _confusion(pairs, count + 1).tolist()
        return report

    def pictures(self, labels: List[str]) -> Dict[str, np.ndarray]:
        from ..viz.evaluation import confusion_matrix

        count, drawn = len(labels), super().pictures(labels)
        if count <= MAX_CONFUSION:
            drawn["confusion"] = confusion_matrix(_confusion(self._pairs(count), count + 1), [*labels, "background"])
        return drawn

    def _pairs(self, background: int) -> np.ndarray:
        """``[n, 2]``, true and predicted classes of all pictures."""
        pairs = [matched(picture, self._score_threshold, background) for picture in self._pictures()]
        return np.concatenate([np.zeros([0, 2], np.int64), *pairs])


class _Figures(NamedTuple):
    """Of pycocotools, -1 where there are no objects."""

    stats: np.ndarray  # [12], in the order of ROWS
    precision: np.ndarray  # [IoUs, recalls, classes]


def _means(precision: np.ndarray) -> List[Optional[float]]:
    """Of each class, ``[IoUs, recalls, classes]``; None without objects."""
    return [float(values.mean()) if values.min() >= 0 else None for values in precision.transpose(2, 0, 1)]


def _confusion(pairs: np.ndarray, count: int) -> np.ndarray:
    """``[count, count]``, how many of the row's class were found as the column's."""
    return np.bincount(pairs[:, 0] * count + pairs[:, 1], minlength=count**2).reshape(count, count)


def _best_ious(picture: Picture, score_threshold: float) -> List[float]:
    rows = picture.detections[picture.detections[:, 1] >= score_threshold]
    return [
        float(ious(box[None], rows[rows[:, 0] == category, 2:]).max(initial=0))
        for box, category in zip(picture.boxes[~picture.crowd], picture.classes[~picture.crowd])
    ]


def _as_coco(box: Any) -> List[float]:
    left, top, right, bottom = (float(n) for n in box)
    return [left, top, right - left, bottom - top]
