"""Inputs that wait at the same time go through the model together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any, AsyncIterator, Callable, Deque, Iterator, List, Sequence, Set, Tuple

import numpy as np

Waiting = Tuple[np.ndarray, "asyncio.Future[Any]"]


class QueueFull(Exception):  # noqa: N818 - asyncio's name for it
    """No more inputs are taken for now."""


class Batcher:
    """One input at a time in, its output out, from any number of coroutines of one event loop.

    Parameters:
        run: from a batch ``[N, ...]`` to N outputs; it is called in threads.
        max_batch: how many inputs go together; all of a batch have the same shape.
        max_wait_ms: how long an input waits for others once the model is free, in milliseconds.
        max_concurrency: how many batches run at once.
        max_waiting: how many inputs may be reserved.
    """

    def __init__(
        self,
        run: Callable[[np.ndarray], Sequence[Any]],
        max_batch: int,
        max_wait_ms: float,
        max_concurrency: int,
        max_waiting: int,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_wait = max_wait_ms / 1000
        self._max_waiting = max_waiting
        self._max_concurrency = max_concurrency
        self._waiting: Deque[Waiting] = deque()
        self._reserved = 0

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """In here it takes inputs; at the end what waits is cancelled."""
        self._arrived, self._enough = asyncio.Event(), asyncio.Event()
        self._free = asyncio.Semaphore(self._max_concurrency)
        self._running: Set[asyncio.Task[None]] = set()
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            task.cancel()
            for _, future in self._waiting:
                future.cancel()
            await asyncio.gather(*self._running)

    @property
    def waiting(self) -> int:
        """How many inputs wait."""
        return len(self._waiting)

    @contextlib.contextmanager
    def reserved(self, count: int) -> Iterator[None]:
        """In here so many inputs are taken, and held against ``max_waiting`` until its end.

        Raises:
            QueueFull: others have reserved too many.
        """
        if self._reserved + count > self._max_waiting:
            raise QueueFull
        self._reserved += count
        try:
            yield
        finally:
            self._reserved -= count

    async def __call__(self, x: np.ndarray) -> Any:
        """The output of one input. What ``run`` raises is raised here too."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((x, future))
        self._arrived.set()
        if self.waiting >= self._max_batch:
            self._enough.set()
        return await future

    async def _work(self) -> None:
        while True:
            await self._free.acquire()
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            if self.waiting < self._max_batch:
                self._enough.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), self._max_wait)
            task = asyncio.create_task(self._compute(self._take()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self) -> List[Waiting]:
        """The first that waits, and others of its shape; those whose clients have gone are left out."""
        batch: List[Waiting] = []
        others: List[Waiting] = []
        while self._waiting and len(batch) < self._max_batch:
            x, future = self._waiting.popleft()
            if not future.done():
                (batch if not batch or x.shape == batch[0][0].shape else others).append((x, future))
        self._waiting.extendleft(reversed(others))
        return batch

    async def _compute(self, batch: List[Waiting]) -> None:
        try:
            if not batch:
                return
            outputs = await asyncio.to_thread(self._run, np.stack([x for x, _ in batch]))
            for (_, future), output in zip(batch, outputs):
                if not future.done():
                    future.set_result(output)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        finally:
            self._free.release()
