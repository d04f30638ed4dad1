"""Runs an exported folder: numpy in, numpy out, from any number of threads."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, List, Optional, Tuple, Type

import numpy as np

from ..utils.arguments import has_shape
from ..utils.cpu import usable_cpus
from ..utils.errors import UserError
from ..windows import checked_window
from .description import read_description
from .runtimes import ENGINES, Engine, Settings


class Predictor:
    """An exported model, ready to run, from any number of threads; calls beyond ``max_concurrency`` wait.

    From asyncio: ``await asyncio.to_thread(predictor, batch)``. In a ``with`` block it is closed at its end. A process
    that was forked makes its own.

    Parameters:
        model_dir: a folder that the command ``export`` wrote.
        device: "cpu" or "gpu".
        precision: "fp32"; on GPUs also "fp16" and "bf16"; "bf16" on CPUs that have instructions for it, with oneDNN.
        cpu_threads: how many threads, at least 1; None: the engine's own choice.
        trt: on GPUs, "fp32" or "fp16": TensorRT runs what it can of the model; for batches of up to 32.
        gpu_memory_mb: what Paddle takes of the GPU's memory at first, in MiB.
        max_concurrency: how many calls run at once, at least 1, each with a copy of all but the weights; None: as many
            as the processors that this process may use.
        onednn: on the CPU, whether oneDNN's kernels are used; None: if the export found them right in this version.

    Attributes:
        max_concurrency: how many calls run at once.
        description: what ``inference.yml`` says: "served_form", "preprocess", "labels", "input_shape", "checked", ...

    Raises:
        UserError: a file of the folder is missing or damaged, the settings contradict each other, or what they ask for,
            a GPU or an engine, is not there.

    Examples:
        >>> import numpy as np
        >>> from ppcoordconv.deploy import Predictor
        >>> predictor = Predictor("docs/trained/classification")
        >>> predictor(np.array([[0.25, -0.5]], np.float32)).shape
        (1, 4096)
    """

    def __init__(
        self,
        model_dir: str,
        device: str = "cpu",
        *,
        precision: str = "fp32",
        cpu_threads: Optional[int] = None,
        trt: Optional[str] = None,
        gpu_memory_mb: int = 256,
        max_concurrency: Optional[int] = None,
        onednn: Optional[bool] = None,
    ) -> None:
        settings = Settings(device, precision, cpu_threads, trt, gpu_memory_mb, max_concurrency, onednn)
        folder = Path(model_dir)
        self.description = read_description(folder)
        make_engine = ENGINES[Path(self.description["model_file"]).suffix]
        # The engine is made, and run, by threads of its own: callers' threads come and go.
        self.max_concurrency = settings.max_concurrency or usable_cpus()
        self._threads = ThreadPoolExecutor(self.max_concurrency, "predictor")
        self._runners = threading.local()
        self._process = os.getpid()
        self._engine: Optional[Engine] = self._threads.submit(make_engine, folder, self.description, settings).result()

    def __call__(self, batch: np.ndarray, window: Optional[Tuple[Any, Any]] = None) -> np.ndarray:
        """The network's outputs for a batch of inputs.

        Parameters:
            batch: ``[N, *input_shape]``, made float32; N may be 0.
            window: for a model that was exported with ``export.window``, the boxes and the image's size as
                ``pcc.window`` takes them: where in a whole the inputs lie. None: each is a whole.

        Returns:
            ``[N, ...]``.

        Raises:
            UserError: the batch has another shape, the model takes no windows, or the engine can't compute it.
            TypeError, ValueError: as ``pcc.window``.
        """
        wanted = self.description["input_shape"]
        batch = np.ascontiguousarray(batch, np.float32)
        shape = batch.shape[1:]
        if not has_shape(shape, wanted):
            hint = "; for one sample, x[None]" if len(batch.shape) == len(wanted) else ""
            raise UserError(f"the model takes a batch of shape {['N', *wanted]}, got {list(batch.shape)}{hint}")
        if os.getpid() != self._process:
            raise RuntimeError(
                "this Predictor was made by the process that this one was forked from; make another here"
            )
        if self._engine is None:
            raise RuntimeError("this Predictor is closed; make another")
        count, windows = len(batch), self._windows(batch, window)
        if not count:  # oneDNN crashes on an empty batch
            batch = np.zeros([1, *shape], np.float32)
            windows = self._windows(batch, None)
        return self._threads.submit(self._run, batch, *windows).result()[:count]

    def _windows(self, batch: np.ndarray, window: Optional[Tuple[Any, Any]]) -> List[np.ndarray]:
        """What the engine takes beside the batch: nothing, or ``[N, 2 * axes + axes]``."""
        if not self.description["window"]:
            if window is not None:
                raise UserError("this model was exported without windows; export it again with export.window=true")
            return []
        size = list(batch.shape[2:])
        window = ([*[0] * len(size), *size[::-1]], size) if window is None else window
        if not isinstance(window, (tuple, list)) or len(window) != 2:
            raise TypeError(f"window: expected (boxes, image_size), got {window!r}")
        boxes, sizes = checked_window(*window)
        if sizes.shape[1] != len(size) or len(boxes) not in (1, len(batch)):
            wanted = f"[{2 * len(size)}] or [{len(batch)}, {2 * len(size)}]"
            raise ValueError(f"window: expected boxes of {wanted} for this batch, got {list(boxes.shape)}")
        rows = np.concatenate([boxes, sizes], axis=1).astype(np.float32)
        return [np.ascontiguousarray(np.broadcast_to(rows, [len(batch), rows.shape[1]]))]

    def close(self) -> None:
        """Waits for the calls that run, and frees the model's memory; later calls raise a RuntimeError."""
        self._threads.shutdown()
        self._engine = None

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, trace: Optional[TracebackType]) -> None:
        self.close()

    def _run(self, batch: np.ndarray, *windows: np.ndarray) -> np.ndarray:
        if not hasattr(self._runners, "run"):
            assert self._engine is not None
            self._runners.run = self._engine.runner()
        try:
            return self._runners.run(batch, *windows)
        except Exception as error:  # whatever the engine stumbles over; it writes pages
            lines = [line for line in str(error).splitlines() if "Error: " in line] or [str(error)]
            reason = " ".join(lines[-1].split())[:200]
            raise UserError(f"the model can't compute a batch of shape {list(batch.shape)}: {reason}") from error
