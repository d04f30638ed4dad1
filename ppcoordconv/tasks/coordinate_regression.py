"""Coordinate regression: from a canvas with one lit pixel to its place; mean squared error, exactness to the pixel."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..data.not_so_clevr import SIZE, one_hot
from . import TASKS
from .coordinates import LocationTask, as_picture


@TASKS.register
class CoordinateRegressionTask(LocationTask):
    """Where the lit pixel is: x and y, as parts of the canvas."""

    name = "coordinate_regression"

    def input(self, centre: np.ndarray) -> np.ndarray:
        return as_picture(one_hot(centre))

    def target(self, centre: np.ndarray) -> np.ndarray:
        return (centre / SIZE).astype(np.float32)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        return F.mse_loss(outputs, targets[0])
