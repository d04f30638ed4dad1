"""Writes an inference model, runs what was written in processes of its own, and hands it over only if it is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.static import InputSpec

from ..compat import is_paddle_3
from ..layers import has_coords
from ..postprocess import SERVED, decoded
from ..utils.arguments import check_bool, check_choice
from ..utils.errors import ArgumentError, UserError
from ..utils.files import sha256
from ..utils.folders import atomic_folder
from ..utils.progress import log_info
from .description import DESCRIPTION, write_description
from .formats import DTYPES, FORMATS, LEGACY_MODEL, MODEL, ONNX_MODEL, PARAMS, InWindow, deploy_form
from .int8 import quantise_onnx, quantised
from .runtimes import INPUT, WINDOW
from .verification import Batch, random_places, verified

# What an earlier export may have left; in the order in which a file system without better means gets them.
OWN_FILES = (PARAMS, f"{MODEL}.json", LEGACY_MODEL, ONNX_MODEL, DESCRIPTION)


def write_checked(
    network: nn.Layer,
    folder: Path,
    batches: List[Batch],
    metadata: Dict[str, Any],
    *,
    names: Sequence[str] = (INPUT,),
    format: str = "paddle",
    dynamic_size: bool = False,
    precision: str = "fp32",
    window: bool = False,
    calibration: Optional[np.ndarray] = None,
) -> Dict[str, Any]:
    """Writes a network as an inference model, with ``inference.yml``, and checks it; ``export`` says how.

    Parameters:
        batches: on which the model is compared with the network; the first has the sizes that are fixed.
        metadata: "served_form", "preprocess", "labels", of what finds objects "score_threshold", and
            of what finds points "edges".
        names: of the inputs.

    Returns:
        What ``inference.yml`` holds.
    """
    check_choice("format", format, FORMATS)
    check_choice("precision", precision, DTYPES)
    check_bool("dynamic_size", dynamic_size)
    check_bool("window", window)
    shapes = [list(array.shape[1:]) for array in batches[0]]
    _check_precision(format, precision)
    is_int8 = calibration is not None
    _check_single_input(shapes, dynamic_size=dynamic_size, window=window, precision=precision != "fp32", int8=is_int8)
    _check_int8(calibration, metadata["served_form"], format, precision, dynamic_size or window)
    if window and not has_coords(network):
        raise ArgumentError("window", "is for networks with CoordConv, and this one has none")
    if calibration is not None:  # noise is beyond the ranges
        batches = [(np.resize(calibration, batch.shape),) for (batch,) in batches]
    network.eval()
    places: List[Optional[np.ndarray]] = [None] * len(batches)
    if window:
        places = random_places([maps for (maps,) in batches])
    try:
        with paddle.no_grad():
            expected = [_outputs(network, batch, place) for batch, place in zip(batches, places)]
    except ValueError:
        if not dynamic_size:
            raise
        taken = f"the network takes inputs of {shapes[0]} and no others"
        raise UserError(f"{taken}; export it without dynamic_size") from None
    if metadata["served_form"] is not None:
        decoded(SERVED.build(metadata["served_form"]), expected[0][0], metadata["labels"])
    if dynamic_size:
        shapes = [[shapes[0][0], None, None]]
    if calibration is not None and format != "onnx":
        deployed = quantised(network, calibration)
    else:
        example = None if dynamic_size or window else [*map(paddle.to_tensor, batches[0])]
        deployed = deploy_form(network, format, precision, example)
    dtypes = [array.dtype.name for array in batches[0]]
    specs = [InputSpec([None, *shape], *rest) for shape, *rest in zip(shapes, dtypes, names)]
    if window:
        deployed = InWindow(deployed)
        specs.append(InputSpec([None, 6], "float32", WINDOW))
    with atomic_folder(folder, OWN_FILES) as written:
        log_info("writing the inference model")
        try:
            files = FORMATS[format](deployed, specs, written)
        except OSError as error:
            if "source code" not in str(error):
                raise
            raise UserError(
                "Paddle traces a network by its source, and can't read that of this one: define its class in a file or "
                f"a notebook's cell, not in an interactive Python ({error})"
            ) from error
        except ValueError as error:
            if "feed" not in str(error):
                raise
            reason = str(error).strip().splitlines()[-1]
            raise UserError(
                f"the network ignores one of its inputs, {', '.join(names)}, and Paddle can't write that; export one "
                f"that doesn't take it: {reason}"
            ) from error
        except (AttributeError, TypeError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            if precision != "fp32" and isinstance(error, TypeError):
                raise UserError(f"the network can't be written in {precision}: {reason}") from error
            if format == "paddle" or "Variable" not in reason:
                raise
            raise UserError(
                f"Paddle 3 can't write an operator of the network in the form of Paddle 2, which {format} takes: use "
                f"another in its place, as docs/errors.md says, or export it as paddle: {reason}"
            ) from error
        if missing := [file for file in files if not (written / file).exists()]:
            raise UserError(
                f"Paddle writes no {missing[0]} of a network without weights, as this one is: export it as onnx, or a "
                "network with weights that it is a part of"
            )
        if calibration is not None and format == "onnx":
            quantise_onnx(written / files[0], calibration)
        for by_product in set(written.iterdir()) - {written / file for file in files}:
            by_product.unlink()
        description = {
            "model_file": files[0],
            "files": {file: sha256(written / file) for file in files},
            "input_shape": shapes[0],
            "inputs": [dict(zip(("name", "shape", "dtype"), one)) for one in zip(names, shapes, dtypes)],
            "outputs": len(expected[0]),
            "precision": precision if calibration is None else "int8",
            "window": window,
            **metadata,
        }
        description["checked"] = verified(written, description, batches, places, expected)
        write_description(written, description)
    return description


def _outputs(network: nn.Layer, batch: Batch, place: Optional[np.ndarray]) -> List[np.ndarray]:
    inputs = [*map(paddle.to_tensor, batch)]
    outputs = network(*inputs) if place is None else InWindow(network)(*inputs, paddle.to_tensor(place))
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    count = len(batch[0])
    for output in outputs:
        if not isinstance(output, Tensor):
            given = type(output).__name__
            raise UserError(f"a network that is exported gives a Tensor or a tuple of Tensors, and this one a {given}")
        if output.ndim == 0 or output.shape[0] != count:
            given = f"{list(output.shape)} for {count} samples"
            raise UserError(f"a network that is exported gives a row for each sample, and this one {given}")
    return [output.numpy() for output in outputs]


def _check_single_input(shapes: List[List[int]], **options: bool) -> None:
    """What is for networks of one input alone, and what of those for networks of maps."""
    for name in (name for name, is_on in options.items() if is_on):
        if len(shapes) > 1:
            raise ArgumentError(name, f"is for networks with one input, and this one has {len(shapes)}")
        if name in ("dynamic_size", "window") and len(shapes[0]) != 3:
            raise ArgumentError(name, f"is for networks that take maps [C, H, W], and this one takes {shapes[0]}")


def _check_int8(
    calibration: Optional[np.ndarray], served_form: Optional[str], format: str, precision: str, is_free: bool
) -> None:
    without_onnx = served_form and SERVED.build(served_form).without_onnx
    if format == "onnx" and without_onnx:
        raise UserError(without_onnx)
    if calibration is None:
        return
    if without_onnx:
        raise ArgumentError(
            "int8", "is for models without non-maximum suppression: leave it to infer, by export.nms=false"
        )
    if format == "paddle" and is_paddle_3():
        raise ArgumentError("int8", "is for the formats onnx and legacy, not for that of Paddle 3")
    if precision != "fp32" or is_free:
        raise ArgumentError("int8", "is for models of a fixed size, without windows, and of no other precision")


def _check_precision(format: str, precision: str) -> None:
    if format == "onnx" and precision == "bf16":
        raise UserError("ONNX Runtime has no convolution in bf16; take fp16, or another format")
    if format != "onnx" and precision != "fp32" and not paddle.device.cuda.device_count():
        raise UserError(
            f"a model in {precision} is for GPUs, and here is none to check it on: export it where there is one, "
            "or take the format onnx with fp16"
        )
