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
from ..utils.arguments import check_choice, check_int
from ..utils.cpu import cpu_info
from ..utils.device import find_device
from ..utils.errors import UserError

# The names of a model's inputs; the second is that of a model which takes windows.
INPUT, WINDOW = "x", "window"
# Names of inference.PrecisionType, by how a user names them.
PRECISIONS = {"fp32": "Float32", "fp16": "Half", "bf16": "Bfloat16"}
# The batches that TensorRT builds its engines for: the smallest, the largest, the usual.
TRT_BATCHES = (1, 32, 8)
# The largest of the settings that are counts. With more threads, some libraries abort the process.
MAX_COUNTS = {"cpu_threads": 1024, "gpu_memory_mb": 2**20, "max_concurrency": 1024}


@dataclass(frozen=True)
class Settings:
    """How a model is run; ``Predictor`` tells what each means."""

    device: str = "cpu"
    precision: str = "fp32"
    cpu_threads: Optional[int] = None
    trt: Optional[str] = None
    gpu_memory_mb: int = 256
    max_concurrency: Optional[int] = None
    onednn: Optional[bool] = None

    def __post_init__(self) -> None:
        """Raises a UserError where the settings contradict each other, or this processor."""
        check_choice("device", self.device, ("cpu", "gpu"))
        check_choice("precision", self.precision, PRECISIONS)
        for name, maximum in MAX_COUNTS.items():
            if getattr(self, name) is not None or name == "gpu_memory_mb":
                check_int(name, getattr(self, name), 1, maximum)
        if self.trt == "int8":
            raise UserError("trt_int8 was never run, and is refused; take trt_fp16")
        if self.trt is not None:
            check_choice("trt", self.trt, ("fp32", "fp16"))
        if self.trt is not None and self.device != "gpu":
            raise UserError(f"TensorRT runs on GPUs only, got device={self.device!r}")
        if self.device == "cpu" and self.precision == "fp16":
            raise UserError("fp16 is for GPUs; a CPU takes fp32, or bf16 where it has instructions for it")
        if self.device == "cpu" and self.precision == "bf16" and not cpu_has_bf16():
            raise UserError("this processor has no instructions for bf16; take fp32")
        if self.device == "cpu" and self.precision == "bf16" and self.onednn is False:
            raise UserError("bf16 on a CPU is computed by oneDNN; leave out onednn=False, or take fp32")


def cpu_has_bf16() -> bool:
    return bool({"avx512_bf16", "amx_bf16"} & set(cpu_info().get("flags", "").split()))


def paddle_config(model: Path, settings: Settings, onednn: bool, inputs: List[Dict[str, Any]]) -> Any:
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
            shapes = [{one["name"]: [size, *one["shape"]] for one in inputs} for size in TRT_BATCHES]
            config.set_trt_dynamic_shape_info(*shapes)
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


# From a batch of each input, and the windows for a model that takes them, to the outputs.
Runner = Callable[..., List[np.ndarray]]


class Engine(Protocol):
    """A loaded model, which gives each thread that is to run it a runner of its own."""

    def runner(self) -> Runner: ...


class PaddleEngine:
    """Paddle Inference: each runner is a native predictor; those after the first share its weights.

    A native predictor is run by one thread, the one that asks for it: oneDNN keeps what it has prepared by thread, and
    a predictor that another thread runs next fails or, in Paddle 3.2, spoils those that are cloned later.
    """

    def __init__(self, folder: Path, description: Dict[str, Any], settings: Settings) -> None:
        model = folder / description["model_file"]
        if model.suffix == ".json" and not is_paddle_3():
            raise UserError(
                f"{model} is a model of Paddle 3, and this is {paddle.__version__}; "
                "export it again in the format legacy, which both read"
            )
        checked, precision = description["checked"], description["precision"]
        # What is right in one version of Paddle crashes in another.
        is_same_paddle = checked["paddle"] == paddle.__version__
        onednn = is_same_paddle and checked["onednn"] if settings.onednn is None else settings.onednn
        if precision == "int8" and settings.device == "gpu":
            raise UserError(f"{folder} was exported in int8, which was checked on CPUs: take device='cpu'")
        if precision in ("fp16", "bf16") and settings.device == "cpu":
            raise UserError(f"{folder} was exported in {precision}, which is for GPUs: take device='gpu'")
        if settings.precision == "bf16" and settings.device == "cpu" and not (is_same_paddle and checked["bf16"]):
            raise UserError(
                f"{folder} was not found to be right in bf16 with oneDNN and Paddle {paddle.__version__} when it was "
                "exported; take fp32, or export it again"
            )
        find_device(settings.device)
        if settings.trt is not None and None in description["input_shape"]:
            raise UserError(f"TensorRT takes a model of a fixed size; export {folder} without dynamic_size")
        if settings.trt is not None and inference.get_trt_compile_version() == (0, 0, 0):
            raise UserError("this build of Paddle has no TensorRT; take run_mode paddle")
        config = paddle_config(model, settings, onednn, description["inputs"])
        self._inputs = description["inputs"]
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
        numbers = _numbers_of(predictor.get_input_names(), self._inputs)

        def run(*inputs: np.ndarray) -> List[np.ndarray]:
            for name, number in numbers.items():
                handle = predictor.get_input_handle(name)
                handle.reshape(inputs[number].shape)
                handle.copy_from_cpu(inputs[number])
            predictor.run()
            return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

        return run


class OnnxEngine:
    """ONNX Runtime, whose session any number of threads may run."""

    def __init__(self, folder: Path, description: Dict[str, Any], settings: Settings) -> None:
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
        self._inputs = description["inputs"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.cpu_threads or 0
        self._session = onnxruntime.InferenceSession(str(model), options, providers=[provider])

    def runner(self) -> Runner:
        numbers = _numbers_of([one.name for one in self._session.get_inputs()], self._inputs)
        return lambda *inputs: self._session.run(None, {name: inputs[number] for name, number in numbers.items()})


def _numbers_of(taken: List[str], inputs: List[Dict[str, Any]]) -> Dict[str, int]:
    """By the name of each input that an engine takes, which of the call's it is."""
    if len(inputs) == 1:  # which models of earlier exports call otherwise
        return {name: int(name == WINDOW) for name in taken}
    names = [one["name"] for one in inputs]
    return {name: names.index(name) for name in taken}


# By the model file's suffix.
ENGINES: Dict[str, Callable[[Path, Dict[str, Any], Settings], Engine]] = {
    ".json": PaddleEngine,
    ".pdmodel": PaddleEngine,
    ".onnx": OnnxEngine,
}
