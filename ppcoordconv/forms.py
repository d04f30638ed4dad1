"""The forms in which a CoordConv is computed, and why a form is not chosen for a call: one table, ``FORMS``.

Convolution is linear: ``conv([x; g]; [Wx; Wg]) = conv(x; Wx) + conv(g; Wg)``. The second term, the offset, is the same
for every sample. It is computed in the grid's own precision, float32 for half-precision features, and rounded once.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from .affine import AffineGrid
from .compat import autocast_disabled, autocast_is_on, expand_to_batch, is_eager, is_eager_on_cpu
from .offset import add_offset, add_offset_in_place, repeat_offset

# By the number of spatial axes, and whether the convolution is transposed.
CONV: Dict[Tuple[int, bool], Callable[..., Tensor]] = {
    (1, False): F.conv1d,
    (2, False): F.conv2d,
    (3, False): F.conv3d,
    (1, True): F.conv1d_transpose,
    (2, True): F.conv2d_transpose,
    (3, True): F.conv3d_transpose,
}
CHANNELS_FIRST = {1: "NCL", 2: "NCHW", 3: "NCDHW"}


class ConvSpec(NamedTuple):
    """Everything about a convolution but its tensors; ``coords_first``: the weight begins with the grid's channels."""

    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    padding_mode: str = "zeros"
    transposed: bool = False
    output_padding: Any = 0
    output_size: Any = None
    coords_first: bool = False

    def with_output_size(self, size: Any) -> ConvSpec:
        """Of a transposed convolution; an int, a list of them, or None, which changes nothing."""
        if size is None:
            return self
        return self._replace(output_size=size if isinstance(size, int) else tuple(size))


def no_cache(key: Tuple[Any, ...], values: List[Any], compute: Callable[[], Tensor], max_size: int) -> Tensor:
    """Computes; a layer's cache, which has the same signature, may return an earlier result instead."""
    return compute()


class Call(NamedTuple):
    """One convolution over a grid: features ``[N, C, *spatial]``, grid ``[1 or N, d, *spatial]``, parameters.

    The grid is a Tensor or, for the forms ``cached`` and ``matmul``, an ``AffineGrid``; ``run`` expands it for others.
    """

    x: Tensor
    grid: Any
    weight: Tensor
    bias: Optional[Tensor]
    spec: ConvSpec
    cache: Callable[..., Tensor] = no_cache


# ---- What the forms are made of


def conv_nd(x: Tensor, weight: Tensor, bias: Optional[Tensor], spec: ConvSpec) -> Tensor:
    """Paddle's convolution of channels-first x by a spec."""
    rank = x.ndim - 2
    options = {"stride": spec.stride, "padding": spec.padding, "dilation": spec.dilation, "groups": spec.groups}
    if spec.transposed:
        options["output_padding"] = spec.output_padding if spec.output_size is None else 0
        options["output_size"] = spec.output_size
    elif spec.padding_mode != "zeros":
        x = F.pad(x, [spec.padding] * (2 * rank), mode=spec.padding_mode, data_format=CHANNELS_FIRST[rank])
        options["padding"] = 0
    return CONV[rank, spec.transposed](x, weight, bias, **options)


def split_weight(weight: Tensor, grid_channels: int, spec: ConvSpec) -> Tuple[Tensor, Tensor]:
    """The weight on the features, and that on the grid: for one group, since every group sees the whole grid."""
    d = grid_channels
    if spec.transposed:
        # [groups * (in / groups + d), out / groups, *kernel] -> [groups, in / groups + d, out / groups, *kernel]
        weight = weight.reshape([spec.groups, -1, *weight.shape[1:]])
    features = weight.shape[1] - d
    if spec.coords_first:
        w_grid, w_x = paddle.split(weight, [d, features], axis=1)
    else:
        w_x, w_grid = paddle.split(weight, [features, d], axis=1)
    if spec.transposed:
        w_x = w_x.reshape([-1, *w_x.shape[2:]])
        # [groups, d, out / groups, *kernel] -> [d, out, *kernel]
        w_grid = w_grid.transpose([1, 0, *range(2, w_grid.ndim)]).reshape([d, -1, *w_grid.shape[3:]])
    return w_x, w_grid


