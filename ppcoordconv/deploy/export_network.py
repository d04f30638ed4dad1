"""Exports any network, with the checks that a config's gets: ``ppcoordconv.deploy.export``."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
from paddle import Tensor, nn

from ..compat import to_numpy
from ..data.boxes import Letterbox
from ..data.preprocessing import Preprocessing
from ..postprocess import SERVED
from ..utils.arguments import check_choice, check_path
from ..utils.errors import ArgumentError
from ..utils.labels import are_labels
from .description import DTYPES
from .runtimes import INPUT, WINDOW
from .verification import probe
from .writing import write_checked

Array = Union[Tensor, np.ndarray]


def export(
    network: nn.Layer,
    folder: Union[str, os.PathLike[str]],
    example: Union[Array, Sequence[Array]],
    *,
    format: str = "paddle",
    dynamic_size: bool = False,
    precision: str = "fp32",
    window: bool = False,
    calibration: Optional[Array] = None,
    served_form: Optional[str] = None,
    preprocess: Optional[Preprocessing] = None,
    labels: Sequence[str] = (),
) -> Dict[str, Any]:
    """Writes any network as an inference model, which ``Predictor`` runs, once what was written is found right.

    The folder gets the model and ``inference.yml``. Before that, the model is run in processes of their own on batches
    of 1 and 3 samples, made of the example's and of noise in its range, and the outputs are compared with those of the
    network: on the CPU, by Paddle Inference with oneDNN and without, or by ONNX Runtime; in half precision by Paddle
    Inference on a GPU; never by TensorRT.

    Parameters:
        network: in ``eval`` mode afterwards; gives a Tensor, or a tuple of Tensors, a row of each for each sample.
        folder: what is written; an export that is there is replaced, or left as it was where this one fails.
        example: a batch ``[N, ...]`` of one sample or more, as the network takes it; of several inputs a tuple of such.
            Numbers are float32, int32, int64 or bool; others of floating point are made float32.
        format: "paddle", this version's own, ``inference.json`` or in Paddle 2 ``inference.pdmodel``, and
            ``inference.pdiparams``; "legacy", a pdmodel, which Paddle 2.6 and 3 both read; "onnx", ``inference.onnx``.
        dynamic_size: the model takes any height and width, not only the example's.
        precision: "fp32"; "fp16" and "bf16", for GPUs: what weights are kept in and computed with, but for the
            coordinates, whose part is computed in float32 and rounded once. Inputs and outputs stay float32.
        window: the model takes a second input, "window", ``[N, 6]``: of each sample the box that it is of a whole, and
            the whole's height and width, as ``pcc.window``.
        calibration: samples ``[N, ...]`` on which the ranges of 8-bit numbers are measured, in which models of the
            formats "onnx" and "legacy" are computed then.
        served_form: what the outputs mean, so that the commands infer and serve know: "classification" for logits
            ``[N, classes]``, or another of ``ppcoordconv.postprocess``. None: the model is for ``Predictor`` alone.
        preprocess: with a served form, what makes an input of a picture:
            ``ppcoordconv.data.images.Preprocess((height, width), mean, std)``.
        labels: with a served form, the names of the classes.

    Returns:
        What ``inference.yml`` holds.

    Raises:
        UserError: an argument is wrong, the network needs its size, the folder can't be written, what makes or runs the
            format is not installed, there is no GPU to check half precision on, or the exported model crashes or
            differs.

    Examples:
        >>> import paddle, tempfile
        >>> import ppcoordconv as pcc
        >>> net = paddle.nn.Sequential(pcc.CoordConv(3, 8, 3), paddle.nn.ReLU())
        >>> folder = tempfile.mkdtemp()
        >>> description = pcc.deploy.export(net, folder, paddle.rand([1, 3, 16, 16]))
        >>> pcc.deploy.Predictor(folder)(paddle.rand([5, 3, 16, 16]).numpy()).shape
        (5, 8, 14, 14)
    """
    if not isinstance(network, nn.Layer):
        raise ArgumentError("network", f"takes a paddle.nn.Layer, got {type(network).__name__}")
    check_path("folder", os.fspath(folder) if isinstance(folder, os.PathLike) else folder)
    given = example if isinstance(example, (tuple, list)) else [example]
    examples = [_array("example", one) for one in given]
    if not examples or len({len(one) for one in examples}) > 1:
        raise ArgumentError("example", f"takes as many samples of each input, got {[len(one) for one in examples]}")
    metadata = _metadata(served_form, preprocess, labels, examples)
    samples = None if calibration is None else _array("calibration", calibration)
    if samples is not None and samples.shape[1:] != examples[0].shape[1:]:
        wanted = ["N", *examples[0].shape[1:]]
        raise ArgumentError("calibration", f"takes samples {wanted}, as the example, got {list(samples.shape)}")
    rng = np.random.default_rng(0)
    multiple = getattr(network, "coarsest", 1)
    return write_checked(
        network,
        Path(folder),
        probe(examples, dynamic_size, lambda one, shape: rng.uniform(one.min(), one.max(), shape), multiple),
        metadata,
        names=_names(network, len(examples)),
        format=format,
        dynamic_size=dynamic_size,
        precision=precision,
        window=window,
        calibration=samples,
    )


def _array(name: str, value: Any) -> np.ndarray:
    value = to_numpy(value) if isinstance(value, Tensor) else value
    if not isinstance(value, np.ndarray) or value.ndim < 1 or not value.size:
        given = list(value.shape) if isinstance(value, np.ndarray) else type(value).__name__
        raise ArgumentError(name, f"takes a Tensor or an array [N, ...] of one sample or more, got {given}")
    value = value.astype(np.float32) if value.dtype.kind == "f" else value
    if value.dtype.name not in DTYPES:
        raise ArgumentError(name, f"takes numbers of {', '.join(DTYPES)}, got {value.dtype}")
    return value


def _metadata(
    served_form: Optional[str], preprocess: Optional[Preprocessing], labels: Sequence[str], examples: List[np.ndarray]
) -> Dict[str, Any]:
    if served_form is None:
        if preprocess is not None or labels:
            raise ArgumentError("served_form", "tells what labels and preprocess are for, got None")
        return {"served_form": None, "preprocess": {}, "labels": []}
    check_choice("served_form", served_form, SERVED.names())
    made = getattr(preprocess, "input_shape", None if preprocess is None else type(preprocess).__name__)
    if preprocess is None or made != list(examples[0].shape[1:]) or len(examples) > 1:
        wanted = [list(one.shape[1:]) for one in examples]
        raise ArgumentError("preprocess", f"takes what makes the network's inputs of {wanted}, got one of {made}")
    if SERVED.build(served_form).in_picture and not isinstance(preprocess, Letterbox):
        made = type(preprocess).__name__
        raise ArgumentError("preprocess", f"takes a Letterbox for what is found in a picture, got {made}")
    if not are_labels(list(labels)):
        raise ArgumentError("labels", f"takes different texts, got {labels!r}")
    return {"served_form": served_form, "preprocess": preprocess.to_dict(), "labels": list(labels)}


def _names(network: nn.Layer, count: int) -> Tuple[str, ...]:
    """Those of ``forward``'s parameters where it has so many; one input has the name that it has in every export."""
    if count == 1:
        return (INPUT,)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(network.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in kinds][:count]
    return tuple(names) if len(names) == count and WINDOW not in names else tuple(f"x{n}" for n in range(count))
