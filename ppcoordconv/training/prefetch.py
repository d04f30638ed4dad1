"""Batches, prepared while the one before is computed: by a thread, or by processes."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Generator, Iterator, List, Sequence, Tuple

import numpy as np
import paddle

from ..utils.errors import UserError
from . import dist
from .worker_processes import can_fork, read_in_processes

if TYPE_CHECKING:
    from ..tasks import Samples


@dataclass(frozen=True)
class Batch:
    """Samples of some indices, stacked: ``fields`` holds the inputs and the targets, each ``[len(indices), ...]``."""

    indices: np.ndarray
    fields: Tuple[np.ndarray, ...]

    @staticmethod
    def collate(samples: Samples, indices: np.ndarray) -> Batch:
        return Batch(indices, tuple(map(_stack, zip(*(samples[int(i)] for i in indices)))))

    def tensors(self) -> List[paddle.Tensor]:
        return [paddle.to_tensor(field) for field in self.fields]


def _stack(values: Sequence[Any]) -> np.ndarray:
    shapes = list(dict.fromkeys(map(np.shape, values)))
    if len(shapes) > 1:
        raise UserError(f"the samples of a batch take one shape, got {list(shapes[0])} and {list(shapes[1])}")
    return np.stack(values)


def prefetch(
    samples: Samples, batches: List[np.ndarray], parts: int, workers: int
) -> Generator[Tuple[np.ndarray, List[Batch]], None, None]:
    """For each batch its indices, and this process's share of it in ``parts``, fewer where it is smaller than that.

    A sample is read by its index alone, so what comes out does not depend on who reads it. To be closed, as by
    ``contextlib.closing``: the processes end then.

    Parameters:
        workers: 1: a thread; more: so many processes, or threads where none can be forked.

    Raises:
        UserError: a process was killed.
        Exception: what reading a sample raises.
    """
    steps = [[part for part in np.array_split(dist.shard(indices), parts) if len(part)] for indices in batches]
    reader = read_in_processes if workers > 1 and can_fork() else _read_in_threads
    yield from zip(batches, reader(functools.partial(Batch.collate, samples), steps, workers))


def _read_in_threads(
    read: Callable[[np.ndarray], Batch], steps: List[List[np.ndarray]], workers: int
) -> Generator[List[Batch], None, None]:
    with ThreadPoolExecutor(workers) as threads:

        def start(number: int) -> Iterator[Batch]:
            return threads.map(read, steps[number] if number < len(steps) else [])

        pending = start(0)
        for number in range(len(steps)):
            current, pending = pending, start(number + 1)
            yield list(current)