def unfold_grid(grid: Tensor, kernel: List[int], spec: ConvSpec) -> Tensor:
    """im2col of grids ``[n, d, *spatial]``: ``[n, d * prod(kernel), places of the output]``."""
    d = grid.shape[1]
    count = d * math.prod(kernel)
    each = paddle.eye(count, dtype=grid.dtype).reshape([count, d, *kernel])
    if spec.transposed:
        each = each.transpose([1, 0, *range(2, each.ndim)])
    return conv_nd(grid, each, None, spec._replace(groups=1)).reshape([grid.shape[0], count, -1])


def _rows_and_columns(call: Call, w_grid: Tensor, max_size: int) -> Tuple[Tensor, Tensor]:
    """Two matrices, or a batch of the second, whose product is the offset and the bias.

    They are ``[out, K]`` and ``[1 or N, K, places]``; of an affine grid, whose samples share im2col of a map of ones
    and of the ramps, ``[N * out, K]`` and ``[K, places]``.
    """
    grid, bias, spec = call.grid, call.bias, call.spec
    kernel = w_grid.shape[2:]
    key = (spec, tuple(kernel), bias is None)
    rows = w_grid.transpose([1, 0, *range(2, w_grid.ndim)]) if spec.transposed else w_grid
    out = rows.shape[0]
    rows = rows.reshape([*rows.shape[:2], -1])  # not flatten, which Paddle can't differentiate twice

    def unfold(maps: Tensor) -> Tensor:
        columns = unfold_grid(maps, kernel, spec)
        return columns if bias is None else paddle.concat([columns, paddle.ones_like(columns[:, :1])], axis=1)

    if isinstance(grid, AffineGrid):
        n, d, _ = grid.ends.shape

        def unfold_ramps() -> Tensor:
            return unfold(paddle.concat([paddle.ones_like(grid.ramps[:, :1]), grid.ramps], axis=1))[0]

        columns = call.cache(("ramps", grid.ramps, *key), [], unfold_ramps, max_size)
        first, rise = grid.ends.reshape([n, 1, d, 1, 2]).unbind(4)
        rows = paddle.concat([(rows * first).sum(2, keepdim=True), rows * rise], axis=2).reshape([n * out, -1])
        bias = bias if bias is None else paddle.concat([bias] * n)
    elif grid.shape[0] == 1:
        columns = call.cache(("columns", grid, *key), [], lambda: unfold(grid), max_size)
    else:
        columns = unfold(grid)
    rows = rows.reshape([rows.shape[0], -1])
    return (rows if bias is None else paddle.concat([rows, bias.unsqueeze(1)], axis=1)), columns


def _out_channels(call: Call) -> int:
    return call.weight.shape[1] * call.spec.groups if call.spec.transposed else call.weight.shape[0]


def _features_and_offset(call: Call) -> Tuple[Tensor, Tensor]:
    """Both convolutions: ``[N, out, *places]`` and ``[1 or N, out, *places]``, one of which has the bias."""
    w_x, w_grid = split_weight(call.weight, call.grid.shape[1], call.spec)
    # On the offset, it is added once for all samples; with one sample it is as cheap on the features, and the offset's
    # gradients take less memory.
    on_features, on_offset = (call.bias, None) if call.x.shape[0] == 1 else (None, call.bias)
    y = conv_nd(call.x, w_x, on_features, call.spec)
    return y, _offset(call, w_grid, on_offset).astype(y.dtype)


def _offset(call: Call, w_grid: Tensor, bias: Optional[Tensor]) -> Tensor:
    dtype = call.grid.dtype
    bias = None if bias is None else bias.astype(dtype)
    with autocast_disabled():
        return conv_nd(call.grid, w_grid.astype(dtype), bias, call.spec._replace(groups=1))


