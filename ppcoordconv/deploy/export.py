"""Writes an inference model, runs what was written in processes of its own, and hands it over only if it is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from ..compat import is_paddle_3
from ..layers import has_coords
from ..postprocess import SERVED
from ..utils.arguments import check_bool, check_int
from ..utils.errors import ArgumentError, UserError
from ..utils.files import sha256
from ..utils.folders import atomic_folder
from ..utils.progress import log_info
from .description import DESCRIPTION, write_description
from .formats import DTYPES, FORMATS, LEGACY_MODEL, MODEL, ONNX_MODEL, PARAMS, InWindow, deploy_form
from .int8 import calibration_samples, quantise_onnx, quantised
from .runtimes import INPUT, WINDOW
from .verification import SIZES, probe, random_places, verified

if TYPE_CHECKING:
    from ..tasks import Task

# What an earlier export may have left; in the order in which a file system without better means gets them.
OWN_FILES = (PARAMS, f"{MODEL}.json", LEGACY_MODEL, ONNX_MODEL, DESCRIPTION)


def export(
    task: Task,
    output_dir: Path,
    model_format: str = "paddle",
    dynamic_size: bool = False,
    precision: str = "fp32",
    window: bool = False,
    int8: int = 0,
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
        window: the model takes a second input, "window", ``[N, 6]``: of each sample the box that it is of a whole, and
            the whole's height and width, as ``pcc.window``.
        int8: on how many training samples the ranges of 8-bit numbers are measured, in which "onnx" and "legacy" models
            are computed then; 0: none, the model is in ``precision``.

    Returns:
        What ``inference.yml`` holds.

    Raises:
        UserError: the network needs its size, the folder can't be written, what makes or runs the format is not
            installed, there is no GPU to check half precision on, or the exported model crashes or differs; an earlier
            export is left as it was.
    """
    _check_arguments(model_format, precision)
    check_bool("window", window)
    _check_int8(int8, model_format, precision, dynamic_size, window)
    metadata = task.export_metadata()
    reason = SERVED.build(metadata["served_form"]).without_onnx
    if model_format == "onnx" and reason:
        raise UserError(reason)
    if int8 and reason:
        raise ArgumentError(
            "int8", "is for models without non-maximum suppression: leave it to infer, by export.nms=false"
        )
    shape = task.input_shape
    if dynamic_size and len(shape) != 3:
        raise ArgumentError("dynamic_size", f"is for networks that take maps, and this one takes {shape}")
    network = task.network if task.head is None else nn.Sequential(task.network, task.head)
    if window:
        _check_windows(network, shape)
    samples = calibration_samples(task, int8) if int8 else None
    inputs = probe(task, SIZES if dynamic_size else ())
    if samples is not None:  # noise is beyond the ranges
        inputs = [np.resize(samples, batch.shape) for batch in inputs]
    places: List[Optional[np.ndarray]] = random_places(inputs) if window else [None] * len(inputs)
    network.eval()
    try:
        with paddle.no_grad():
            expected = [_outputs(network, batch, place) for batch, place in zip(inputs, places)]
    except ValueError:
        if not dynamic_size:
            raise
        raise UserError(f"the network takes inputs of {shape} and no others; export it without dynamic_size") from None
    served = [shape[0], None, None] if dynamic_size else shape
    example = None if dynamic_size else paddle.to_tensor(inputs[0])
    if samples is not None and model_format != "onnx":
        network = quantised(network, samples)
    else:
        network = deploy_form(network, model_format, precision, None if window else example)
    specs = [InputSpec([None, *served], "float32", INPUT)]
    if window:
        network = InWindow(network)
        specs.append(InputSpec([None, 6], "float32", WINDOW))
    with atomic_folder(output_dir, OWN_FILES) as folder:
        log_info("writing the inference model")
        try:
            files = FORMATS[model_format](network, specs, folder)
        except TypeError as error:
            if precision == "fp32":
                raise
            reason = str(error).strip().splitlines()[-1].strip()
            raise UserError(f"the network can't be written in {precision}: {reason}") from error
        if samples is not None and model_format == "onnx":
            quantise_onnx(folder / files[0], samples)
        for by_product in set(folder.iterdir()) - {folder / file for file in files}:
            by_product.unlink()
        description = {
            "model_file": files[0],
            "files": {file: sha256(folder / file) for file in files},
            "input_shape": served,
            "precision": "int8" if int8 else precision,
            "window": window,
            **metadata,
        }
        description["checked"] = verified(folder, description, inputs, places, expected)
        write_description(folder, description)
    return description


def _outputs(network: nn.Layer, batch: np.ndarray, place: Optional[np.ndarray]) -> np.ndarray:
    x = paddle.to_tensor(batch)
    return (network(x) if place is None else InWindow(network)(x, paddle.to_tensor(place))).numpy()


def _check_windows(network: nn.Layer, shape: List[int]) -> None:
    if len(shape) != 3:
        raise UserError(f"export.window is for networks that take maps, and this one takes {shape}")
    if not has_coords(network):
        raise UserError("export.window is for networks with CoordConv, and this one has none")


def _check_int8(count: Any, model_format: str, precision: str, dynamic_size: bool, window: bool) -> None:
    check_int("int8", count, 0, 2**20)
    if count and model_format == "paddle" and is_paddle_3():
        raise ArgumentError("int8", "is for the formats onnx and legacy, not for that of Paddle 3")
    if count and (precision != "fp32" or dynamic_size or window):
        raise ArgumentError("int8", "is for models of a fixed size, without windows, and of no other precision")


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
