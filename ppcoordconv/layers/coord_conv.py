"""The convolutions with coordinates: CoordConv (2-D), CoordConv1D, CoordConv3D."""

from __future__ import annotations

from typing import Any

from ..coords import CoordsLike
from .base import CoordConvNd
from .checks import IntOrInts, Padding


class CoordConv(CoordConvNd):
    """A 2-D convolution that also sees where it is (Liu et al. 2018, arXiv:1807.03247).

    Equal to ``nn.Conv2D`` on the concatenation of the input and its coordinate channels. The positional arguments are
    ``nn.Conv2D``'s, so a ``Conv2D`` call becomes a ``CoordConv`` call by changing the name only.

    Parameters:
        in_channels: the input's channels; the coordinate channels are not counted.
        out_channels: the output's channels.
        kernel_size, stride, dilation: an int, or one for height and one for width.
        padding: an int; two, for height and width; four, ``[top, bottom, left, right]``; four pairs, one for each axis
            of the input; "SAME" or "VALID".
        groups: every group sees all coordinate channels, as if its features were followed by them.
        padding_mode: "zeros", "reflect", "replicate" or "circular"; the last three take an int for ``padding``. The
            coordinates are padded like the features.
        weight_attr, bias_attr: as ``nn.Conv2D`` takes them; ``bias_attr=False`` leaves the bias out.
        data_format: "NCHW" or "NHWC".
        coords: the name of a convention (``pcc.list_coords()``), a ``pcc.Coords``, "relative", an encoding as
            "fourier(4)" or "learnt(16, 32)", a list of these, which are joined, or a ``pcc.Given``.
        with_r: adds the radius channel.

    Shape:
        - input: ``[N, in_channels, H, W]`` (``[N, H, W, in_channels]`` for "NHWC"), floating.
        - output: ``nn.Conv2D``'s.
        - ``conv.weight``: ``[out_channels, in_channels / groups + d, *kernel_size]``, d being 2, or 3 with the radius:
          with one group, the weight of the convolution of the concatenation. ``conv.bias``: ``[out_channels]``.

    Raises:
        TypeError, ValueError: when built, a wrong argument; when called, an input of a wrong rank, channel count or
            dtype.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.CoordConv(16, 32, 3, padding=1)
        >>> tuple(layer(paddle.zeros([8, 16, 5, 7])).shape)
        (8, 32, 5, 7)
        >>> {name: tuple(value.shape) for name, value in layer.state_dict().items()}
        {'conv.weight': (32, 18, 3, 3), 'conv.bias': (32,)}
    """

    rank = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
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
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            data_format=data_format,
            coords=coords,
            with_r=with_r,
        )


CoordConv2D = CoordConv


class CoordConv1D(CoordConvNd):
    """A 1-D convolution that also sees where it is; with ``nn.Conv1D``'s arguments.

    Shape:
        - input: ``[N, in_channels, L]`` (``[N, L, in_channels]`` for "NLC"), floating.
        - output: ``nn.Conv1D``'s.
        - ``conv.weight``: ``[out_channels, in_channels / groups + d, kernel_size]``, d being 1, or 2 with the radius.

    Raises:
        TypeError, ValueError: as ``CoordConv``.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.CoordConv1D(16, 32, 3, padding=1)
        >>> tuple(layer(paddle.zeros([8, 16, 40])).shape)
        (8, 32, 40)
    """

    rank = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
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
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            data_format=data_format,
            coords=coords,
            with_r=with_r,
        )


class CoordConv3D(CoordConvNd):
    """A 3-D convolution that also sees where it is; with ``nn.Conv3D``'s arguments.

    Shape:
        - input: ``[N, in_channels, D, H, W]`` (``[N, D, H, W, in_channels]`` for "NDHWC"), floating.
        - output: ``nn.Conv3D``'s.
        - ``conv.weight``: ``[out_channels, in_channels / groups + d, *kernel_size]``, d being 3, or 4 with the radius.

    Raises:
        TypeError, ValueError: as ``CoordConv``.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.CoordConv3D(4, 8, 3, padding=1, with_r=True)
        >>> tuple(layer(paddle.zeros([2, 4, 3, 5, 7])).shape)
        (2, 8, 3, 5, 7)
    """

    rank = 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        stride: IntOrInts = 1,
        padding: Padding = 0,
        dilation: IntOrInts = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
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
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            data_format=data_format,
            coords=coords,
            with_r=with_r,
        )
