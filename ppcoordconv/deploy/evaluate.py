"""The metrics of an exported model, as training measures its network's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Iterator, List, Optional, Tuple

import numpy as np

from ..utils.errors import UserError
from ..utils.progress import bar
from .predictor import Predictor

if TYPE_CHECKING:
    from ..metrics import Metric
    from ..tasks import Samples, Task


def evaluate_exported(
    task: Task, predictor: Predictor, samples: Samples, batch_size: int, metric: Optional[Metric] = None
) -> Dict[str, float]:
    """What the task measures of the exported model's outputs for the samples.

    Parameters:
        metric: what measures, and knows all samples then; None: one of the task's.

    Raises:
        UserError: the model was exported in another served form than the task's.
    """
    got, wanted = predictor.description["served_form"], task.export_metadata()["served_form"]
    if got != wanted:
        raise UserError(f"the exported model's served form is {got!r}, the config's {wanted!r}")
    metric = metric or task.metrics()
    for outputs, targets in outputs_of(predictor, samples, batch_size):
        metric.update(outputs, targets)
    return metric.compute()


def outputs_of(
    predictor: Predictor, samples: Samples, batch_size: int
) -> Iterator[Tuple[np.ndarray, List[np.ndarray]]]:
    """Of one batch of the samples after another the outputs, ``[N, ...]``, and the targets."""
    with bar(len(samples), unit="sample") as progress:
        for start in range(0, len(samples), batch_size):
            rows = [samples[index] for index in range(start, min(start + batch_size, len(samples)))]
            inputs, *targets = (np.stack(field) for field in zip(*rows))
            yield predictor(inputs), targets
            progress.update(len(rows))
