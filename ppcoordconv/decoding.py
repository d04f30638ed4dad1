"""What a network's output means, as training-time evaluation and the predictor alike read it: numpy, one table."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np


def classification(logits: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """The likeliest class of each row of ``[N, classes]``: its label, its index, its softmax probability (0..1)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = shifted / shifted.sum(axis=1, keepdims=True)
    return [
        {"label": labels[index], "class_id": int(index), "score": round(float(row[index]), 6)}
        for index, row in zip(scores.argmax(axis=1), scores)
    ]


# By the name of the task.
DECODERS: Dict[str, Callable[[np.ndarray, List[str]], List[Dict[str, Any]]]] = {"classification": classification}
