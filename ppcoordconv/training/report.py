"""What a metric reports of a test set beside its numbers, as files: report.json, and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple, Type

import numpy as np
from PIL import Image

from ..utils.errors import Stopped, UserError
from ..utils.files import atomic_write, write_text
from . import dist

if TYPE_CHECKING:
    from ..metrics import Metric


def write_report(folder: Path, report: Dict[str, Any], pictures: Dict[str, np.ndarray]) -> None:
    """``report.json``, a line for each key, and ``<name>.png`` for each picture; what is empty is not written."""
    if report:
        lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in report.items()]
        write_text(folder / "report.json", "{\n" + ",\n".join(lines) + "\n}\n")
    for name, pixels in pictures.items():
        with atomic_write(folder / f"{name}.png") as file:
            Image.fromarray(pixels).save(file)


class BestReport:
    """Writes what the metric of a run's best evaluation reports, with the "epoch", when it is left: drawing may take
    longer than an epoch. Where none was better than those of a run that is resumed, nothing.

    The first process writes, at the end of the training, after a signal, or after a mistake of the user, as a learning
    rate that is too high.

    Parameters:
        show: gets the pictures and the epoch, too.
    """

    def __init__(self, folder: Path, labels: List[str], show: Callable[[Dict[str, np.ndarray], int], None]) -> None:
        self._folder = folder
        self._labels = labels
        self._show = show
        self._best: Optional[Tuple[Metric, int]] = None

    def take(self, metric: Metric, epoch: int) -> None:
        """The best so far."""
        self._best = metric, epoch

    def __enter__(self) -> BestReport:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        is_orderly = error is None or isinstance(error, (Stopped, UserError))
        if self._best is None or not is_orderly or not dist.is_main_process():
            return
        metric, epoch = self._best
        report, pictures = metric.report(self._labels), metric.pictures(self._labels)
        write_report(self._folder, {"epoch": epoch, **report} if report else {}, pictures)
        self._show(pictures, epoch)
