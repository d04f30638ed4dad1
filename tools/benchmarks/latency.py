"""How long exported models take for one input, side by side."""

from __future__ import annotations

import statistics
import time
from typing import Dict

import numpy as np

from ppcoordconv.deploy.predictor import Predictor


def latencies(predictors: Dict[str, Predictor], one_input: np.ndarray, runs: int = 200) -> Dict[str, float]:
    """The median milliseconds that each model takes for a batch of one, in turn, after a warm-up of a tenth."""
    batch = one_input[None]
    times: Dict[str, list] = {name: [] for name in predictors}
    for run in range(-runs // 10, runs):
        for name, predictor in predictors.items():
            start = time.perf_counter()
            predictor(batch)
            if run >= 0:
                times[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}