def _offset_maps(grid: AffineGrid, w_grid: Tensor, bias: Optional[Tensor], spec: ConvSpec) -> Tensor:
    """Of ones and of the ramp in each channel, and the bias: ``[2 * d or one more, out * places]``."""
    d = grid.shape[1]
    ramps = paddle.stack([paddle.ones_like(grid.ramps[0]), grid.ramps[0]], axis=1)  # [d, 2, *spatial]
    each = paddle.eye(d, dtype=ramps.dtype).reshape([d, 1, d] + [1] * (ramps.ndim - 2))
    maps = conv_nd((ramps.unsqueeze(2) * each).flatten(0, 1), w_grid, None, spec._replace(groups=1))
    if bias is not None:
        maps = paddle.concat([maps, bias.reshape([1, -1] + [1] * (maps.ndim - 2)).expand_as(maps[:1])])
    return maps.flatten(1)


# ---- The forms: Call -> [N, out, *places]


def concat(call: Call) -> Tensor:
    """One convolution of the concatenation, group by group; the grid is rounded to the features' dtype."""
    x, grid, weight, bias, spec, _ = call
    grid = expand_to_batch(grid.astype(x.dtype), x)
    if grid.stop_gradient and not x.stop_gradient:
        # Beside a constant, Paddle's concatenation is not twice differentiable.
        grid = grid.detach()
        grid.stop_gradient = False
    parts: List[Tensor] = []
    for features in [x] if spec.groups == 1 else paddle.split(x, spec.groups, axis=1):
        parts += [grid, features] if spec.coords_first else [features, grid]
    x = paddle.concat(parts, axis=1)
    if bias is None or not is_eager_on_cpu(x):
        return conv_nd(x, weight, bias, spec)
    return add_offset(conv_nd(x, weight, None, spec), bias.reshape([1, -1] + [1] * (x.ndim - 2)))


def cached(call: Call) -> Tensor:
    """The offset, or the maps that each sample's is a sum of, is computed once for a size and the weights' values."""
    x, grid, weight, bias, spec, cache = call
    w_x, w_grid = split_weight(weight, grid.shape[1], spec)
    y = conv_nd(x, w_x, None, spec)
    # Weights are compared by value, because most of Paddle's ways to change them leave no other trace.
    values = [w_grid.numpy()] if bias is None else [w_grid.numpy(), bias.numpy()]
    if isinstance(grid, AffineGrid):
        maps = cache(("maps", grid.ramps, spec), values, lambda: _offset_maps(grid, w_grid, bias, spec), y.size)
        parts = grid.ends.reshape([len(y), -1])
        parts = parts if bias is None else F.pad(parts, [0, 0, 0, 1], value=1.0)
        return y.reshape([len(y), -1]).addmm_(parts, maps).reshape(y.shape)
    key = ("offset", grid, spec, y.dtype, *y.shape)
    return add_offset_in_place(y, cache(key, values, lambda: repeat_offset(y, _offset(call, w_grid, bias)), y.size))


def matmul(call: Call) -> Tensor:
    """The offset as a matrix product, ``[Wg, bias] @ [im2col(grid); 1]``: of one grid for all samples, of one for each,
    or of ramps that all share, by what each sample has of them.
    """
    x, grid, weight, bias, spec, _ = call
    w_x, w_grid = split_weight(weight, grid.shape[1], spec)
    y = conv_nd(x, w_x, None, spec)
    with autocast_disabled():
        rows, columns = _rows_and_columns(call, w_grid, y.size)
        if columns.ndim == 2 and not paddle.is_grad_enabled() and y.dtype == rows.dtype:
            return y.reshape([len(rows), -1]).addmm_(rows, columns).reshape(y.shape)
        offset = paddle.matmul(rows, columns)
        return add_offset(y, offset.reshape([-1, *y.shape[1:]]).astype(y.dtype))


def broadcast(call: Call) -> Tensor:
    """The sum of both convolutions, the offset broadcast over the batch."""
    y, offset = _features_and_offset(call)
    return paddle.add(y, offset)


def split(call: Call) -> Tensor:
    """The sum of both convolutions, the offset repeated for each sample: the reference."""
    return add_offset(*_features_and_offset(call))


# ---- Why a form is not chosen; "": nothing speaks against it


