"""What a network measures on samples, by its task's metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple

import numpy as np
import paddle

from . import dist
from .prefetch import Batch

if TYPE_CHECKING:
    from ..metrics import Metric
    from ..tasks import Samples, Task


def evaluate(
    task: Task, samples: Samples, batch_size: int, keep: Optional[int] = None, metric: Optional[Metric] = None
) -> Tuple[Dict[str, float], np.ndarray]:
    """The metrics of a task's network on samples, and the outputs ``[keep, ...]`` of the first of them.

    Several processes share the samples, each a run of them; each sample is counted once. Outputs that are not kept are
    gone once the metric has seen them.

    Parameters:
        keep: how many outputs; None: as many as the task visualizes.
        metric: what measures, and knows all samples then, in each process; None: one of the task's.
    """
    task.network.eval()
    keep = min(task.num_visualized if keep is None else keep, len(samples))
    mine = np.array_split(np.arange(len(samples)), dist.count())[dist.rank()]
    metric, kept, loss = metric or task.metrics(), [], 0.0
    with paddle.no_grad():
        for start in range(0, len(mine), batch_size):
            batch = Batch.collate(samples, mine[start : start + batch_size])
            inputs, targets = inputs_and_targets(task, batch.tensors())
            output = task.network(*inputs)
            loss += task.loss(output, targets).item() * len(batch.indices)
            if task.head is not None:
                output = task.head(output)
            outputs = as_arrays(output)
            metric.update(outputs, inputs_and_targets(task, batch.fields)[1])
            if batch.indices[0] < keep:
                kept.append(outputs[: keep - batch.indices[0]].copy())
    (loss,) = dist.all_reduce_sum([loss])
    states, kept_by_all = zip(*dist.all_gather((metric.state(), kept)))
    metric.merge(states)
    first = np.concatenate([part for parts in kept_by_all for part in parts]) if keep else np.empty(0)
    return {"loss": loss / len(samples), **metric.compute()}, first


def as_arrays(outputs: Any) -> Any:
    """What a metric gets of a network's outputs: an array in float32, or a tuple of them for a tuple or a list."""
    if isinstance(outputs, (tuple, list)):
        return tuple(map(as_arrays, outputs))
    return outputs.astype("float32").numpy()


def inputs_and_targets(task: Task, fields: Sequence[Any]) -> Tuple[Sequence[Any], Sequence[Any]]:
    """The fields of a batch that the network takes, and those that it is measured by."""
    count = getattr(task, "num_inputs", 1)
    return fields[:count], fields[count:]
