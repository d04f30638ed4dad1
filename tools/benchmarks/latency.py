"""How long exported models take for one input, side by side."""

from __future__ import annotations

from functools import partial
from typing import Dict

import numpy as np

from benchmarks.timing import interleaved, median_ms
from ppcoordconv.deploy.predictor import Predictor


def latencies(predictors: Dict[str, Predictor], one_input: np.ndarray, runs: int = 200) -> Dict[str, float]:
    """The median milliseconds that each model takes for a batch of one, in turn, after a warm-up of a tenth."""
    batch = one_input[None]
    runs_by_name = {name: partial(predictor, batch) for name, predictor in predictors.items()}
    return median_ms(interleaved(runs_by_name, runs, warm_up=runs // 10))
