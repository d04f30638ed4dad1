"""Reading in processes of ``paddle.io.DataLoader``, none of which outlives the training."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import connection
from typing import Any, Callable, Generator, List, Optional

import numpy as np
import paddle
from paddle.io import DataLoader, Dataset

from ..utils.errors import UserError


def can_fork() -> bool:
    """Whether the system does, and the loader can listen for the ends of processes, as in the main thread alone."""
    return multiprocessing.get_start_method() == "fork" and threading.current_thread() is threading.main_thread()


def read_in_processes(
    read: Callable[[np.ndarray], Any], steps: List[List[np.ndarray]], workers: int
) -> Generator[List[Any], None, None]:
    """What ``read`` makes of each part of each step, in order; it is called in processes that are forked from this one.

    Raises:
        UserError: a process was killed.
        Exception: what ``read`` raises.
    """
    training, on_child = os.getpid(), signal.getsignal(signal.SIGCHLD)
    # What a process inherits is not collected there: objects of C++ would wait for threads that it has not.
    gc.freeze()
    try:
        loader = iter(
            DataLoader(
                _Parts(read),
                batch_sampler=steps,
                # The parts go through as they are; the array is there because a step without one is the loader's end.
                collate_fn=lambda parts: (parts, np.zeros(1)),
                num_workers=workers,
                worker_init_fn=lambda number: _begin_worker(training),
                places=[paddle.CPUPlace()],
                use_buffer_reader=False,
                # /dev/shm may be small, in containers above all, and what a killed process has there stays.
                use_shared_memory=False,
            )
        )
    finally:
        gc.unfreeze()
    # The loader's raises in the middle of a step when a process is killed.
    signal.signal(signal.SIGCHLD, on_child or signal.SIG_DFL)
    # Else what a killed process had half written would be waited for without end.
    loader._data_queue._writer.close()
    watch = threading.Thread(target=_watch, args=(loader,), daemon=True)
    watch.start()
    try:
        for parts in steps:
            found, _ = _next(loader)
            yield [read(part) if one is None else one for part, one in zip(parts, found)]
    finally:
        # The loader has no public end but its last step.
        for process in loader._workers:
            process.kill()
        loader._try_shutdown_all()
        # Else the next loader's processes may be forked while these end.
        for thread in (watch, loader._thread):
            thread.join(5)


class _Parts(Dataset):
    """Reads in a worker; None where that fails: the main process reads it once more then, and raises the same."""

    def __init__(self, read: Callable[[np.ndarray], Any]) -> None:
        self._read = read

    def __getitem__(self, part: np.ndarray) -> Optional[Any]:
        try:
            return self._read(part)
        except Exception:
            return None


def _begin_worker(training: int) -> None:
    # A terminal and a scheduler signal all processes; the training finishes its step, for which it needs data.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(training,), daemon=True).start()


def _end_after(training: int) -> None:
    while os.getppid() == training:
        time.sleep(1)
    os._exit(1)


def _watch(loader: Any) -> None:
    """Ends the waiting for data where a process is killed."""
    connection.wait([process.sentinel for process in loader._workers])
    loader._exit_thread_unexpectedly()


def _next(loader: Any) -> Any:
    try:
        return next(loader)
    except SystemError as error:
        raise UserError(
            "a worker process that reads data was killed, as where memory is short; fewer workers or a smaller "
            "batch_size take less, workers=1 takes no process"
        ) from error
