"""The processes of one training run: this one alone, or all that ``paddle.distributed.launch`` started."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import paddle
from paddle import distributed, nn


def init() -> None:
    """Meets the other processes, where there are any; the device must be selected before."""
    if count() > 1 and not distributed.is_initialized():
        distributed.init_parallel_env()


def count() -> int:
    return distributed.get_world_size()


def rank() -> int:
    return distributed.get_rank()


def is_main_process() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return rank() == 0


def shard(items: np.ndarray) -> np.ndarray:
    """This process's part of what all have in the same order; the parts differ by one item at most."""
    return items[rank() :: count()]


def with_synchronised_norms(network: nn.Layer) -> nn.Layer:
    """The network with batch norms that take the statistics of all processes, but for those that are frozen."""
    frozen = [
        (parent, name, layer)
        for parent in network.sublayers(include_self=True)
        for name, layer in parent._sub_layers.items()
        if getattr(layer, "_use_global_stats", None)
    ]
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for parent, name, layer in frozen:
        parent._sub_layers[name] = layer
    return network


def all_reduce_sum(values: List[float]) -> List[float]:
    """The sums over all processes."""
    if count() == 1:
        return values
    tensor = paddle.to_tensor(np.asarray(values, np.float64))
    distributed.all_reduce(tensor)
    return tensor.numpy().tolist()


def all_gather(value: Any) -> List[Any]:
    """What each process gives, by rank."""
    if count() == 1:
        return [value]
    values: List[Any] = []
    distributed.all_gather_object(values, value)
    return values
