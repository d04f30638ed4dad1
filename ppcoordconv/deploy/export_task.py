"""Exports a task's network with everything that serving it needs, as the command does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict

import numpy as np
from paddle import nn

from ..data.preprocessing import served_preprocess
from ..utils.arguments import check_int
from ..utils.errors import ArgumentError, UserError
from ..utils.progress import log_info
from .verification import BATCHES, probe
from .writing import write_checked

if TYPE_CHECKING:
    from ..tasks import Task


def export_task(
    task: Task, folder: Path, format: str = "paddle", *, dynamic_size: bool = False, int8: int = 0, **options: Any
) -> Dict[str, Any]:
    """``export`` of a task's network, of real samples, in the task's served form.

    Parameters:
        format, dynamic_size: as for ``export``.
        int8: on how many training samples the ranges of 8-bit numbers are measured; 0: none, the model is in
            ``precision``.
        options: others of ``export``.

    Returns:
        What ``inference.yml`` holds.

    Raises:
        UserError: as ``export``; the network takes several inputs; or the task's preprocessing makes others.
    """
    check_int("int8", int8, 0, 2**20)
    if (inputs := getattr(task, "num_inputs", 1)) > 1:
        raise UserError(
            f"a task's network is exported with one input, and this one takes {inputs}: export it from Python, by "
            "ppcoordconv.deploy.export, with an example of each"
        )
    metadata = task.export_metadata()
    if metadata["preprocess"]:  # a task that is for evaluation alone has none
        served_preprocess({**metadata, "input_shape": list(task.input_shape)})
    network = task.network if task.head is None else nn.Sequential(task.network, task.head)
    samples = calibration_samples(task, int8) if int8 else None
    rng = np.random.default_rng(0)
    multiple = getattr(task.network, "coarsest", 1)
    batches = probe([_examples(task, rng)], dynamic_size, lambda _, shape: rng.standard_normal(shape), multiple)
    return write_checked(
        network,
        folder,
        batches,
        metadata,
        format=format,
        dynamic_size=dynamic_size,
        calibration=samples,
        **options,
    )


def _examples(task: Task, rng: np.random.Generator) -> np.ndarray:
    """Real samples, where there are any, else noise."""
    count = max(BATCHES)
    try:
        samples = task.test_samples()
        return np.stack([samples[row % len(samples)][0] for row in range(count)])
    except UserError as error:
        log_info(f"checking with noise alone, without samples of the data: {error}")
        return rng.standard_normal([count, *task.input_shape]).astype(np.float32)


def calibration_samples(task: Task, count: int) -> np.ndarray:
    """``[count, *input_shape]``: training inputs, spread over the set."""
    samples = task.train_samples(seed=0)
    if count > len(samples):
        raise ArgumentError("int8", f"takes at most the {len(samples)} training samples there are, got {count}")
    return np.stack([samples[int(index)][0] for index in np.linspace(0, len(samples) - 1, count)])
