"""Coordinate classification: from a point to its pixel among 64 x 64; softmax cross entropy, accuracy."""

from __future__ import annotations

from typing import Dict, Sequence

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..data.not_so_clevr import SIZE
from ..postprocess.decoding import DECODERS
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
        return np.linalg.norm(as_points(DECODERS[self.name](outputs, [])) - centres, axis=1)

    def measure(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, float]:
        return {"accuracy": float((self.errors(outputs, targets[0]) == 0).mean())}

    def draw(self, outputs: np.ndarray) -> np.ndarray:
        return self.draw_right(self.errors(outputs, pixel_index(self.data.test)) == 0)
