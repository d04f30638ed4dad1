"""Weights that learnt with PaddleDetection's legacy coordinates, for the right ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import nn

from ..coords import find_coords
from ..layers import CoordConvNd


def paddledet_legacy_to_paddle(layer: Any) -> nn.Layer:
    """Turns a CoordConv with ``coords="paddledet_legacy"`` into one with ``coords="paddle"``, in place.

    The outputs do not change.

    The legacy coordinate is ``(x - 3) / 4`` of the other, so the weights on it are divided by 4, and the bias takes
    what is constant. That is exact where no zeros stand beside the map: without padding, or padded by another mode.
    (A map with an axis of length 1, where both conventions give 0, is the exception.)

    Parameters:
        layer: any of the six layers, with a bias.

    Returns:
        The layer.

    Raises:
        TypeError: it is no CoordConv.
        ValueError: it has other coords, a radius channel, no bias, or is padded with zeros.

    Examples:
        >>> import ppcoordconv as pcc
        >>> pcc.paddledet_legacy_to_paddle(pcc.CoordConv(8, 4, 1, coords="paddledet_legacy")).extra_repr()
        "coords='paddle', with_r=False, data_format='NCHW'"
    """
    if not isinstance(layer, CoordConvNd):
        raise TypeError(f"paddledet_legacy_to_paddle takes a CoordConv, got {type(layer).__name__}")
    conv = layer.conv
    if layer.convention != find_coords("paddledet_legacy"):
        raise ValueError(f"paddledet_legacy_to_paddle takes a layer with coords='paddledet_legacy', got {layer}")
    if layer.with_r:
        raise ValueError("a radius of legacy coordinates is no linear function of the others, so it can't be converted")
    if conv.bias is None:
        raise ValueError("the layer has no bias, which must take what is constant in the legacy coordinates")
    if conv.transposed or (conv._padding_mode == "zeros" and not _is_unpadded(conv._padding)):
        raise ValueError(
            "the zeros beside the map, of padding or of a transposed convolution, are other coordinates in each "
            f"convention, so only unpadded convolutions can be converted, got {conv}"
        )
    with paddle.no_grad():
        # paddledet_legacy has its channels after the features.
        w_grid = conv.weight[:, -conv.grid_channels :]
        conv.bias.set_value(conv.bias - 0.75 * w_grid.sum(list(range(1, w_grid.ndim))))
        conv.weight.set_value(paddle.concat([conv.weight[:, : -conv.grid_channels], 0.25 * w_grid], axis=1))
    layer.coords, layer.convention = "paddle", find_coords("paddle")
    return layer


def _is_unpadded(padding: Any) -> bool:
    if isinstance(padding, str):
        return padding.upper() == "VALID"
    return not np.any(padding)
