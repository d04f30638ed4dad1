"""What the benchmarks share: times taken in turn, so that the machine's load affects all alike, and ratios of them."""

from __future__ import annotations

import statistics
import time
from typing import Callable, Dict, List, Mapping, Sequence

WARM_UP = 3


def interleaved(
    runs: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = WARM_UP
) -> Dict[str, List[float]]:
    """The seconds that each run takes, ``repeats`` times in turn, after rounds that are not counted."""
    times: Dict[str, List[float]] = {name: [] for name in runs}
    for repeat in range(-warm_up, repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat >= 0:
                times[name].append(time.perf_counter() - start)
    return times


def median_ms(times: Dict[str, List[float]]) -> Dict[str, float]:
    return {name: 1000 * statistics.median(seconds) for name, seconds in times.items()}


def mean_and_worst(ratios: Sequence[float]) -> Dict[str, float]:
    """The geometric "mean" of ratios, and the "worst"."""
    return {"mean": statistics.geometric_mean(ratios), "worst": max(ratios)}
