"""A batch before the first step of ``fit``: what is wrong with a network, a loss or a metric shows at once."""

from __future__ import annotations

import contextlib
import inspect
import math
import random
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np
import paddle
from paddle import Tensor, nn

from ..compat import dtype_name
from ..utils.errors import ArgumentError, UserError
from .evaluation import as_arrays, inputs_and_targets
from .prefetch import Batch

if TYPE_CHECKING:
    from ..tasks import Task


def try_first_batch(task: Task, batch_size: int) -> None:
    """Measures the first batch of the test set, as an evaluation does, and leaves no trace of it.

    Raises:
        UserError: the network takes another number of inputs or another dtype, gives what is not measured, or the loss
            is not one number. What else the network, the loss or a metric raises is not caught.
    """
    samples = task.test_samples()
    with _unchanged(task.network), paddle.no_grad():
        task.network.eval()
        batch = Batch.collate(samples, np.arange(min(batch_size, len(samples))))
        inputs, targets = inputs_and_targets(task, batch.tensors())
        outputs = _outputs(task.network, inputs)
        loss = task.loss(outputs, targets)
        if not isinstance(loss, Tensor) or loss.size != 1:
            got = f"the shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ArgumentError("loss", f"takes a function that gives one number for a batch, a Tensor [], got {got}")
        metric = task.metrics()
        metric.update(as_arrays(outputs), inputs_and_targets(task, batch.fields)[1])
        if not math.isfinite(value := metric.compute()[task.metric]):
            raise ArgumentError(
                task.metric, f"takes a function that gives a finite number for each sample, got {value}"
            )


def _outputs(network: nn.Layer, inputs: Sequence[Tensor]) -> Any:
    try:
        outputs = network(*inputs)
    except Exception as error:
        if why := _why_it_fails(network, inputs):
            raise UserError(why) from error
        raise
    several = isinstance(outputs, (tuple, list))
    for output in outputs if several else [outputs]:
        if not isinstance(output, Tensor):
            of = f"a {type(outputs).__name__} with {type(output).__name__}" if several else type(output).__name__
            raise ArgumentError(
                "network", f"takes one that gives a Tensor or a tuple of Tensors, got one that gives {of}"
            )
    return outputs


def _why_it_fails(network: nn.Layer, inputs: Sequence[Tensor]) -> str:
    """What about the inputs a network can't be called with; "" where it is not their number or dtype."""
    try:
        inspect.signature(network.forward).bind(*inputs)
    except TypeError as error:
        return f"num_inputs is how many of a sample's fields the network takes, got {len(inputs)}: {error}"
    whole = sorted({dtype_name(x.dtype) for x in inputs if not paddle.is_floating_point(x)})
    if whole:
        with contextlib.suppress(Exception):
            network(*(x if paddle.is_floating_point(x) else x.astype("float32") for x in inputs))
            numbers = f"the network takes inputs in floating-point numbers, got {' and '.join(whole)}"
            return f"{numbers}: x.astype('float32'), and / 255 for pictures"
    return ""


@contextlib.contextmanager
def _unchanged(network: nn.Layer) -> Iterator[None]:
    """Keeps the network's modes and buffers, and the generators of numpy and Python; Paddle's are seeded afterwards."""
    modes = [(layer, layer.training) for layer in network.sublayers(include_self=True)]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode
        for buffer, value in buffers:
            buffer.set_value(value)
        np.random.set_state(of_numpy)
        random.setstate(of_python)
