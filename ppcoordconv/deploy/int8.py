"""int8: convolutions and matrix products of 8-bit numbers, whose ranges are measured on some of the training samples.

The coordinates stay in float. ONNX Runtime computes in int8; Paddle Inference computes in float with such numbers,
because its own int8 kernels for CPUs give wrong numbers (Paddle 3.2.2, of networks without CoordConv too).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np
import paddle
from paddle import nn

from ..convert.batch_norm import fold_batch_norms
from ..layers import QuantedGridConv
from ..utils.progress import bar, log_info
from .runtimes import INPUT


def quantised(network: nn.Layer, samples: np.ndarray) -> nn.Layer:
    """A copy in which Paddle's post-training quantisation has made each weight and input 8-bit numbers."""
    from paddle.quantization import PTQ, QuantConfig
    from paddle.quantization.config import DEFAULT_QAT_LAYER_MAPPINGS
    from paddle.quantization.observers import AbsmaxObserver

    config = QuantConfig(activation=None, weight=None)
    for kind, quanted in DEFAULT_QAT_LAYER_MAPPINGS.items():
        if issubclass(kind, (nn.Linear, nn.Conv2D)) or quanted is QuantedGridConv:
            config.add_type_config(kind, activation=AbsmaxObserver(), weight=AbsmaxObserver())
    ptq = PTQ(config)
    network = copy.deepcopy(network)
    fold_batch_norms(network)
    observed = ptq.quantize(network)
    observed.eval()
    with paddle.no_grad(), bar(len(samples), unit="sample") as progress:
        for x in samples:
            observed(paddle.to_tensor(x[None]))
            progress.update()
    converted = ptq.convert(observed)
    converted.eval()
    return converted


class _Reader:
    """Gives ONNX Runtime a sample after another."""

    def __init__(self, samples: np.ndarray) -> None:
        self._feeds = ({INPUT: x[None]} for x in samples)

    def get_next(self) -> Optional[Dict[str, Any]]:
        return next(self._feeds, None)


def quantise_onnx(model: Path, samples: np.ndarray) -> None:
    """Replaces a model file by one that ONNX Runtime runs in int8."""
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    log_info(f"measuring the ranges of its numbers on {len(samples)} samples")
    prepared = model.with_suffix(".prepared.onnx")
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(model),
        _Reader(samples),  # type: ignore[arg-type]
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "ConvTranspose", "Gemm", "MatMul"],
    )
    prepared.unlink()
