"""How much of what a model has learnt lies on the coordinates."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple

import numpy as np
from paddle import nn

from .forms import split_weight
from .layers import CoordConvNd, GridConv


class CoordUsage(NamedTuple):
    """The L2 norm of a CoordConv's weights on the coordinates, divided by that of all its weights: 0 to 1.

    Attributes:
        total: over the whole layer.
        per_channel: ``[out_channels]``, for each output channel.
    """

    total: float
    per_channel: np.ndarray


def coord_usage(model: nn.Layer) -> Dict[str, CoordUsage]:
    """For each CoordConv of a model, by name: the share of its weights' norm that lies on the coordinates.

    A layer that was just converted has 0, one that looks at nothing but the coordinates 1.

    Parameters:
        model: any network; it is left alone.

    Returns:
        By the layer's name, the share in all and for each output channel. Empty where there is no CoordConv.

    Raises:
        TypeError: ``model`` is not a layer.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> net = pcc.convert_to_coordconv(paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3)))
        >>> pcc.coord_usage(net)["0"].total
        0.0
    """
    if not isinstance(model, nn.Layer):
        raise TypeError(f"coord_usage takes a paddle.nn.Layer, got {type(model).__name__}")
    named = model.named_sublayers(include_self=True)
    return {name: _usage(layer.conv) for name, layer in named if isinstance(layer, CoordConvNd)}


def _usage(conv: GridConv) -> CoordUsage:
    w_x, w_grid = (w.astype("float64").numpy() for w in split_weight(conv.weight, conv.grid_channels, conv.spec()))
    if conv.transposed:
        # [in, out / groups, *kernel] -> [out, ...], and [d, out, *kernel] -> [out, ...]
        w_x = w_x.reshape(conv._groups, -1, *w_x.shape[1:]).swapaxes(1, 2).reshape(conv._out_channels, -1)
        w_grid = w_grid.swapaxes(0, 1)
    on_grid, on_features = ((w.reshape(len(w), -1) ** 2).sum(axis=1) for w in (w_grid, w_x))
    return CoordUsage(total=float(_share(on_grid.sum(), on_features.sum())), per_channel=_share(on_grid, on_features))


def _share(on_grid: Any, on_features: Any) -> Any:
    everything = on_grid + on_features
    return np.sqrt(on_grid / np.where(everything > 0, everything, 1))
