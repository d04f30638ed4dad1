"""Rendering: from a point to the 9x9 square around it; sigmoid cross entropy by pixel, IoU at 0.5."""

from __future__ import annotations

from typing import Dict, Sequence

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..data.not_so_clevr import SIZE, square
from ..metrics import Means, Metric
from ..postprocess.coordinates import is_lit
from ..viz.draw import contact_sheet, overlaid
from . import TASKS
from .coordinates import PointTask


class _MeanIoU(Means):
    def compute(self) -> Dict[str, float]:
        return {"iou": 1 - super().compute()["error"]}


@TASKS.register
class CoordinateRenderingTask(PointTask):
    """The square around an (x, y); the model gives a logit for each pixel."""

    name = "coordinate_rendering"
    metric = "iou"
    num_visualized = 32

    def target(self, centre: np.ndarray) -> np.ndarray:
        return (square(centre).ravel() / 255).astype(np.float32)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs, targets[0])

    def errors(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The part of the pixels that are lit or wanted, and not both: 1 - IoU, ``[N]``."""
        got, wanted = is_lit(outputs), targets > 0.5
        return 1 - (got & wanted).sum(axis=1) / (got | wanted).sum(axis=1)

    def metrics(self) -> Metric:
        return _MeanIoU(lambda outputs, targets: {"error": self.errors(outputs, targets[0])})

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        got = is_lit(outputs).reshape(-1, SIZE, SIZE)
        return contact_sheet([overlaid(a, square(c) > 0) for a, c in zip(got, self.data.test)], columns=8)
