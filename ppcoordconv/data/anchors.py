"""Anchors: the sizes that a detector's boxes start from, as the boxes of a data set have them."""

from __future__ import annotations

from typing import List

import numpy as np

from ..utils.errors import UserError


def anchors_of(sizes: np.ndarray, count: int) -> List[List[int]]:
    """The centres of k-means over the logarithms of widths and heights, where a factor is as far everywhere.

    Parameters:
        sizes: ``[n, 2]``, width and height in pixels of the network's input.
        count: how many.

    Returns:
        ``[[width, height], ...]`` in whole pixels, by ascending area; the same for the same sizes.

    Raises:
        UserError: there are fewer different sizes than anchors.
    """
    from sklearn.cluster import KMeans

    different = len(np.unique(sizes, axis=0))
    if different < count:
        raise UserError(f"{count} anchors take boxes of at least as many different sizes, and here are {different}")
    centres = KMeans(count, n_init=10, random_state=0).fit(np.log(sizes)).cluster_centers_
    anchors = np.exp(centres).round().clip(1).astype(int)
    return sorted(anchors.tolist(), key=lambda anchor: anchor[0] * anchor[1])


def fit(sizes: np.ndarray, anchors: List[List[int]]) -> float:
    """The mean over the boxes of the intersection over union with the best anchor, both with one corner in common."""
    both = np.minimum(sizes[:, None], np.array(anchors)[None]).prod(axis=2)
    union = sizes.prod(axis=1)[:, None] + np.prod(anchors, axis=1)[None] - both
    return float((both / union).max(axis=1).mean())
