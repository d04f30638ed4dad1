"""The metrics of an exported model, as training measures its network's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Tuple

import numpy as np

from ..utils.errors import UserError
from ..utils.progress import bar
from .predictor import Predictor

if TYPE_CHECKING:
    from ..tasks import Samples, Task


def evaluate_exported(task: Task, predictor: Predictor, samples: Samples, batch_size: int) -> Dict[str, float]:
    """What the task measures of the exported model's outputs for the samples.

    Raises:
        UserError: the model is another task's, or was exported in another form.
    """
    got, wanted = predictor.description["task"], task.serving()["task"]
    if got != wanted:
        raise UserError(f"the exported model's task is {got!r}, the config's {wanted!r}")
    return task.measure(*outputs_of(predictor, samples, batch_size))


def outputs_of(predictor: Predictor, samples: Samples, batch_size: int) -> Tuple[np.ndarray, List[np.ndarray]]:
    """The outputs for all samples, ``[N, ...]``, and their targets."""
    parts = []
    with bar(len(samples), unit="sample") as progress:
        for start in range(0, len(samples), batch_size):
            rows = [samples[index] for index in range(start, min(start + batch_size, len(samples)))]
            inputs, *targets = (np.stack(field) for field in zip(*rows))
            parts.append((predictor(inputs), *targets))
            progress.update(len(rows))
    outputs, *all_targets = (np.concatenate(field) for field in zip(*parts))
    return outputs, all_targets
