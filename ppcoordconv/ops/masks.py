"""Masks: of each pixel the index of its class, uint8 ``[H, W]``; or of one object, as COCO's run lengths."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

# Of a pixel that belongs to no class that is known, and counts for nothing.
IGNORED = 255
MAX_CLASSES = 255
# The name of the class of what is none of the others.
BACKGROUND = "background"


def run_lengths(inside: np.ndarray) -> Dict[str, Any]:
    """A mask, bool ``[H, W]``, as COCO has it in JSON: how many pixels are outside, inside, outside, ..., column by
    column.
    """
    flat = inside.T.ravel()
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff([0, *ends, len(flat)]).tolist()
    return {"size": list(inside.shape), "counts": [0, *counts] if flat[:1].any() else counts}


def box_around(inside: np.ndarray) -> np.ndarray:
    """int64 ``[4]``: left, top, right, bottom of a mask, bool ``[H, W]``; zeros of an empty one."""
    columns, rows = (np.flatnonzero(inside.any(axis=axis)) for axis in (0, 1))
    if not len(rows):
        return np.zeros(4, np.int64)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
