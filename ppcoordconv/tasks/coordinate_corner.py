"""gnouhp's task: from a canvas with a square to its top-left corner, row and column in pixels; mean absolute error."""

from __future__ import annotations

from typing import Sequence

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..data.not_so_clevr import HALF, square
from . import TASKS
from .coordinates import LocationTask, as_picture


@TASKS.register
class CoordinateCornerTask(LocationTask):
    """Where the square's top-left corner is: row and column, 0 to 55."""

    name = "coordinate_corner"

    def input(self, centre: np.ndarray) -> np.ndarray:
        return as_picture(square(centre))

    def target(self, centre: np.ndarray) -> np.ndarray:
        return (centre[..., ::-1] - HALF).astype(np.float32)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        return F.l1_loss(outputs, targets[0])
