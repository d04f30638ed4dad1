"""Runs an exported folder: numpy in, numpy out, from any number of threads."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type

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

    def __call__(self, *batch: Any, window: Optional[Tuple[Any, Any]] = None) -> Any:
        """The network's outputs for a batch of inputs.

        Parameters:
            batch: ``[N, *input_shape]``, made float32; of a network with several inputs each, in its order, of the
                dtype and the shape in ``description["inputs"]``. N may be 0.
            window: for a model that was exported with ``export.window``, the boxes and the image's size as
                ``pcc.window`` takes them: where in a whole the inputs lie. None: each is a whole.

        Returns:
            An array ``[N, ...]``; of a network with several outputs a tuple of them.

        Raises:
            UserError: a batch has another shape or dtype, there are too few or too many inputs, the model takes no
                windows, or the engine can't compute it.
            TypeError, ValueError: as ``pcc.window``.
        """
        inputs = self._inputs(batch)
        if os.getpid() != self._process:
            raise RuntimeError(
                "this Predictor was made by the process that this one was forked from; make another here"
            )
        if self._engine is None:
            raise RuntimeError("this Predictor is closed; make another")
        count = len(inputs[0])
        inputs += self._windows(inputs[0], window)
        if not count:  # oneDNN crashes on an empty batch
            inputs = [np.zeros([1, *array.shape[1:]], array.dtype) for array in inputs]
        outputs = [output[:count] for output in self._threads.submit(self._run, inputs).result()]
        return outputs[0] if self.description["outputs"] == 1 else tuple(outputs)

    def _inputs(self, batch: Sequence[Any]) -> List[np.ndarray]:
        described = self.description["inputs"]
        if len(batch) != len(described):
            names = ", ".join(one["name"] for one in described)
            raise UserError(f"the model takes {len(described)} inputs, {names}, got {len(batch)}")
        arrays = [_checked(given, one, len(described) > 1) for given, one in zip(batch, described)]
        if len(counts := {len(array) for array in arrays}) > 1:
            raise UserError(f"the inputs of a batch have as many samples each, got {sorted(counts)}")
        return arrays

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

    def _run(self, inputs: List[np.ndarray]) -> List[np.ndarray]:
        if not hasattr(self._runners, "run"):
            assert self._engine is not None
            self._runners.run = self._engine.runner()
        try:
            return self._runners.run(*inputs)
        except Exception as error:  # whatever the engine stumbles over; it writes pages
            lines = [line for line in str(error).splitlines() if "Error: " in line] or [str(error)]
            reason = " ".join(lines[-1].split())[:200]
            raise UserError(f"the model can't compute a batch of shape {list(inputs[0].shape)}: {reason}") from error


def _checked(given: Any, described: Dict[str, Any], named: bool) -> np.ndarray:
    array, shape, dtype = np.asarray(given), described["shape"], described["dtype"]
    what = f"{described['name']}, a batch" if named else "a batch"
    if not has_shape(array.shape[1:], shape) or not array.shape:
        hint = "; for one sample, x[None]" if array.ndim == len(shape) else ""
        raise UserError(f"the model takes {what} of shape {['N', *shape]}, got {list(array.shape)}{hint}")
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise UserError(f"the model takes {what} of {dtype}, got {array.dtype}")
    return np.ascontiguousarray(array, dtype)
