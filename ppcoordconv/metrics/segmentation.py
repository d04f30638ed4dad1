"""Of a class for each pixel: IoU and Dice by class, their means, and accuracy."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from ..ops.masks import IGNORED
from . import Metric


class MeanIoU(Metric):
    """How well the pixels of each class are found.

    ``compute`` gives "miou", the mean over the classes of the intersection over the union of the pixels that are of a
    class and those that are found to be; "dice", the mean of twice the intersection over the sum of both; and
    "pixel_accuracy"; all 0..1. Classes without a pixel in the test set, and pixels that are ignored, count for nothing.
    The pixels of all pictures are counted together, as in PASCAL VOC. One matrix of counts is all that is kept.

    Parameters:
        num_classes: of the data.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self._num_classes = num_classes

    def update(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> None:
        counts = self.reduce(outputs, targets)
        if self._batches:
            self._batches[0] += counts
        else:
            self._batches.append(counts)

    def reduce(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> np.ndarray:
        """Of logits ``[N, classes, H, W]`` and classes ``[N, H, W]``: ``[classes, classes]``, how many pixels of the
        row's class were found to be of the column's.
        """
        found, true = outputs.argmax(axis=1), targets[0]
        counts = true != IGNORED
        pairs = true[counts].astype(np.int64) * self._num_classes + found[counts]
        return np.bincount(pairs, minlength=self._num_classes**2).reshape(self._num_classes, -1)

    def compute(self) -> Dict[str, float]:
        confusion = self._confusion()
        there = confusion.sum(axis=1) > 0
        iou, dice = (values[there].mean() if there.any() else np.nan for values in self._by_class())
        return {
            "miou": float(iou),
            "dice": float(dice),
            "pixel_accuracy": float(np.trace(confusion) / max(1, confusion.sum())),
        }

    def report(self, labels: List[str]) -> Dict[str, Any]:
        """Of each class "pixels", how many there are, "iou" and "dice", None of none; and "confusion"."""
        iou, dice = self._by_class()
        pixels = self._confusion().sum(axis=1)
        entries = [
            {
                "label": label,
                "pixels": int(pixels[number]),
                "iou": float(iou[number]) if pixels[number] else None,
                "dice": float(dice[number]) if pixels[number] else None,
            }
            for number, label in enumerate(labels)
        ]
        return {**self.compute(), "classes": entries, "confusion": self._confusion().tolist()}

    def pictures(self, labels: List[str]) -> Dict[str, np.ndarray]:
        from ..viz.evaluation import confusion_matrix

        return {"confusion": confusion_matrix(self._confusion(), labels)}

    def _confusion(self) -> np.ndarray:
        return np.sum(self._batches, axis=0)

    def _by_class(self) -> Tuple[np.ndarray, np.ndarray]:
        """IoU and Dice of each class, ``[classes]`` each; 0 where the test set has none of it."""
        confusion = self._confusion()
        both, true, found = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        return both / np.maximum(true + found - both, 1), 2 * both / np.maximum(true + found, 1)
