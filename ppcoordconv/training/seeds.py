"""One training run for each seed of a config, and what they have in common."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

import paddle

from ..config import Config
from ..utils.errors import ArgumentError
from ..utils.files import write_text
from . import dist
from .log import log_info
from .trainer import find_resume, train
from .writer import files_of_run, move_run_aside, only_writer

if TYPE_CHECKING:
    from ..tasks import Task


def train_seeds(
    config: Config, build_task: Callable[[Config], Task], resume: Optional[str] = None, resume_anyway: bool = False
) -> Dict[str, Any]:
    """Trains a config with its seed, or with each of several, one after another, below ``output_dir/seed_<n>``.

    Parameters:
        resume: None, "auto", or for a single seed the path of a state.
        resume_anyway: as ``train`` takes it.

    Returns:
        ``train``'s result; for several seeds "seeds" with the result of each, and of the metric in the last
        evaluation "mean", "std" (the sample standard deviation), "min" and "max". It is also in
        ``output_dir/metrics.json``.
    """
    if isinstance(config.seed, int):
        return _train_one(config, build_task, resume, resume_anyway)[0]
    if resume not in (None, "auto"):
        raise ArgumentError("resume", f"takes 'auto' with several seeds, got {resume!r}, which is the state of one run")
    with only_writer(config.output):
        return _train_each(config, config.seed, build_task, resume, resume_anyway)


def _train_each(
    config: Config, seeds: List[int], build_task: Callable[[Config], Task], resume: Optional[str], resume_anyway: bool
) -> Dict[str, Any]:
    if dist.is_main_process():
        # Of a run with one seed, or, where this is no resume, of another with several.
        files = files_of_run(config.output)
        if files - {"metrics.json"} or (files and resume is None):
            move_run_aside(config.output, files)
    results: Dict[str, Any] = {}
    for seed in seeds:
        log_info(f"seed {seed}")
        one = config.model_copy(update={"seed": seed, "output_dir": str(config.output / f"seed_{seed}")})
        results[str(seed)], metric = _train_one(one, build_task, resume, resume_anyway)
    values = [result["last"][metric] for result in results.values()]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    summary = {
        "seeds": results,
        "metric": metric,
        "mean": statistics.fmean(values),
        "std": spread,
        "min": min(values),
        "max": max(values),
    }
    log_info(
        f"{metric} over {len(values)} seeds, of the last evaluation of each: mean {summary['mean']:.4f}, "
        f"sample standard deviation {spread:.4f}, from {min(values):.4f} to {max(values):.4f}"
    )
    if dist.is_main_process():
        write_text(config.output / "metrics.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _train_one(
    config: Config, build_task: Callable[[Config], Task], resume: Optional[str], resume_anyway: bool
) -> Tuple[Dict[str, Any], str]:
    """The result of a run, and the name of its task's metric."""
    paddle.seed(config.seed)
    # Before the task is built: what can't be resumed needs no data.
    state = find_resume(resume, config)
    task = build_task(config.without_weights() if state else config)
    return train(task, config, state, resume_anyway), task.metric
