"""What a network's output means, as training-time evaluation and the predictor alike read it: numpy, one table."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np

from ..ops.nms import matrix_nms_numpy

# Objects that score less are not worth showing.
SCORE_THRESHOLD = 0.3


def classification(logits: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """The likeliest class of each row of ``[N, classes]``: its label, its index, its softmax probability (0..1)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = shifted / shifted.sum(axis=1, keepdims=True)
    return [
        {"label": labels[index], "class_id": int(index), "score": round(float(row[index]), 6)}
        for index, row in zip(scores.argmax(axis=1), scores)
    ]


def coordinate_classification(logits: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """The likeliest pixel of each row of ``[N, size * size]``: its x and y, its softmax probability (0..1)."""
    size = _side(logits)
    return [
        {"x": best["class_id"] % size, "y": best["class_id"] // size, "score": best["score"]}
        for best in classification(logits, [""] * size * size)
    ]


def coordinate_regression(outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """From x and y as parts of a canvas of 64 pixels, ``[N, 2]``, to pixels."""
    return [{"x": round(float(64 * x), 4), "y": round(float(64 * y), 4)} for x, y in outputs]


def coordinate_corner(outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """The x and y, in pixels, of a row and a column, ``[N, 2]``."""
    return [{"x": round(float(column), 4), "y": round(float(row), 4)} for row, column in outputs]


def coordinate_rendering(logits: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """What each row of ``[N, size * size]`` lights: how many pixels, their mean x and y, and the box around them.

    The box is [left, top, right, bottom], in pixels, inclusive; where nothing is lit, it and x and y are None.
    """
    size = _side(logits)
    results: List[Dict[str, Any]] = []
    for canvas in is_lit(logits).reshape(-1, size, size):
        y, x = np.nonzero(canvas)
        if not len(x):
            results.append({"x": None, "y": None, "pixels": 0, "box": None})
            continue
        box = [int(edge) for edge in (x.min(), y.min(), x.max(), y.max())]
        results.append({"x": round(float(x.mean()), 4), "y": round(float(y.mean()), 4), "pixels": len(x), "box": box})
    return results


def detection(rows: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """The objects of each ``[N, K, 6]`` (class, score, left, top, right, bottom; class -1: none), the best first.

    Each has its label, its index, its score (0..1) and its box, in pixels of the model's input.
    """
    return [
        {
            "objects": [
                {
                    "label": labels[int(category)],
                    "class_id": int(category),
                    "score": round(float(score), 6),
                    "box": [round(float(edge), 2) for edge in box],
                }
                for category, score, *box in picture[picture[:, 1] >= SCORE_THRESHOLD]
            ]
        }
        for picture in rows
    ]


def detection_without_nms(decoded: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """The same from ``[N, P, 4 + classes]``: left, top, right, bottom, and a score for each class."""
    return detection(matrix_nms_numpy(decoded), labels)


def is_lit(logits: np.ndarray) -> np.ndarray:
    """Whether a pixel's probability is above 0.5."""
    return logits > 0


def _side(logits: np.ndarray) -> int:
    return int(np.sqrt(logits.shape[1]))


# By the name of the task.
DECODERS: Dict[str, Callable[[np.ndarray, List[str]], List[Dict[str, Any]]]] = {
    "classification": classification,
    "coordinate_classification": coordinate_classification,
    "coordinate_regression": coordinate_regression,
    "coordinate_corner": coordinate_corner,
    "coordinate_rendering": coordinate_rendering,
    "detection": detection,
    "detection_without_nms": detection_without_nms,
}
