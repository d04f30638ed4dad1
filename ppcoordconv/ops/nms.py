"""Which of the boxes that a detector gives are objects: non-maximum suppression, in a graph or on arrays."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.vision import ops


class MatrixNMS(nn.Layer):
    """Keeps the best of overlapping boxes, by matrix NMS (Wang et al. 2020, arXiv:2003.10152, section 4).

    Parameters:
        score_threshold: what scores less, before or after, is left out.
        keep_top_k: how many boxes of a picture are kept at most.

    Shape:
        - input: ``[N, P, 4 + num_classes]``, left, top, right, bottom, and a score of 0..1 for each class.
        - output: ``[N, keep_top_k, 6]``: class, score, left, top, right, bottom, the best first; rows without a box
          have the class -1.
    """

    def __init__(self, score_threshold: float = 0.01, keep_top_k: int = 100) -> None:
        super().__init__()
        self._score_threshold = score_threshold
        self._keep_top_k = keep_top_k

    def forward(self, decoded: Tensor) -> Tensor:
        found, *rest = ops.matrix_nms(
            decoded[:, :, :4],
            decoded[:, :, 4:].transpose([0, 2, 1]),
            self._score_threshold,
            self._score_threshold,
            nms_top_k=400,
            keep_top_k=self._keep_top_k,
            background_label=-1,
        )
        (counts,) = [item for item in rest if item is not None]
        counts = counts.astype("int64")
        # The boxes of all pictures come in one list; what a picture lacks is taken from an empty row after it.
        first = paddle.cumsum(counts) - counts
        place = paddle.arange(self._keep_top_k, dtype="int64").unsqueeze(0)
        nothing = paddle.zeros_like(first).unsqueeze(1) + paddle.shape(found)[0].astype("int64")
        row = paddle.where(place < counts.unsqueeze(1), first.unsqueeze(1) + place, nothing + paddle.zeros_like(place))
        empty = paddle.to_tensor([[-1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
        found = paddle.concat([found, empty])
        return paddle.gather(found, row.flatten()).reshape([-1, self._keep_top_k, 6])


def matrix_nms_numpy(decoded: np.ndarray) -> np.ndarray:
    """What ``MatrixNMS`` makes of an array, by Paddle's operator: numpy goes in and comes out."""
    with paddle.no_grad():
        return MatrixNMS()(paddle.to_tensor(decoded)).numpy()
