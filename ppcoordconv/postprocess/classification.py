"""Classification: one label for a picture."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from ..viz.draw import captioned
from . import SERVED, ServedForm, check_labels


@SERVED.register
class Classification(ServedForm):
    """From logits ``[N, classes]`` to "label", "class_id" and "score", the softmax probability (0..1)."""

    name = "classification"
    output_shape = (None,)

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        check_labels(outputs.shape[1], labels)
        classes, scores = best_class(outputs)
        return [
            {"label": labels[index], "class_id": int(index), "score": round(float(score), 6)}
            for index, score in zip(classes, scores)
        ]

    def draw(self, pixels: np.ndarray, output: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
        return captioned(pixels, caption(result))


def best_class(logits: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The index of the largest of each row of ``[N, classes]``, and its softmax probability: ``[N]`` each."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = shifted / shifted.sum(axis=1, keepdims=True)
    return scores.argmax(axis=1), scores.max(axis=1)


def caption(result: Dict[str, Any]) -> str:
    return f"{result['label']}  {result['score']:.1%}"
