"""Coordinate classification: from a point to its pixel among 64 x 64; softmax cross entropy, accuracy."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..data.not_so_clevr import SIZE
from ..metrics import Means, Metric
from ..postprocess import SERVED
from . import TASKS
from .coordinates import PointTask, as_points, pixel_index


@TASKS.register
class CoordinateClassificationTask(PointTask):
    """The pixel that is meant by an (x, y); the model gives logits."""

    name = "coordinate_classification"
    metric = "accuracy"

    def target(self, centre: np.ndarray) -> np.ndarray:
        return pixel_index(centre)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        return F.cross_entropy(outputs, targets[0])

    def errors(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The distance in pixels between what is meant and what was found, ``[N]``."""
        centres = np.stack([targets % SIZE, targets // SIZE], axis=1)
        return np.linalg.norm(as_points(SERVED.build(self.name).decode(outputs, [])) - centres, axis=1)

    def metrics(self) -> Metric:
        return Means(lambda outputs, targets: {"accuracy": self.errors(outputs, targets[0]) == 0})

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        return self.visualize_right(self.errors(outputs, pixel_index(self.data.test[: len(outputs)])) == 0)
