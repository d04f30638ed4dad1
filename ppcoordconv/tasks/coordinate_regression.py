"""Coordinate regression: from a canvas with one lit pixel to its place; mean squared error, exactness to the pixel."""

from __future__ import annotations

from typing import Dict, Sequence

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..data.images import Preprocess
from ..data.not_so_clevr import SIZE
from ..decoding import DECODERS
from . import TASKS
from .coordinates import CoordinateTask, as_points, lit_pixel


@TASKS.register
class CoordinateRegressionTask(CoordinateTask):
    """Where the lit pixel is: x and y, as parts of the canvas.

    Parameters:
        model: a model that takes canvases ``[N, 1, 64, 64]`` and gives ``[N, 2]``.
        data: ``not_so_clevr``.
    """

    name = "coordinate_regression"
    metric = "accuracy"

    preprocess = Preprocess((SIZE, SIZE), mean=(0.0,), std=(1.0,))

    def input(self, centre: np.ndarray) -> np.ndarray:
        return lit_pixel(centre)

    def target(self, centre: np.ndarray) -> np.ndarray:
        return (centre / SIZE).astype(np.float32)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        return F.mse_loss(outputs, targets[0])

    def errors(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The distance in pixels between the lit pixel and what was found, ``[N]``."""
        return np.linalg.norm(self._offsets(outputs, targets), axis=1)

    def measure(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, float]:
        is_right = (self._offsets(outputs, targets[0]).round() == 0).all(axis=1)
        return {"accuracy": float(is_right.mean()), "mean_error": float(self.errors(outputs, targets[0]).mean())}

    def draw(self, outputs: np.ndarray) -> np.ndarray:
        return self.draw_right((self._offsets(outputs, self.data.test / SIZE).round() == 0).all(axis=1))

    def _offsets(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return as_points(DECODERS[self.name](outputs, [])) - targets * SIZE
