"""CoordConv, normalisation and activation in one block."""

from __future__ import annotations

from typing import Callable, Optional

from paddle import nn

from ..coords import CoordsLike
from .checks import IntOrInts, Padding, check_ints
from .coord_conv import CoordConv


class CoordConvNormActivation(nn.Sequential):
    """CoordConv, normalisation, activation: ``paddle.vision.ops.ConvNormActivation`` with CoordConv.

    Parameters:
        in_channels, out_channels, kernel_size, stride, groups, dilation: ``CoordConv``'s.
        padding: ``CoordConv``'s; None: what keeps the size at stride 1, ``(kernel_size - 1) // 2 * dilation``.
        norm_layer: called with ``out_channels``; None: no normalisation.
        activation_layer: called without arguments; None: no activation.
        bias: whether the convolution has a bias; None: only where no normalisation follows.
        coords, with_r: ``CoordConv``'s.

    Shape:
        - input: ``[N, in_channels, H, W]``, floating. Output: ``CoordConv``'s.

    Raises:
        TypeError, ValueError: as ``CoordConv``.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> block = pcc.CoordConvNormActivation(16, 32, 3, activation_layer=paddle.nn.Silu)
        >>> tuple(block(paddle.zeros([2, 16, 5, 7])).shape)
        (2, 32, 5, 7)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts = 3,
        stride: IntOrInts = 1,
        padding: Optional[Padding] = None,
        groups: int = 1,
        norm_layer: Optional[Callable[[int], nn.Layer]] = nn.BatchNorm2D,
        activation_layer: Optional[Callable[[], nn.Layer]] = nn.ReLU,
        dilation: IntOrInts = 1,
        bias: Optional[bool] = None,
        *,
        coords: CoordsLike = "paddle",
        with_r: bool = False,
    ) -> None:
        for name, value in (("kernel_size", kernel_size), ("dilation", dilation)):
            check_ints(self, name, value, lengths=[2], minimum=1)
        if padding is None:
            sizes, steps = ([n, n] if isinstance(n, int) else n for n in (kernel_size, dilation))
            padding = [(size - 1) // 2 * step for size, step in zip(sizes, steps)]
        has_bias = norm_layer is None if bias is None else bias
        layers = [
            CoordConv(
                in_channels,
                out_channels,
                kernel_size,
                stride,
                padding,
                dilation,
                groups,
                bias_attr=None if has_bias else False,
                coords=coords,
                with_r=with_r,
            )
        ]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer())
        super().__init__(*layers)
