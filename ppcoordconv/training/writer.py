"""The directory that a training writes: one training at a time, and what an earlier one left there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Iterable, Iterator, Set

from ..utils.errors import UserError
from ..utils.files import move_aside
from ..utils.folders import try_lock
from . import dist
from .log import log_info

# What a run writes below its output_dir.
RUN_FILES = (
    "config.yml",
    "run.json",
    "best.pdparams",
    "last.pdparams",
    "last.pdopt",
    "metrics.json",
    "report.json",
    "confusion.png",
    "precision_recall.png",
    "vdl",
)


@contextlib.contextmanager
def only_writer(output: Path) -> Iterator[None]:
    """Makes the directory and holds its lock, which a process that is gone does not hold; the main process, for all.

    Raises:
        UserError: another process holds it, or the directory can't be written.
    """
    if not dist.is_main_process():
        yield
        return
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = try_lock(output)
    except OSError as error:
        raise UserError(f"{output} can't be written: {error.strerror}") from error
    if lock is None:
        raise UserError(f"{output} is being written by another training; choose another output_dir, or wait")
    try:
        yield
    finally:
        os.close(lock)


def move_run_aside(output: Path, names: Iterable[str]) -> None:
    """Moves the named files of an earlier run into ``earlier.1/``, or the next that is free, and says so."""
    log_info(f"{output} holds an earlier run; it is now in {move_aside(output, names)}")


def files_of_run(output: Path) -> Set[str]:
    """Those of ``RUN_FILES`` that are there; a link to nowhere is there, too."""
    return {name for name in RUN_FILES if os.path.lexists(output / name)}
