"""What differs between eager mode and graphs, between devices, and between Paddle's versions, asked in one place.

Functions under ``not_to_static`` are run as they stand while Paddle traces a layer: they decide by shapes, dtypes and
places, which are known then, and Paddle 2.6 can't translate their source.
"""

from __future__ import annotations

import contextlib
from typing import Any, ContextManager, List

import numpy as np
import paddle
from paddle import Tensor
from paddle.framework import in_dynamic_or_pir_mode
from paddle.jit.sot.psdb import in_sot


def is_paddle_3() -> bool:
    return int(paddle.__version__.split(".")[0]) >= 3


@paddle.jit.not_to_static
def is_eager() -> bool:
    """Whether operations are computed at once, not recorded in a graph."""
    # While bytecode is traced, Paddle can't be asked where a tensor is: some versions crash.
    return paddle.in_dynamic_mode() and not in_sot()


@paddle.jit.not_to_static
def is_eager_on_cpu(x: Tensor) -> bool:
    return is_eager() and x.place.is_cpu_place()


@paddle.jit.not_to_static
def autocast_disabled() -> ContextManager[Any]:
    """In here, AMP leaves dtypes as they are."""
    # Where graphs are cast when they are complete, Paddle refuses this while they are built.
    return paddle.amp.auto_cast(enable=False) if in_dynamic_or_pir_mode() else contextlib.nullcontext()


def autocast_is_on() -> bool:
    if hasattr(paddle.amp, "is_autocast_enabled"):
        return paddle.amp.is_autocast_enabled()
    tracer = paddle.base.framework._dygraph_tracer()  # Paddle 2.6 has no public way to ask, nor a tracer in graphs
    return tracer is None or tracer._amp_level != paddle.base.core.AmpLevel.O0


def dtype_name(dtype: Any) -> str:
    """A dtype's name, whether given as "float32" or as ``paddle.float32``, in every Paddle version."""
    return str(dtype).rsplit(".", maxsplit=1)[-1]


def to_numpy(x: Tensor) -> np.ndarray:
    """The array of a tensor: of bfloat16, which numpy has not, in float32."""
    return (x.astype("float32") if dtype_name(x.dtype) == "bfloat16" else x).numpy()


def grid_dtype(dtype: Any) -> str:
    """Of the grid for features of a dtype: float64 for float64, else float32, half precision included."""
    return "float64" if dtype_name(dtype) == "float64" else "float32"


@paddle.jit.not_to_static
def shape_of(x: Tensor) -> List[Any]:
    """The lengths of the axes: ints, and in a graph Tensors for those that are not known yet."""
    return [length if length >= 0 else paddle.shape(x)[axis] for axis, length in enumerate(x.shape)]


@paddle.jit.not_to_static
def expand_to_batch(grid: Tensor, x: Tensor) -> Tensor:
    """A grid ``[1, ...]`` for each sample of x ``[N, ...]``: ``[N, ...]``; one that has N already stays as it is."""
    n, others = shape_of(x)[0], grid.ndim - 1
    if grid.shape[0] != 1:
        return grid
    # Paddle2ONNX crashes on what is expanded.
    return grid.expand([n] + [-1] * others) if is_eager() else paddle.tile(grid, [n] + [1] * others)


def to_channels_first(x: Tensor) -> Tensor:
    """``[N, *spatial, C]`` -> ``[N, C, *spatial]``."""
    return x.transpose([0, x.ndim - 1] + list(range(1, x.ndim - 1)))


def to_channels_last(x: Tensor) -> Tensor:
    """``[N, C, *spatial]`` -> ``[N, *spatial, C]``."""
    return x.transpose([0] + list(range(2, x.ndim)) + [1])
