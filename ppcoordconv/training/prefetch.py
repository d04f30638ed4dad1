"""Batches, prepared by threads while the one before is computed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, List, Tuple

import numpy as np
import paddle

from . import dist

if TYPE_CHECKING:
    from ..tasks import Samples


@dataclass(frozen=True)
class Batch:
    """Samples of some indices, stacked: ``fields`` holds the inputs and the targets, each ``[len(indices), ...]``."""

    indices: np.ndarray
    fields: Tuple[np.ndarray, ...]

    @staticmethod
    def collate(samples: Samples, indices: np.ndarray) -> Batch:
        return Batch(indices, tuple(map(np.stack, zip(*(samples[int(i)] for i in indices)))))

    def tensors(self) -> List[paddle.Tensor]:
        return [paddle.to_tensor(field) for field in self.fields]


def prefetch(
    samples: Samples, batches: List[np.ndarray], parts: int, workers: int
) -> Iterator[Tuple[np.ndarray, List[Batch]]]:
    """For each batch its indices, and this process's share of it in ``parts``, fewer where it is smaller than that.

    A sample is read by its index alone, so what comes out does not depend on the number of threads.
    """
    with ThreadPoolExecutor(workers) as threads:

        def start(indices: np.ndarray) -> List[Future]:
            mine = dist.shard(indices)
            return [threads.submit(Batch.collate, samples, part) for part in np.array_split(mine, parts) if len(part)]

        pending = start(batches[0]) if batches else []
        for number, indices in enumerate(batches):
            current = pending
            pending = start(batches[number + 1]) if number + 1 < len(batches) else []
            yield indices, [future.result() for future in current]
