"""Writes an inference model, runs what was written in a process of its own, and hands it over only if it is right."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from ..compat import is_paddle_3
from ..convert import convert_to_deploy
from ..convert.to_deploy import restore_grids
from ..postprocess import SERVED
from ..utils.cpu import usable_cpus
from ..utils.errors import ArgumentError, UserError
from ..utils.files import atomic_write, sha256
from ..utils.progress import log_info
from .description import DESCRIPTION, write_description
from .runtimes import INPUT, cpu_has_bf16

if TYPE_CHECKING:
    from ..tasks import Task

MODEL = "inference"
PARAMS = "inference.pdiparams"
LEGACY_MODEL = "inference.pdmodel"
ONNX_MODEL = "inference.onnx"
# The largest error, as a part of the largest output, by precision.
TOLERANCES = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 3e-2}
# By precision, the dtype of the weights and of what is computed with them.
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
BATCHES = (1, 3)
# By engine and name, the settings of Predictor that a model is run with.
SETTINGS: Dict[str, Dict[str, Dict[str, Any]]] = {
    "paddle": {
        "onednn": {"onednn": True},
        "no_onednn": {"onednn": False},
        "onednn_bf16": {"onednn": True, "precision": "bf16"},
    },
    "paddle, half": {"gpu": {"device": "gpu", "onednn": False}},
    "onnxruntime": {"onnxruntime": {"onednn": False}},
}
# Other sizes that a model is checked with whose size is not fixed, as parts of the size that it was trained on.
SIZES = ((0.5, 0.75), (1.25, 0.625))


def export(
    task: Task,
    output_dir: Path,
    model_format: str = "paddle",
    dynamic_size: bool = False,
    precision: str = "fp32",
) -> Dict[str, Any]:
    """Writes a task's network as an inference model with everything that serving it needs.

    The folder gets the model and ``inference.yml``. Before that, the model is run in processes of their own on several
    batch sizes, and the outputs are compared with the network's: on the CPU, by Paddle Inference with oneDNN and
    without, or by ONNX Runtime; in half precision by Paddle Inference on a GPU; never by TensorRT.

    Parameters:
        model_format: "paddle", this version's own, ``inference.json`` or in Paddle 2 ``inference.pdmodel``, and
            ``inference.pdiparams``; "legacy", a pdmodel, which Paddle 2.6 and 3 both read; "onnx", ``inference.onnx``.
        dynamic_size: the model takes any height and width, not only those of the network's ``input_shape``.
        precision: "fp32"; "fp16" and "bf16", for GPUs: what weights are kept in and computed with, but for the
            coordinates, whose part is computed in float32 and rounded once. Inputs and outputs stay float32.

    Returns:
        What ``inference.yml`` holds.

    Raises:
        UserError: the network needs its size, the folder can't be written, what makes or runs the format is not
            installed, there is no GPU to check half precision on, or the exported model crashes or differs; an earlier
            export is left as it was.
    """
    _check_arguments(model_format, precision)
    metadata = task.export_metadata()
    reason = SERVED.build(metadata["served_form"]).without_onnx
    if model_format == "onnx" and reason:
        raise UserError(reason)
    shape = task.input_shape
    if dynamic_size and len(shape) != 3:
        raise ArgumentError("dynamic_size", f"is for networks that take maps, and this one takes {shape}")
    inputs = _probe(task, SIZES if dynamic_size else ())
    network = task.network if task.head is None else nn.Sequential(task.network, task.head)
    network.eval()
    try:
        with paddle.no_grad():
            expected = [network(paddle.to_tensor(batch)).numpy() for batch in inputs]
    except ValueError:
        if not dynamic_size:
            raise
        raise UserError(f"the network takes inputs of {shape} and no others; export it without dynamic_size") from None
    served = [shape[0], None, None] if dynamic_size else shape
    example = None if dynamic_size else paddle.to_tensor(inputs[0])
    network = deploy_form(network, model_format, precision, example)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log_info("writing the inference model")
        try:
            files = FORMATS[model_format](network, InputSpec([None, *served], "float32", INPUT), folder)
        except TypeError as error:
            if precision == "fp32":
                raise
            reason = str(error).strip().splitlines()[-1].strip()
            raise UserError(f"the network can't be written in {precision}: {reason}") from error
        description = {
            "model_file": files[0],
            "files": {file: sha256(folder / file) for file in files},
            "input_shape": served,
            "precision": precision,
            **metadata,
        }
        description["checked"] = _check(folder, description, inputs, expected)
        _hand_over(folder, output_dir, description)
    return description


def _check_arguments(model_format: str, precision: str) -> None:
    if model_format not in FORMATS:
        raise ArgumentError("model_format", f"takes one of {', '.join(FORMATS)}, got {model_format!r}")
    if precision not in DTYPES:
        raise ArgumentError("precision", f"takes one of {', '.join(DTYPES)}, got {precision!r}")
    if model_format == "onnx" and precision == "bf16":
        raise UserError("ONNX Runtime has no convolution in bf16; take fp16, or another format")
    if model_format != "onnx" and precision != "fp32" and not paddle.device.cuda.device_count():
        raise UserError(
            f"a model in {precision} is for GPUs, and here is none to check it on: export it where there is one, "
            "or take the format onnx with fp16"
        )


def deploy_form(
    network: nn.Layer, model_format: str, precision: str = "fp32", example: Optional[paddle.Tensor] = None
) -> nn.Layer:
    """The network as it is written: for the engines of a format, in a precision, for the sizes of an example."""
    engine = "onnxruntime" if model_format == "onnx" else "tensorrt" if precision != "fp32" else None
    network = convert_to_deploy(network, example, engine)
    if precision == "fp32":
        return network
    network = network.to(dtype=DTYPES[precision])
    restore_grids(network)
    network = _InHalf(network, DTYPES[precision])
    network.eval()
    return network


class _InHalf(nn.Layer):
    """A network in half precision, float32 from outside."""

    def __init__(self, network: nn.Layer, dtype: str) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.network(x.astype(self.dtype)).astype("float32")


def _write_paddle(network: nn.Layer, spec: InputSpec, folder: Path) -> List[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paddle.jit.save(paddle.jit.to_static(network, input_spec=[spec], full_graph=True), str(folder / MODEL))
    (model,) = [path.name for path in folder.iterdir() if path.suffix in (".json", ".pdmodel")]
    if model == LEGACY_MODEL:
        _forget_call_stacks(folder / model)
    return [model, PARAMS]


def _write_legacy(network: nn.Layer, spec: InputSpec, folder: Path) -> List[str]:
    # Paddle 2 has no other form.
    with paddle.pir_utils.OldIrGuard() if is_paddle_3() else contextlib.nullcontext():
        return _write_paddle(network, spec, folder)


def _write_onnx(network: nn.Layer, spec: InputSpec, folder: Path) -> List[str]:
    """By way of a legacy model: from a json, Paddle2ONNX loses the slope of leaky ReLU, and says nothing."""
    missing = [name for name in ("onnx", "onnxruntime", "paddle2onnx") if importlib.util.find_spec(name) is None]
    if missing:
        first = "paddle2onnx==2.1.0" if is_paddle_3() else "paddle2onnx==1.3.1"
        raise UserError(f"the format onnx needs {', '.join(missing)}: pip install 'ppcoordconv[onnx]' {first}")
    written = _write_legacy(network, spec, folder)
    log_info("converting it to ONNX")
    arguments = [str(folder / file) for file in (*written, ONNX_MODEL)]
    run = _run_apart("to_onnx", *arguments)
    if run.returncode or not (folder / ONNX_MODEL).exists():
        said = (run.stderr.strip() or run.stdout.strip() or "it said nothing").splitlines()[-1]
        raise UserError(f"Paddle2ONNX could not convert the model (status {run.returncode}): {said}")
    return [ONNX_MODEL]


# By name, what writes a network to a folder; the model comes first of the files.
FORMATS: Dict[str, Callable[[nn.Layer, InputSpec, Path], List[str]]] = {
    "paddle": _write_paddle,
    "legacy": _write_legacy,
    "onnx": _write_onnx,
}


def _forget_call_stacks(model: Path) -> None:
    """Paddle writes with each operator which lines of which files made it: half the file, and local paths."""
    program = paddle.base.core.ProgramDesc(model.read_bytes())
    for block in (program.block(i) for i in range(program.num_blocks())):
        for operator in (block.op(i) for i in range(block.op_size())):
            operator.remove_attr("op_callstack")
    model.write_bytes(program.serialize_to_string())


def _probe(task: Task, sizes: Sequence[Tuple[float, float]]) -> List[np.ndarray]:
    """Batches of the numbers and sizes to check, every other input real where there are any, the rest noise."""
    rng = np.random.default_rng(0)
    count = max(BATCHES)
    try:
        samples = task.test_samples()
        real = [samples[row % len(samples)][0] for row in range(0, count, 2)]
    except UserError as error:
        log_info(f"checking with noise alone, without samples of the data: {error}")
        real = []
    batches = []
    for number in BATCHES:
        batch = rng.standard_normal([number, *task.input_shape]).astype(np.float32)
        for row, x in zip(range(0, number, 2), real):
            batch[row] = x
        batches.append(batch)
    for height, width in sizes:
        channels, h, w = task.input_shape
        batches.append(rng.standard_normal([2, channels, int(h * height), int(w * width)]).astype(np.float32))
    return batches


def _check(
    folder: Path, description: Dict[str, Any], inputs: List[np.ndarray], expected: List[np.ndarray]
) -> Dict[str, Any]:
    """Runs the files in processes of their own; returns what was found, and what serving may take."""
    np.savez(folder / "inputs.npz", *inputs)
    description["checked"] = {"paddle": paddle.__version__, "onednn": True, "bf16": True}
    write_description(folder, description)
    precision = description["precision"]
    engine = "onnxruntime" if description["model_file"] == ONNX_MODEL else "paddle"
    settings = {
        name: options
        for name, options in SETTINGS["paddle, half" if engine == "paddle" and precision != "fp32" else engine].items()
        if options.get("precision") != "bf16" or cpu_has_bf16()
    }
    log_info(f"checking it: {', '.join(settings)}")
    with ThreadPoolExecutor(usable_cpus()) as pool:
        runs = pool.map(lambda name: _error_of(folder, name, settings[name], expected), settings)
        found: Dict[str, Union[float, str]] = dict(zip(settings, runs))

    def is_right(name: str, tolerance: float) -> bool:
        error = found.get(name, "not checked")
        return not isinstance(error, str) and error <= tolerance

    right = [name for name in settings if name != "onednn_bf16" and is_right(name, TOLERANCES[precision])]
    if not right:
        raise UserError(f"the exported model is not right, and was thrown away: {found}")
    return {
        "paddle": paddle.__version__,
        **{name: version(name) for name in ("onnxruntime", "paddle2onnx") if engine == "onnxruntime"},
        "inputs": [list(batch.shape) for batch in inputs],
        "tolerance": TOLERANCES[precision],
        "relative_error": found,
        "onednn": settings[right[0]]["onednn"],
        "bf16": is_right("onednn_bf16", TOLERANCES["bf16"]),
    }


def _error_of(folder: Path, name: str, options: Dict[str, Any], expected: List[np.ndarray]) -> Union[float, str]:
    run = _run_apart("check", str(folder), name, json.dumps(options))
    if run.returncode:
        lines = run.stderr.strip().splitlines()
        return f"crashed ({run.returncode}): {lines[-1] if lines else 'no message'}"
    with np.load(folder / f"{name}.npz") as outputs:
        error = max(_relative_error(outputs[key], right) for key, right in zip(outputs.files, expected))
    return error if np.isfinite(error) else "the outputs have another shape, or are not finite"


def _run_apart(module: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs a module of this package in a process of its own, which may crash."""
    command = [sys.executable, "-m", f"{__package__}.{module}", *arguments]
    return subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, errors="replace")


def _relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-12))


def _hand_over(folder: Path, output_dir: Path, description: Dict[str, Any]) -> None:
    write_description(folder, description)
    for name in (*reversed(description["files"]), DESCRIPTION):
        with atomic_write(output_dir / name) as path:
            path.write_bytes((folder / name).read_bytes())
    # What is left of an export in another format would go with a description that is no longer there.
    for name in {f"{MODEL}.json", LEGACY_MODEL, ONNX_MODEL, PARAMS} - set(description["files"]):
        (output_dir / name).unlink(missing_ok=True)
