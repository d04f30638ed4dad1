"""The transposed convolutions with coordinates."""

from __future__ import annotations

from typing import Any, Optional

from paddle import Tensor

from ..coords import CoordsLike
from .base import CoordConvNd
from .checks import IntOrInts, Padding


class CoordConvTransposeNd(CoordConvNd):
    """What the three share: they are called as Paddle's are, ``layer(x, output_size)``."""

    transposed = True

    def forward(  # type: ignore[override]
        self, x: Tensor, output_size: Any = None, grid: Optional[Tensor] = None
    ) -> Tensor:
        return CoordConvNd.forward(self, x, grid, output_size)  # Paddle 2.6 can't trace super()


class CoordConv1DTranspose(CoordConvTransposeNd):
    """A transposed 1-D convolution that also sees where it is; the arguments are ``nn.Conv1DTranspose``'s.

    Shape:
        - input: ``[N, in_channels, L]`` (``[N, L, in_channels]`` for "NLC"), floating; ``output_size`` as Paddle's.
        - output: ``nn.Conv1DTranspose``'s.
        - ``conv.weight``: ``[in_channels + groups * d, out_channels / groups, kernel_size]``, d being 1, or 2 with the
          radius.

    Raises:
        TypeError, ValueError: as ``CoordConv``.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.CoordConv1DTranspose(16, 8, 2, stride=2)
        >>> tuple(layer(paddle.zeros([4, 16, 5])).shape)
        (4, 8, 10)
    """

    rank = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        output_padding: IntOrInts = 0,
        groups: int = 1,
        dilation: IntOrInts = 1,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCL",
        *,
        coords: CoordsLike = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
            dilation=dilation,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            data_format=data_format,
            coords=coords,
            with_r=with_r,
        )


class CoordConv2DTranspose(CoordConvTransposeNd):
    """A transposed 2-D convolution that also sees where it is; the arguments are ``nn.Conv2DTranspose``'s.

    Equal to ``nn.Conv2DTranspose`` on the concatenation of the input and its coordinate channels.

    Shape:
        - input: ``[N, in_channels, H, W]`` (``[N, H, W, in_channels]`` for "NHWC"), floating; ``output_size`` as
          Paddle's.
        - output: ``nn.Conv2DTranspose``'s.
        - ``conv.weight``: ``[in_channels + groups * d, out_channels / groups, *kernel_size]``, d being 2, or 3 with the
          radius.

    Raises:
        TypeError, ValueError: as ``CoordConv``.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.CoordConv2DTranspose(16, 8, 2, stride=2)
        >>> tuple(layer(paddle.zeros([4, 16, 5, 7])).shape)
        (4, 8, 10, 14)
    """

    rank = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        output_padding: IntOrInts = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCHW",
        *,
        coords: CoordsLike = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            data_format=data_format,
            coords=coords,
            with_r=with_r,
        )


class CoordConv3DTranspose(CoordConvTransposeNd):
    """A transposed 3-D convolution that also sees where it is; the arguments are ``nn.Conv3DTranspose``'s.

    Shape:
        - input: ``[N, in_channels, D, H, W]`` (``[N, D, H, W, in_channels]`` for "NDHWC"), floating; ``output_size`` as
          Paddle's.
        - output: ``nn.Conv3DTranspose``'s.
        - ``conv.weight``: ``[in_channels + groups * d, out_channels / groups, *kernel_size]``, d being 3, or 4 with the
          radius.

    Raises:
        TypeError, ValueError: as ``CoordConv``.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.CoordConv3DTranspose(4, 2, 2, stride=2)
        >>> tuple(layer(paddle.zeros([1, 4, 3, 5, 7])).shape)
        (1, 2, 6, 10, 14)
    """

    rank = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        output_padding: IntOrInts = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCDHW",
        *,
        coords: CoordsLike = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            data_format=data_format,
            coords=coords,
            with_r=with_r,
        )
