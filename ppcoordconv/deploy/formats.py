"""The formats of an exported model: what a network is turned into, and what writes it."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

import paddle
from paddle import nn
from paddle.static import InputSpec

from ..compat import is_paddle_3
from ..convert import convert_to_deploy
from ..convert.to_deploy import restore_grids
from ..utils.errors import UserError
from ..utils.progress import log_info
from ..windows import window
from .apart import Apart

MODEL = "inference"
PARAMS = "inference.pdiparams"
LEGACY_MODEL = "inference.pdmodel"
ONNX_MODEL = "inference.onnx"
# By precision, the dtype of the weights and of what is computed with them.
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def deploy_form(
    network: nn.Layer, model_format: str, precision: str = "fp32", example: Optional[Sequence[paddle.Tensor]] = None
) -> nn.Layer:
    """The network as it is written: for the engines of a format, in a precision, for the sizes of an example."""
    # Half precision is for GPUs, which add an offset at no cost, as TensorRT does.
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


class InWindow(nn.Layer):
    """A network of maps whose second input, ``[N, 6]``, is each sample's box in a whole, and the whole's size."""

    def __init__(self, network: nn.Layer) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: paddle.Tensor, place: paddle.Tensor) -> paddle.Tensor:
        with window(place[:, :4], place[:, 4:]):
            return self.network(x)


def _write_paddle(network: nn.Layer, specs: List[InputSpec], folder: Path) -> List[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paddle.jit.save(paddle.jit.to_static(network, input_spec=specs, full_graph=True), str(folder / MODEL))
    (model,) = [path.name for path in folder.iterdir() if path.suffix in (".json", ".pdmodel")]
    if model == LEGACY_MODEL:
        _forget_call_stacks(folder / model)
    return [model, PARAMS]


def _write_legacy(network: nn.Layer, specs: List[InputSpec], folder: Path) -> List[str]:
    # Paddle 2 has no other form.
    with paddle.pir_utils.OldIrGuard() if is_paddle_3() else contextlib.nullcontext():
        return _write_paddle(network, specs, folder)


def _write_onnx(network: nn.Layer, specs: List[InputSpec], folder: Path) -> List[str]:
    """By way of a legacy model: from a json, Paddle2ONNX loses the slope of leaky ReLU, and says nothing."""
    missing = [name for name in ("onnx", "onnxruntime", "paddle2onnx") if importlib.util.find_spec(name) is None]
    if missing:
        first = "paddle2onnx==2.1.0" if is_paddle_3() else "paddle2onnx==1.3.1"
        raise UserError(f"the format onnx needs {', '.join(missing)}: pip install 'ppcoordconv[onnx]' {first}")
    written = _write_legacy(network, specs, folder)
    log_info("converting it to ONNX")
    arguments = [str(folder / file) for file in (*written, ONNX_MODEL)]
    run = Apart("to_onnx", *arguments).finish()
    if run.returncode or not (folder / ONNX_MODEL).exists():
        said = (run.stderr.strip() or run.stdout.strip() or "it said nothing").splitlines()[-1]
        raise UserError(f"Paddle2ONNX could not convert the model (status {run.returncode}): {said}")
    return [ONNX_MODEL]


# By name, what writes a network to a folder; the model comes first of the files.
FORMATS: Dict[str, Callable[[nn.Layer, List[InputSpec], Path], List[str]]] = {
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
