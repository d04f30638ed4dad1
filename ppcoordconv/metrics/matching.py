"""Which detection is of which object, so that right and missed ones, and those of a wrong class, can be counted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..ops.boxes import areas, intersections, ious

# The IoU from which a detection is of an object.
MATCHING_IOU = 0.5


class Picture(NamedTuple):
    """What is on a picture, and what was found there, in pixels of the network's input."""

    detections: np.ndarray  # [k, 6]
    boxes: np.ndarray  # [m, 4]
    classes: np.ndarray  # [m]
    crowd: np.ndarray  # [m]
    scale: np.float32


def matched(picture: Picture, score_threshold: float, background: int) -> np.ndarray:
    """``[n, 2]``: of each object and each false detection the true class and the predicted one.

    As COCO has it, each detection, the best first, takes of the objects of its class that are free the one that it
    overlaps most; of those left over, those in a crowd of their class count as nothing. What is left then is matched
    without regard to classes.

    Parameters:
        score_threshold: detections that score less are left out.
        background: the true class of a false detection, and the predicted one of a missed object.
    """
    rows = picture.detections[picture.detections[:, 1] >= score_threshold]
    rows = rows[np.argsort(-rows[:, 1], kind="stable")].astype(np.float64)
    found, boxes = rows[:, 0].astype(np.int64), rows[:, 2:]
    objects, classes = picture.boxes[~picture.crowd].astype(np.float64), picture.classes[~picture.crowd]
    overlaps = ious(boxes, objects)
    taken = _taken(np.where(found[:, None] == classes, overlaps, 0))
    inside = intersections(boxes, picture.boxes[picture.crowd]) / np.maximum(areas(boxes)[:, None], 1e-9)
    is_crowds = (inside >= MATCHING_IOU) & (found[:, None] == picture.classes[picture.crowd])
    counts = (taken >= 0) | ~is_crowds.any(axis=1)
    overlaps[(taken >= 0) | ~counts] = 0
    overlaps[:, taken[taken >= 0]] = 0
    taken = np.maximum(taken, _taken(overlaps))
    true = np.append(classes, background)[taken]
    missed = np.delete(classes, taken[taken >= 0])
    return np.concatenate(
        [np.stack([true, found], axis=1)[counts], np.stack([missed, np.full_like(missed, background)], axis=1)]
    )


def _taken(overlaps: np.ndarray) -> np.ndarray:
    """Of ``[k, m]`` for each row, the first first, the free column that is largest, -1 where none is large enough."""
    overlaps, taken = overlaps.copy(), np.full(len(overlaps), -1)
    for row in np.flatnonzero((overlaps >= MATCHING_IOU).any(axis=1)):
        column = overlaps[row].argmax()
        if overlaps[row, column] >= MATCHING_IOU:
            taken[row] = column
            overlaps[:, column] = 0
    return taken
