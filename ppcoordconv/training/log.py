"""What can be watched of a run: a bar or lines on stderr, and VisualDL's log."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Optional, Type

import numpy as np
from tqdm import tqdm
from visualdl import LogWriter

from ..analysis import coord_usage
from ..config import Config
from ..utils import progress as _progress
from ..utils.cpu import process_cpus
from . import dist
from .run import Run

# Seconds between two lines within an epoch, where there is no bar.
_LINE_EVERY = 30.0
# A reader is slow from this part of the time on; and it is worth a line from so many seconds in an epoch on.
_SLOW, _WORTH_SECONDS = 0.3, 1.0


def log_info(message: str) -> None:
    """One line, from the first process."""
    if dist.is_main_process():
        _progress.log_info(message)


class RunLog:
    """Writes VisualDL's log, in the first process, and says how it goes.

    Per epoch: all metrics, the learning rate, the share of each CoordConv's weights that lies on the coordinates,
    histograms of the weights, a picture of the first held-out samples. At the end the pictures of the metric, and the
    config's plain values beside it.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self._config = config
        self._writer = LogWriter(logdir=str(folder)) if dist.is_main_process() else None
        self._last = self._said = time.monotonic()
        self._ready = self._last
        self._rate = 0.0
        self._waiting = self._all = 0.0  # seconds of this epoch's steps
        self._said_slow = False

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        if self._writer:
            self._writer.close()

    def waited(self) -> None:
        """A batch is there."""
        self._ready = time.monotonic()

    def step(self, run: Run, loss: float, samples: int, bar: tqdm) -> None:
        now = time.monotonic()
        wall, data = now - self._last, self._ready - self._last
        self._last = now
        self._waiting, self._all = self._waiting + data, self._all + wall
        self._rate = samples / wall if not self._rate else 0.9 * self._rate + 0.1 * samples / wall
        text = f"loss {loss:.4f}, lr {run.rate:.2e}, {self._rate:.0f} samples/s, data {100 * data / wall:.0f} %"
        bar.set_description(f"epoch {run.epoch}/{self._config.epochs}, {text}", refresh=False)
        bar.update()
        if bar.disable and now - self._said > _LINE_EVERY:
            self._said = now
            log_info(f"epoch {run.epoch}/{self._config.epochs}, step {run.step} of {run.total_steps}: {text}")

    def epoch(self, entry: Dict[str, Any], run: Run, outputs: np.ndarray) -> None:
        self._last = self._said = time.monotonic()
        values = {key: value for key, value in entry.items() if key not in ("epoch", "seconds")}
        words = ", ".join(f"{key} {value:.4f}" for key, value in values.items())
        log_info(f"epoch {entry['epoch']}/{self._config.epochs}: {words}, {entry['seconds']:.0f} s")
        self._say_slow()
        if not self._writer:
            return
        step = entry["epoch"]
        values = {key if key == "train_loss" else f"test_{key}": value for key, value in values.items()}
        values["learning_rate"] = run.rate
        for name, usage in coord_usage(run.task.network).items():
            values[f"coordinate_share/{name}"] = usage.total
        for key, value in values.items():
            self._writer.add_scalar(tag=key, step=step, value=float(value))
        for name, parameter in run.task.network.named_parameters():
            # In float64, because numpy refuses bins that are narrower than the last bit of the values.
            weights = parameter.numpy().ravel().astype(np.float64)
            self._writer.add_histogram(tag=name, step=step, values=weights, buckets=32)
        if run.task.num_visualized:
            self.pictures({"held out": run.task.visualize(outputs)}, step)

    def pictures(self, pictures: Dict[str, np.ndarray], epoch: int) -> None:
        if self._writer:
            for name, pixels in pictures.items():
                self._writer.add_image(tag=name, step=epoch, img=pixels)

    def _say_slow(self) -> None:
        """Once in a run: that data are waited for, and whether more workers may help."""
        waiting, seconds = self._waiting, self._all
        self._waiting = self._all = 0.0
        if self._said_slow or waiting < max(_WORTH_SECONDS, _SLOW * seconds):
            return
        self._said_slow = True
        workers, cpus = self._config.workers, process_cpus()
        more = f"workers={min(2 * workers, cpus)} may help"
        none = f"smaller pictures may help, as workers={workers} has a worker for each processor"
        log_info(f"waiting for data {100 * waiting / seconds:.0f} % of the time: {more if workers < cpus else none}")

    def result(self, summary: Dict[str, Any], metric: str) -> None:
        if not self._writer:
            return
        config = self._config.model_dump()
        values = {key: value for key, value in config.items() if not isinstance(value, dict)}
        for section in ("model", "optimizer", "schedule"):
            values.update({f"{section}.{key}": value for key, value in config[section].items()})
        # VisualDL takes numbers and texts.
        plain = {k: str(v) if isinstance(v, bool) else v for k, v in values.items() if isinstance(v, (int, float, str))}
        self._writer.add_hparams(hparams_dict=plain, metrics_list=[f"best_{metric}"])
        self._writer.add_scalar(tag=f"best_{metric}", step=summary["best"]["epoch"], value=summary["best"][metric])
