"""Rendering: from a point to the 9x9 square around it; sigmoid cross entropy by pixel, IoU at 0.5."""

from __future__ import annotations

from typing import Dict, Sequence

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..config import NamedConfig
from ..data.not_so_clevr import SIZE, square
from ..decoding import is_lit
from ..pictures import contact_sheet, overlaid
from . import TASKS
from .coordinates import CoordinateTask, from_points


@TASKS.register
class CoordinateRenderingTask(CoordinateTask):
    """The square around an (x, y).

    Parameters:
        model: a model that takes points ``[N, 2]`` and gives a logit for each pixel, ``[N, 4096]``.
        data: ``not_so_clevr``.
        points: "normalised", -1..1 from the first pixel to the last; or "pixels", 0..63, as in the paper's code.
    """

    name = "coordinate_rendering"
    metric = "iou"

    def __init__(self, model: NamedConfig, data: NamedConfig, points: str = "normalised") -> None:
        self.preprocess = from_points(points)
        super().__init__(model, data)

    def target(self, centre: np.ndarray) -> np.ndarray:
        return (square(centre).ravel() / 255).astype(np.float32)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs, targets[0])

    def errors(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The part of the pixels that are lit or wanted, and not both: 1 - IoU, ``[N]``."""
        got, wanted = is_lit(outputs), targets > 0.5
        return 1 - (got & wanted).sum(axis=1) / (got | wanted).sum(axis=1)

    def measure(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, float]:
        return {"iou": float(1 - self.errors(outputs, targets[0]).mean())}

    def draw(self, outputs: np.ndarray) -> np.ndarray:
        got = is_lit(outputs[:32]).reshape(-1, SIZE, SIZE)
        return contact_sheet([overlaid(a, square(c) > 0) for a, c in zip(got, self.data.test)], columns=8)
