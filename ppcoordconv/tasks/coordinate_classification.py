"""Coordinate classification: from a point to its pixel among 64 x 64; softmax cross entropy, accuracy."""

from __future__ import annotations

from typing import Dict, Sequence

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..config import NamedConfig
from ..data.not_so_clevr import SIZE
from ..decoding import DECODERS
from . import TASKS
from .coordinates import CoordinateTask, as_points, from_points, pixel_index


@TASKS.register
class CoordinateClassificationTask(CoordinateTask):
    """The pixel that is meant by an (x, y).

    Parameters:
        model: a model that takes points ``[N, 2]`` and gives logits ``[N, 4096]``.
        data: ``not_so_clevr``.
        points: "normalised", -1..1 from the first pixel to the last; or "pixels", 0..63, as in the paper's code.
    """

    name = "coordinate_classification"
    metric = "accuracy"

    def __init__(self, model: NamedConfig, data: NamedConfig, points: str = "normalised") -> None:
        self.preprocess = from_points(points)
        super().__init__(model, data)

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