def _concat_refused(call: Call) -> str:
    x, grid, weight, _, spec, _ = call
    if not is_eager():
        return "in a graph it is for layers that were converted to deploy"
    if not x.place.is_cpu_place():
        return "the features are on a GPU, which adds an offset at no cost"
    if math.prod(weight.shape) <= math.prod(x.shape):
        return "to copy the features costs more than to split the weight"
    if spec.groups > 1:
        return f"groups={spec.groups}"
    if spec.coords_first:
        # The sums over the features would begin elsewhere, and the last bits of a converted model change.
        return "the coordinate channels come first"
    return "the grid would be rounded to the features' dtype" if grid.dtype != x.dtype or autocast_is_on() else ""


def _not_for_cpu(call: Call) -> str:
    if not is_eager_on_cpu(call.x):
        return "it is for CPUs in eager mode, where Paddle is slow at broadcasting"
    return "" if call.grid.stop_gradient else "the grid has a gradient"


def _cached_impossible(call: Call) -> str:
    if reason := _not_for_cpu(call):
        return reason
    x, grid = call.x, call.grid
    if not isinstance(grid, AffineGrid) and grid.shape[0] != 1:
        return "each sample has a grid of its own"
    if paddle.is_grad_enabled():
        return "gradients are recorded"
    if isinstance(grid, AffineGrid) and (x.dtype != grid.dtype or autocast_is_on()):
        return "the parts of the offset would be rounded to the features' dtype"
    return ""


def _cached_refused(call: Call) -> str:
    if reason := _cached_impossible(call):
        return reason
    if isinstance(call.grid, AffineGrid):
        if call.grid.shape[0] < 2 * call.grid.shape[1] + 1:
            return "the parts of the samples' offsets are more than the samples"
        if math.prod(call.weight.shape[2:]) == 1:
            return "with a kernel of one place, the ramps are fewer than the parts"
    return ""


def _matmul_impossible(call: Call) -> str:
    dtypes = call.grid.dtype, call.weight.dtype
    return _not_for_cpu(call) or ("" if dtypes[0] == dtypes[1] else "the grid is {}, the weight {}".format(*dtypes))


def _matmul_refused(call: Call) -> str:
    if reason := _matmul_impossible(call):
        return reason
    x, grid, weight, _, _, _ = call
    is_affine = isinstance(grid, AffineGrid)
    rows = (grid.shape[1] + is_affine) * math.prod(weight.shape[2:]) + 1
    if (1 if is_affine else grid.shape[0]) * rows > x.shape[0] * _out_channels(call):
        return "the unfolded grid would be larger than the output"
    return ""


def _broadcast_refused(call: Call) -> str:
    if not is_eager():
        return "in a graph, oneDNN adds maps of one shape only"
    return "Paddle's CPU kernels are slow at broadcasting" if call.x.place.is_cpu_place() else ""


class Form(NamedTuple):
    """A way to compute: the function, and what tells why it is not chosen for a call, or can't be."""

    compute: Callable[[Call], Tensor]
    refused: Callable[[Call], str]
    impossible: Callable[[Call], str] = lambda call: ""


# The first that is not refused is chosen.
FORMS: Dict[str, Form] = {
    "concat": Form(concat, _concat_refused),
    "cached": Form(cached, _cached_refused, _cached_impossible),
    "matmul": Form(matmul, _matmul_refused, _matmul_impossible),
    "broadcast": Form(broadcast, _broadcast_refused),
    "split": Form(split, lambda call: ""),
}


@paddle.jit.not_to_static
def run(call: Call, form: Optional[str] = None) -> Tensor:
    """Computes a call in the given form, or in the first that is not refused."""
    name = form or chosen_form(call)
    if isinstance(call.grid, AffineGrid) and name not in ("cached", "matmul"):
        call = call._replace(grid=call.grid.expand())
    return FORMS[name].compute(call)


@paddle.jit.not_to_static
def chosen_form(call: Call) -> str:
    for name, form in FORMS.items():  # noqa: B007 - Paddle can't trace a generator here
        if not form.refused(call):
            break
    return name
