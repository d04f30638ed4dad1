"""What runs an exported model, Paddle Inference or ONNX Runtime, as a user wants it run: device, precision, threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Protocol

import numpy as np
import paddle
from paddle import inference

from ..compat import is_paddle_3
from ..utils.cpu import cpu_info
from ..utils.device import select_device
from ..utils.errors import ArgumentError, UserError

# The name of a model's input.
INPUT = "x"
# Names of inference.PrecisionType, by how a user names them.
PRECISIONS = {"fp32": "Float32", "fp16": "Half", "bf16": "Bfloat16"}
# The batches that TensorRT builds its engines for: the smallest, the largest, the usual.
TRT_BATCHES = (1, 32, 8)


# Beyond, libraries end the process.
MAX_THREADS = 1024


@dataclass(frozen=True)
class Settings:
    """How a model is run; ``Predictor`` tells what each means."""

    device: str = "cpu"
    precision: str = "fp32"
    cpu_threads: Optional[int] = None
    trt: Optional[str] = None
    gpu_memory_mb: int = 256
    max_concurrency: Optional[int] = None

    def __post_init__(self) -> None:
        """Raises a UserError where the settings contradict each other, or this processor."""
        if self.device not in ("cpu", "gpu"):
            raise UserError(f"the device is 'cpu' or 'gpu', got {self.device!r}")
        if self.precision not in PRECISIONS:
            raise ArgumentError("precision", f"takes one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        for name in ("cpu_threads", "gpu_memory_mb", "max_concurrency"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ArgumentError(name, f"takes a whole number of at least 1, got {value!r}")
        for name in ("cpu_threads", "max_concurrency"):
            if (getattr(self, name) or 0) > MAX_THREADS:
                raise ArgumentError(name, f"takes at most {MAX_THREADS}, got {getattr(self, name)}")
        if self.trt == "int8":
            raise UserError("trt_int8 needs a calibrated model, which export does not make yet; take trt_fp16")
        if self.trt not in (None, "fp32", "fp16"):
            raise ArgumentError("trt", f"takes fp32 or fp16, got {self.trt!r}")
        if self.trt is not None and self.device != "gpu":
            raise UserError(f"TensorRT runs on GPUs only, got device={self.device!r}")
        if self.device == "cpu" and self.precision == "fp16":
            raise UserError("fp16 is for GPUs; a CPU takes fp32, or bf16 where it has instructions for it")
        if self.device == "cpu" and self.precision == "bf16" and not cpu_has_bf16():
            raise UserError("this processor has no instructions for bf16; take fp32")


def cpu_has_bf16() -> bool:
    return bool({"avx512_bf16", "amx_bf16"} & set(cpu_info().get("flags", "").split()))


def paddle_config(model: Path, settings: Settings, onednn: bool, input_shape: List[Optional[int]]) -> Any:
    """The ``paddle.inference.Config`` of the settings."""
    config = inference.Config(str(model), str(model.with_suffix(".pdiparams")))
    config.disable_glog_info()
    if model.suffix == ".json":
        config.enable_new_ir(True)
        config.enable_new_executor(True)
    config.enable_memory_optim()
    if settings.device == "gpu":
        precision = getattr(inference.PrecisionType, PRECISIONS[settings.precision])
        config.enable_use_gpu(settings.gpu_memory_mb, 0, precision)
        if settings.trt is not None:
            trt_precision = getattr(inference.PrecisionType, PRECISIONS[settings.trt])
            config.enable_tensorrt_engine(1 << 30, max(TRT_BATCHES), 3, trt_precision, False, False)
            config.set_trt_dynamic_shape_info(*({INPUT: [size, *input_shape]} for size in TRT_BATCHES))
        return config
    config.disable_gpu()
    if settings.cpu_threads is not None:
        config.set_cpu_math_library_num_threads(settings.cpu_threads)
    if not onednn:
        config.disable_mkldnn()
        return config
    config.enable_mkldnn()
    if settings.precision == "bf16":
        config.enable_mkldnn_bfloat16()
    return config


Runner = Callable[[np.ndarray], np.ndarray]


class Engine(Protocol):
    """A loaded model, which gives each thread that is to run it a runner of its own."""

    def runner(self) -> Runner: ...


class PaddleEngine:
    """Paddle Inference: each runner is a native predictor; those after the first share its weights.

    A native predictor is run by one thread, the one that asks for it: oneDNN keeps what it has prepared by thread, and
    a predictor that another thread runs next fails or, in Paddle 3.2, spoils those that are cloned later.
    """

    def __init__(self, folder: Path, description: Dict[str, Any], settings: Settings, onednn: bool) -> None:
        model = folder / description["model_file"]
        if model.suffix == ".json" and not is_paddle_3():
            raise UserError(
                f"{model} is a model of Paddle 3, and this is {paddle.__version__}; "
                "export it again in the format legacy, which both read"
            )
        select_device(settings.device)
        if settings.trt is not None and None in description["input_shape"]:
            raise UserError(f"TensorRT takes a model of a fixed size; export {folder} without dynamic_size")
        if settings.trt is not None and inference.get_trt_compile_version() == (0, 0, 0):
            raise UserError("this build of Paddle has no TensorRT; take run_mode paddle")
        config = paddle_config(model, settings, onednn, description["input_shape"])
        self._predictors = [inference.create_predictor(config)]
        self._is_first = True
        self._lock = threading.Lock()

    def runner(self) -> Runner:
        """What the thread that calls this may run, and no other."""
        with self._lock:
            predictor = self._predictors[0]
            if not self._is_first:
                predictor = predictor.clone()
                # Kept until the engine goes: one that was destroyed makes later ones fail.
                self._predictors.append(predictor)
            self._is_first = False
        input_name, output_name = predictor.get_input_names()[0], predictor.get_output_names()[0]

        def run(batch: np.ndarray) -> np.ndarray:
            handle = predictor.get_input_handle(input_name)
            handle.reshape(batch.shape)
            handle.copy_from_cpu(batch)
            predictor.run()
            return predictor.get_output_handle(output_name).copy_to_cpu()

        return run


class OnnxEngine:
    """ONNX Runtime, whose session any number of threads may run."""

    def __init__(self, folder: Path, description: Dict[str, Any], settings: Settings, onednn: bool) -> None:
        model = folder / description["model_file"]
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{model} needs ONNX Runtime: pip install 'ppcoordconv[onnx]' ({error})") from error
        if settings.trt is not None or settings.precision != "fp32":
            raise UserError(f"{model} runs in fp32 without TensorRT; for more, export it in the format paddle")
        provider = {"cpu": "CPUExecutionProvider", "gpu": "CUDAExecutionProvider"}[settings.device]
        if provider not in onnxruntime.get_available_providers():
            raise UserError("this onnxruntime can't use a GPU: pip install onnxruntime-gpu, or take the device 'cpu'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.cpu_threads or 0
        self._session = onnxruntime.InferenceSession(str(model), options, providers=[provider])

    def runner(self) -> Runner:
        name = self._session.get_inputs()[0].name
        return lambda batch: self._session.run(None, {name: batch})[0]


# By the model file's suffix.
ENGINES: Dict[str, Callable[[Path, Dict[str, Any], Settings, bool], Engine]] = {
    ".json": PaddleEngine,
    ".pdmodel": PaddleEngine,
    ".onnx": OnnxEngine,
}
