"""Runs an exported folder: numpy in, numpy out."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np
import paddle

from ..utils.errors import UserError
from .description import read_description
from .runtimes import ENGINES, Settings


class Predictor:
    """An exported model, ready to run, from any number of threads.

    Parameters:
        model_dir: a folder that the command ``export`` wrote.
        device: "cpu" or "gpu".
        precision: "fp32"; on GPUs also "fp16" and "bf16"; "bf16" on CPUs that have instructions for it, with oneDNN.
        cpu_threads: how many threads, at least 1; None: the engine's own choice.
        trt: on GPUs, "fp32" or "fp16": TensorRT runs what it can of the model; for batches of up to 32.
        gpu_memory_mb: what Paddle takes of the GPU's memory at first, in MiB.
        onednn: on the CPU, whether oneDNN's kernels are used; None: if the export found them right in this version.

    Attributes:
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
        onednn: Optional[bool] = None,
    ) -> None:
        settings = Settings(device, precision, cpu_threads, trt, gpu_memory_mb)
        folder = Path(model_dir)
        self.description = read_description(folder)
        checked = self.description["checked"]
        # What is right in one version of Paddle crashes in another.
        is_this = checked["paddle"] == paddle.__version__
        if onednn is None:
            onednn = is_this and checked["onednn"]
        kept_in, is_onnx = self.description["precision"], self.description["model_file"].endswith(".onnx")
        if kept_in != "fp32" and device == "cpu" and not is_onnx:
            raise UserError(f"{folder} was exported in {kept_in}, which is for GPUs: take device='gpu'")
        if precision == "bf16" and device == "cpu" and not (onednn and is_this and checked["bf16"]):
            raise UserError(
                f"{folder} was not found to be right in bf16 with oneDNN and Paddle {paddle.__version__} when it was "
                "exported; take fp32, or export it again"
            )
        engine = ENGINES[Path(self.description["model_file"]).suffix]
        self._run = engine(folder, self.description, settings, onednn)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """The network's outputs for a batch of inputs.

        Parameters:
            batch: float32 ``[N, *input_shape]``; N may be 0.

        Returns:
            ``[N, ...]``.

        Raises:
            UserError: the batch has another shape.
        """
        wanted = self.description["input_shape"]
        batch = np.ascontiguousarray(batch, np.float32)
        shape = batch.shape[1:]
        if len(shape) != len(wanted) or any(w not in (None, n) for n, w in zip(shape, wanted)):
            raise UserError(f"the model takes a batch of shape {['N', *wanted]}, got {list(batch.shape)}")
        # oneDNN crashes on an empty batch.
        return self._run(batch) if len(batch) else self._run(np.zeros([1, *shape], np.float32))[:0]
