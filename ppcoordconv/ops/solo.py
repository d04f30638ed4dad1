"""From what a SOLO network gives to objects with masks (Wang et al. 2020, arXiv:2003.10152, section 3.3 and 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# The paper's figures: a category's score, before and after the suppression, and how sharply that decays scores.
MIN_SCORE, MIN_KEPT, SIGMA = 0.1, 0.05, 2.0
# How many candidates have their masks computed and compared at most, and how many objects of a picture are kept.
MAX_CANDIDATES, MAX_OBJECTS = 500, 100


class Instances(NamedTuple):
    """The objects of a picture, those that score more first.

    Attributes:
        classes: int64 ``[k]``. scores: ``[k]``, 0..1.
        masks: float32 ``[k, h, w]``, a probability for each place of the mask features.
    """

    classes: np.ndarray
    scores: np.ndarray
    masks: np.ndarray


def find_instances(packed: np.ndarray, num_classes: int) -> Instances:
    """The objects in what ``PackedInstances`` gives of a picture, ``[num_classes + 2 * E, h, w]``."""
    channels = (len(packed) - num_classes) // 2
    logits, kernels, features = np.split(packed, [num_classes, num_classes + channels])
    scores = only_peaks(_sigmoid(logits))
    classes, rows, columns = np.nonzero(scores > MIN_SCORE)
    best = np.argsort(-scores[classes, rows, columns], kind="stable")[:MAX_CANDIDATES]
    classes, rows, columns = classes[best], rows[best], columns[best]
    found = kernels[:, rows, columns].T @ features.reshape(channels, -1)
    masks = _sigmoid(found).reshape(-1, *features.shape[1:])
    inside = masks > 0.5
    sizes = inside.sum(axis=(1, 2))
    scores = scores[classes, rows, columns] * (masks * inside).sum(axis=(1, 2)) / np.maximum(sizes, 1)
    # An empty mask scores nothing, and is left out in the end.
    order = np.argsort(-scores, kind="stable")
    classes, scores, masks, inside = classes[order], scores[order], masks[order], inside[order]
    scores = matrix_nms(inside, classes, scores)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= MIN_KEPT][:MAX_OBJECTS]
    return Instances(classes[order], scores[order], masks[order])


def only_peaks(scores: np.ndarray) -> np.ndarray:
    """``[C, h, w]`` with 0 in the place of each that is less than the one before it in its row, its column or both."""
    _, height, width = scores.shape
    before = np.pad(scores, [(0, 0), (1, 0), (1, 0)])
    best = np.max([before[:, y : y + height, x : x + width] for y in (0, 1) for x in (0, 1)], axis=0)
    return np.where(scores == best, scores, 0)


def matrix_nms(masks: np.ndarray, classes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Scores that are less the more a mask overlaps one of its class that scores more: Gaussian matrix NMS.

    Parameters:
        masks: bool ``[k, h, w]``. classes: ``[k]``. scores: ``[k]``, the highest first.
    """
    if not len(masks):
        return scores
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    sizes = flat.sum(axis=1)
    both = flat @ flat.T
    ious = both / np.maximum(sizes[:, None] + sizes - both, 1)
    # In row i and column j, how much the better i overlaps j.
    ious = np.triu(ious * (classes[:, None] == classes), 1)
    # What suppresses another may be suppressed itself, by as much as the best of those before it.
    itself = ious.max(axis=0)[:, None]
    decay = np.exp(-SIGMA * (ious**2 - itself**2)).min(axis=0)
    return scores * decay


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return (1 / (1 + np.exp(-np.clip(logits, -80, 80)))).astype(np.float32)
