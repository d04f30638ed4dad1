"""Areas, overlaps and clipping of boxes: numpy, [left, top, right, bottom]."""

from __future__ import annotations

import numpy as np


def clipped(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """``[n, 4]``, cut at the edges of a picture."""
    return np.stack([boxes[:, 0::2].clip(0, width), boxes[:, 1::2].clip(0, height)], axis=2).reshape(-1, 4)


def areas(boxes: np.ndarray) -> np.ndarray:
    """``[..., 4]`` -> ``[...]``, in square pixels; a box without inside has 0."""
    return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def intersections(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The area that each of ``[n, 4]`` shares with each of ``[m, 4]``: ``[n, m]``."""
    both = np.concatenate([np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])], 2)
    return areas(both)


def ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of each of ``[n, 4]`` with each of ``[m, 4]``: ``[n, m]``, 0..1."""
    inside = intersections(a, b)
    return inside / np.maximum(areas(a)[:, None] + areas(b)[None] - inside, 1e-9)
