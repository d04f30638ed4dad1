"""The layers: a convolution that knows where it is, and the coordinate channels alone.

Imports paddle and nothing else of weight, so that it can be taken along with ``coords.py``.
"""

from __future__ import annotations

import contextlib
import math
from numbers import Integral
from typing import Any, Callable, ContextManager, Dict, List, Optional, Sequence, Tuple, Type, Union

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.framework import in_dynamic_or_pir_mode
from paddle.jit.sot.psdb import in_sot

from .coords import Coords, coord_grid, count_channels, dtype_name, find_coords

# By the number of spatial axes: channels first, channels last.
DATA_FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
HALF, SINGLE, DOUBLE = ("float16", "bfloat16"), "float32", "float64"

IntOrInts = Union[int, Sequence[int]]
Padding = Union[str, int, Sequence[int], Sequence[Sequence[int]]]


class AddCoords(nn.Layer):
    """Concatenates the coordinate channels to a feature map (Liu et al. 2018, arXiv:1807.03247).

    Parameters:
        coords: the name of a convention (``pcc.list_coords()``) or a ``pcc.Coords``.
        with_r: adds the radius channel.
        data_format: "NCL", "NCHW", "NCDHW", "NLC", "NHWC" or "NDHWC"; None: channels first, for every rank.

    Shape:
        - input: ``[N, C, *spatial]`` with one to three spatial axes (channels last: ``[N, *spatial, C]``), floating.
        - output: the same with ``C + d`` channels, d being the number of spatial axes, one more with the radius. The
          coordinates are rounded to the input's dtype.

    Raises:
        TypeError, ValueError: when built, a wrong argument; when called, an input of a wrong rank or dtype.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> x = paddle.zeros([8, 16, 5, 7])
        >>> tuple(pcc.AddCoords(with_r=True)(x).shape)
        (8, 19, 5, 7)
    """

    def __init__(
        self, coords: Union[str, Coords] = "paddle", with_r: bool = False, data_format: Optional[str] = None
    ) -> None:
        super().__init__()
        formats = [None] + [name for pair in DATA_FORMATS.values() for name in pair]
        _check_choice(self, "data_format", data_format, formats)
        _check_flag(self, "with_r", with_r)
        self._convention = find_coords(coords)
        self._coords = coords
        self._with_r = with_r
        self._data_format = data_format

    def forward(self, x: Tensor) -> Tensor:
        _check_input(self, x, [3, 4, 5] if self._data_format is None else [len(self._data_format)])
        channel_last = self._data_format is not None and self._data_format.endswith("C")
        x = _channels_first(x) if channel_last else x
        grid = for_each_of(x, _grid_for(x, self._convention, self._with_r).astype(x.dtype))
        y = paddle.concat([grid, x] if self._convention.coords_first else [x, grid], axis=1)
        return _channels_last(y) if channel_last else y

    def extra_repr(self) -> str:
        return f"coords={self._coords!r}, with_r={self._with_r}, data_format={self._data_format!r}"


class _OverGrid:
    """Makes one of Paddle's convolutions that of the concatenation of a feature map and a grid.

    Convolution is linear: ``conv([x; g]; [Wx; Wg]) = conv(x; Wx) + conv(g; Wg)``, so nothing is concatenated. The
    second term, the offset, has no batch axis. It is convolved in the grid's own precision, float32 for half-precision
    features, and rounded once; it carries the bias.
    """

    _function: Callable[..., Tensor]
    _transposes = False
    # Of Paddle's layer:
    weight: Tensor
    bias: Optional[Tensor]
    output_padding: Any
    training: bool
    _groups: int
    _stride: Any
    _padding: Any
    _padding_mode: str
    _dilation: Any
    _kernel_size: List[int]
    create_parameter: Callable[..., Tensor]

    def look_at(self, grid_channels: int, grid_first: bool) -> None:
        self._grid_channels = grid_channels
        self._grid_first = grid_first
        self.has_ones = False
        self.deployed = False
        self.broadcasts = False
        self._last_taps: Optional[Tuple[Tensor, Any, Tensor]] = None
        self._last_block: Optional[Tuple[Tensor, List[int], np.ndarray, Tensor]] = None

    def forward(self, x: Tensor, grid: Tensor, output_size: Any = None) -> Tensor:
        if is_eager_on_cpu(x):
            return self._forward_on_cpu(x, grid, output_size)
        concatenates = self.deployed and not self.broadcasts and self._groups == 1 and grid.dtype == x.dtype
        if concatenates and not _is_eager():
            return self._convolve(self._concatenate(x, grid), self.weight, self.bias, 1, output_size)
        w_x, w_grid = self._split_weight()
        bias = None if self.bias is None else self.bias.astype(grid.dtype)
        y = self._convolve(x, w_x, None, self._groups, output_size)
        with _uncast():
            offset = self._convolve(grid, w_grid.astype(grid.dtype), bias, 1, output_size).astype(y.dtype)
        return _broadcast_sum(y, offset, self.broadcasts)

    def _forward_on_cpu(self, x: Tensor, grid: Tensor, output_size: Any) -> Tensor:
        """Makes the offset by matrix products, because what is broadcast takes Paddle's CPU kernels many times longer.

        ``offset = [w_grid, bias] @ [taps; 1]``, where the taps are what each weight of the kernel sees of the grid.
        """
        if self._groups == 1 and not self._grid_first and math.prod(self.weight.shape) > math.prod(x.shape):
            # To split the weight would copy more than to concatenate. A grid that comes first would make the sums over
            # the features begin elsewhere, and so change the last bits of a converted model.
            y = self._convolve(self._concatenate(x, grid), self.weight, None, 1, output_size)
            return y if self.bias is None else add_bias(y, self.bias)
        w_x, w_grid = self._split_weight()
        y = self._convolve(x, w_x, None, self._groups, output_size)
        if self._transposes:
            w_grid = w_grid.transpose([1, 0] + list(range(2, w_grid.ndim)))
        rows = w_grid.reshape([w_grid.shape[0], -1])
        if self.bias is not None:
            rows = paddle.concat([rows, self.bias.reshape([-1, 1])], axis=1)
        if not self.training and not paddle.is_grad_enabled():
            return _add_in_place(y, self._kept_block(y, grid, w_grid.shape, rows, output_size))
        if self._last_taps is None or self._last_taps[0] is not grid or self._last_taps[1] != output_size:
            self._last_taps = (grid, output_size, self._taps(grid, w_grid.shape, output_size))
        return _add_to_each(y, paddle.matmul(rows, self._last_taps[2]))

    def move_bias_to_grid(self) -> None:
        """Makes the bias a weight on a channel of ones that follows the coordinates: engines add biases dearly."""
        tap = self._tap_inside()
        if self.bias is None or tap is None or self._groups > 1:
            return
        weight, bias = (parameter.astype(DOUBLE).numpy() for parameter in (self.weight, self.bias))
        on_ones = np.zeros_like(weight[:, :1])
        on_ones[(slice(None), 0) + tap] = bias
        end = self._grid_channels if self._grid_first else weight.shape[1]
        weight = np.concatenate([weight[:, :end], on_ones, weight[:, end:]], axis=1)
        dtype = self.weight.dtype
        self.weight = self.create_parameter(weight.shape, dtype=dtype)
        self.weight.set_value(paddle.to_tensor(weight).astype(dtype))
        self.bias = None
        self._grid_channels += 1
        self.has_ones = True

    def _tap_inside(self) -> Optional[Tuple[int, ...]]:
        """A tap of the kernel that meets no padding, wherever the kernel lies on whichever map; None: there is none."""
        if self._transposes or str(self._padding).upper() == "SAME":
            return None
        padding = self._padding if self._padding_mode == "zeros" else 0
        sides = _sides(padding, len(self._kernel_size))
        tap = []
        for size, step, before, after in zip(self._kernel_size, self._dilation, sides[::2], sides[1::2]):
            tap.append(-(-before // step))
            if (size - 1 - tap[-1]) * step < after:
                return None
        return tuple(tap)

    def _concatenate(self, x: Tensor, grid: Tensor) -> Tensor:
        grid = for_each_of(x, grid)
        # Beside a constant, Paddle's concatenation is not twice differentiable.
        grid.stop_gradient = x.stop_gradient
        return paddle.concat([grid, x] if self._grid_first else [x, grid], axis=1)

    def _kept_block(self, y: Tensor, grid: Tensor, w_grid_shape: List[int], rows: Tensor, output_size: Any) -> Tensor:
        last, values = self._last_block, rows.numpy()
        # Weights are compared by value, because most of Paddle's ways to change them leave no other trace.
        if last is None or last[0] is not grid or last[1] != y.shape or not np.array_equal(last[2], values):
            offset = paddle.matmul(rows, self._taps(grid, w_grid_shape, output_size))
            last = self._last_block = (grid, y.shape, values, _block(y, offset))
        return last[3]

    def _taps(self, grid: Tensor, w_grid_shape: List[int], output_size: Any) -> Tensor:
        """``[weights of a channel's kernel on the grid, places of the output]``, and a row of ones for the bias."""
        channels, *kernel = w_grid_shape[1:]
        count = channels * math.prod(kernel)
        each = paddle.eye(count, dtype=grid.dtype).reshape([count, channels, *kernel])
        if self._transposes:
            each = each.transpose([1, 0] + list(range(2, each.ndim)))
        taps = self._convolve(grid, each, None, 1, output_size).reshape([count, -1])
        return taps if self.bias is None else paddle.concat([taps, paddle.ones_like(taps[:1])])

    def _split_weight(self) -> Tuple[Tensor, Tensor]:
        """The weight on the features, and that on the grid: for one group, since every group sees the whole grid."""
        weight, d = self.weight, self._grid_channels
        if self._transposes:
            # [groups * (in / groups + d), out / groups, *kernel] -> [groups, in / groups + d, out / groups, *kernel]
            weight = weight.reshape([self._groups, -1] + list(weight.shape[1:]))
        features = weight.shape[1] - d
        if self._grid_first:
            w_grid, w_x = paddle.split(weight, [d, features], axis=1)
        else:
            w_x, w_grid = paddle.split(weight, [features, d], axis=1)
        if self._transposes:
            w_x = w_x.reshape([-1] + list(w_x.shape[2:]))
            # [groups, d, out / groups, *kernel] -> [d, out, *kernel]
            w_grid = w_grid.transpose([1, 0] + list(range(2, w_grid.ndim))).reshape([d, -1] + list(w_grid.shape[3:]))
        return w_x, w_grid

    def _convolve(self, x: Tensor, weight: Tensor, bias: Optional[Tensor], groups: int, output_size: Any) -> Tensor:
        options = {"stride": self._stride, "padding": self._padding, "dilation": self._dilation, "groups": groups}
        if self._transposes:
            options["output_padding"] = self.output_padding if output_size is None else 0
            options["output_size"] = output_size
        elif self._padding_mode != "zeros":
            sides = [self._padding] * (2 * (x.ndim - 2))
            x = F.pad(x, sides, mode=self._padding_mode, data_format=DATA_FORMATS[x.ndim - 2][0])
            options["padding"] = 0
        return self._function(x, weight, bias, **options)


# They have the names of Paddle's own, in whose place they stand: in summaries, in what matches layers by type.


class Conv1D(_OverGrid, nn.Conv1D):
    _function = staticmethod(F.conv1d)


class Conv2D(_OverGrid, nn.Conv2D):
    _function = staticmethod(F.conv2d)


class Conv3D(_OverGrid, nn.Conv3D):
    _function = staticmethod(F.conv3d)


class Conv1DTranspose(_OverGrid, nn.Conv1DTranspose):
    _function, _transposes = staticmethod(F.conv1d_transpose), True


class Conv2DTranspose(_OverGrid, nn.Conv2DTranspose):
    _function, _transposes = staticmethod(F.conv2d_transpose), True


class Conv3DTranspose(_OverGrid, nn.Conv3DTranspose):
    _function, _transposes = staticmethod(F.conv3d_transpose), True


class _CoordConv(nn.Layer):
    """What the six layers share: the checks, the grid, the convolution over it."""

    _convolution: Type[Any]

    def __init__(self, *, coords: Any, with_r: Any, padding: Any, data_format: Any, **arguments: Any) -> None:
        super().__init__()
        axes = int(self._convolution.__name__[4])
        _check_convolution(self, axes, padding=padding, data_format=data_format, **arguments)
        _check_flag(self, "with_r", with_r)
        self._convention = find_coords(coords)
        self._coords = coords
        self._with_r = with_r
        self._in_channels = arguments.pop("in_channels")
        self._data_format = data_format
        if data_format.endswith("C") and _is_pairs(padding):
            padding = [padding[0], padding[-1], *padding[1:-1]]
        d = count_channels(axes, with_r)
        self._last_size: Optional[List[int]] = None
        self.register_buffer("_constant_grid", None, persistable=False)
        self.conv = self._convolution(self._in_channels + arguments["groups"] * d, padding=padding, **arguments)
        self.conv.look_at(d, self._convention.coords_first)

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        _check_input(self, x, [len(self._data_format)])
        channels = x.shape[self._data_format.index("C")]
        if channels != self._in_channels:
            raise ValueError(
                f"{_name(self)}: in_channels={self._in_channels}, but the input {list(x.shape)} has {channels} "
                f"channels ({self._data_format}); the coordinate channels are not counted"
            )
        _check_same_dtype(self, x, self.conv.weight)
        if self._data_format.endswith("C"):
            # Convolved channels first: under oneDNN, Paddle mixes up the axes of NHWC maps that are not features.
            return _channels_last(self._forward(_channels_first(x), output_size))
        return self._forward(x, output_size)

    def convert_to_deploy(self) -> None:
        """Prepares ``paddle.jit.save``; Paddle's exporters call it on every layer that has it.

        Graphs traced after it concatenate the grid, for one group in float32, which inference engines run fastest; the
        grid of the size that the layer saw last becomes a constant. Elsewhere nothing changes: not the state dict, not
        what is computed. To call it again does nothing more than to take the last size.
        """
        self.conv.deployed = True
        if self._last_size is not None:
            self._constant_grid = self._whole_grid(coord_grid(self._last_size, self._convention, self._with_r))

    def _forward(self, x: Tensor, output_size: Any) -> Tensor:
        grid = self._grid(x)
        return self.conv(x, grid) if output_size is None else self.conv(x, grid, output_size)

    @paddle.jit.not_to_static
    def _grid(self, x: Tensor) -> Tensor:
        constant = self._constant_grid
        if _is_eager():
            if self._last_size != x.shape[2:]:
                self._last_size = x.shape[2:]
        elif (
            constant is not None and constant.shape[2:] == x.shape[2:] and dtype_name(constant.dtype) == _grid_dtype(x)
        ):
            return constant
        return self._whole_grid(_grid_for(x, self._convention, self._with_r))

    @paddle.jit.not_to_static
    def _whole_grid(self, grid: Tensor) -> Tensor:
        return paddle.concat([grid, paddle.ones_like(grid[:, :1])], axis=1) if self.conv.has_ones else grid

    def extra_repr(self) -> str:
        return f"coords={self._coords!r}, with_r={self._with_r}, data_format={self._data_format!r}"


class CoordConv(_CoordConv):
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
        coords: the name of a convention (``pcc.list_coords()``) or a ``pcc.Coords``.
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

    _convolution = Conv2D

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
        coords: Union[str, Coords] = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(**_arguments(locals()))


CoordConv2D = CoordConv


class CoordConv1D(_CoordConv):
    """A 1-D convolution that also sees where it is; beside ``nn.Conv1D`` what ``CoordConv`` is beside ``nn.Conv2D``.

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

    _convolution = Conv1D

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
        coords: Union[str, Coords] = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(**_arguments(locals()))


class CoordConv3D(_CoordConv):
    """A 3-D convolution that also sees where it is; beside ``nn.Conv3D`` what ``CoordConv`` is beside ``nn.Conv2D``.

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

    _convolution = Conv3D

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
        coords: Union[str, Coords] = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(**_arguments(locals()))


class CoordConv1DTranspose(_CoordConv):
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

    _convolution = Conv1DTranspose

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
        coords: Union[str, Coords] = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(**_arguments(locals()))


class CoordConv2DTranspose(_CoordConv):
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

    _convolution = Conv2DTranspose

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
        coords: Union[str, Coords] = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(**_arguments(locals()))


class CoordConv3DTranspose(_CoordConv):
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

    _convolution = Conv3DTranspose

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
        coords: Union[str, Coords] = "paddle",
        with_r: bool = False,
    ) -> None:
        super().__init__(**_arguments(locals()))


class CoordConvNormActivation(nn.Sequential):
    """CoordConv, normalisation, activation: beside ``paddle.vision.ops.ConvNormActivation``, with its arguments.

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
        coords: Union[str, Coords] = "paddle",
        with_r: bool = False,
    ) -> None:
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


def _arguments(scope: Dict[str, Any]) -> Dict[str, Any]:
    """A constructor's arguments, from its ``locals()``."""
    return {name: value for name, value in scope.items() if name not in ("self", "__class__")}


@paddle.jit.not_to_static
def _is_eager() -> bool:
    # While bytecode is traced, Paddle can't be asked where a tensor is: some versions crash.
    return paddle.in_dynamic_mode() and not in_sot()


@paddle.jit.not_to_static
def is_eager_on_cpu(x: Tensor) -> bool:
    return _is_eager() and x.place.is_cpu_place()


@paddle.jit.not_to_static
def _uncast() -> ContextManager[Any]:
    # Where graphs are cast when they are complete, Paddle refuses this while they are built.
    return paddle.amp.auto_cast(enable=False) if in_dynamic_or_pir_mode() else contextlib.nullcontext()


def _grid_dtype(x: Tensor) -> str:
    return DOUBLE if dtype_name(x.dtype) == DOUBLE else SINGLE


# The grids of the last few shapes, which are constants. In detection, sizes vary from batch to batch.
_GRIDS: Dict[Any, Tensor] = {}
_MOST_GRIDS = 16


@paddle.jit.not_to_static
def _grid_for(x: Tensor, convention: Coords, with_r: bool) -> Tensor:
    """The grid of a feature map ``[N, C, *spatial]``, in its place."""
    dtype = _grid_dtype(x)
    if not _is_eager():
        return coord_grid(_shape(x)[2:], convention, with_r, dtype)
    key = (tuple(x.shape[2:]), convention, with_r, dtype, str(x.place))
    grid = _GRIDS.get(key)
    if grid is None:
        grid = coord_grid(key[0], convention, with_r, dtype)
        if not grid.place._equals(x.place):
            grid = paddle.to_tensor(grid, place=x.place)
        if len(_GRIDS) >= _MOST_GRIDS:
            _GRIDS.clear()
        _GRIDS[key] = grid
    return grid


@paddle.jit.not_to_static
def _broadcast_sum(y: Tensor, offset: Tensor, broadcasts: bool) -> Tensor:
    """``[N, ...]`` plus ``[1, ...]``. A GPU broadcasts for nothing; in graphs, oneDNN wants one shape.

    So does ONNX Runtime for sizes that are not known: it would fuse a sum that it can't run.
    """
    return y + (offset if _is_eager() or (broadcasts and min(offset.shape) > 0) else for_each_of(y, offset))


@paddle.jit.not_to_static
def for_each_of(x: Tensor, grid: Tensor) -> Tensor:
    """``[1, ...]``, once for each sample of x. In graphs it is tiled: Paddle2ONNX crashes on what is expanded."""
    n, others = _shape(x)[0], grid.ndim - 1
    return grid.expand([n] + [-1] * others) if _is_eager() else paddle.tile(grid, [n] + [1] * others)


def add_bias(y: Tensor, bias: Tensor) -> Tensor:
    """``[N, channels, *places]`` plus ``[channels]``, on a CPU."""
    ones = paddle.ones([1, math.prod(y.shape[2:])], y.dtype)
    return _add_to_each(y, paddle.matmul(bias.reshape([-1, 1]), ones))


def _add_to_each(y: Tensor, offset: Tensor) -> Tensor:
    """``[N, channels, *places]`` plus ``[channels, prod(places)]``, on a CPU."""
    if y.stop_gradient and offset.stop_gradient:
        return _add_in_place(y, _block(y, offset))
    count = y.shape[0]
    offsets = paddle.matmul(paddle.ones([count, 1], y.dtype), offset.reshape([1, -1]))
    # In this order Paddle takes the offset's gradient first, and has its memory back when it takes the features'.
    return (offsets + y.reshape([count, -1])).reshape(y.shape)


def _add_in_place(y: Tensor, block: Tensor) -> Tensor:
    """Adds ``[n, ...]`` to every n samples of ``[N, ...]``."""
    count, step = y.shape[0], block.shape[0]
    if step >= count:
        return y.add_(block)
    for start in range(0, count, step):
        size = min(step, count - start)
        y._slice(start, start + size).add_(block if size == step else block._slice(0, size))
    return y


# Few calls for a batch, each long enough to be shared by threads; as many elements are kept in eval.
_BLOCK = 2**20


def _block(y: Tensor, offset: Tensor) -> Tensor:
    """The offset of one sample of y, or of several, where they are small."""
    step = max(1, min(y.shape[0], _BLOCK // math.prod(offset.shape)))
    if step > 1:
        offset = paddle.matmul(paddle.ones([step, 1], offset.dtype), offset.reshape([1, -1]))
    return offset.reshape([step] + y.shape[1:])


def _channels_first(x: Tensor) -> Tensor:
    return x.transpose([0, x.ndim - 1] + list(range(1, x.ndim - 1)))


def _channels_last(x: Tensor) -> Tensor:
    return x.transpose([0] + list(range(2, x.ndim)) + [1])


@paddle.jit.not_to_static
def _shape(x: Tensor) -> List[Any]:
    """The lengths of the axes: ints, and in a static graph Tensors for those that are not known yet."""
    return [length if length >= 0 else paddle.shape(x)[axis] for axis, length in enumerate(x.shape)]


def _check_convolution(
    layer: nn.Layer,
    axes: int,
    *,
    in_channels: Any,
    out_channels: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    weight_attr: Any,
    bias_attr: Any,
    data_format: Any,
    padding_mode: Any = "zeros",
    output_padding: Any = 0,
) -> None:
    for name, count in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
        _check_ints(layer, name, count, lengths=[], least=1)
    for name, size in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
        _check_ints(layer, name, size, lengths=[axes], least=1)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise ValueError(f"{_name(layer)}: {name} takes a multiple of groups={groups}, got {channels}")
    _check_ints(layer, "output_padding", output_padding, lengths=[axes], least=0)
    _check_choice(layer, "padding_mode", padding_mode, PADDING_MODES)
    _check_choice(layer, "data_format", data_format, DATA_FORMATS[axes])
    _check_padding(layer, axes, padding, padding_mode)
    for name, attr in (("weight_attr", weight_attr), ("bias_attr", bias_attr)):
        takes = "None, a ParamAttr, an initializer or a name" + (", or False" if name == "bias_attr" else "")
        if attr is False and name == "weight_attr":
            raise ValueError(f"{_name(layer)}: {name} takes {takes}, got False")
        if attr is not None and not isinstance(attr, (bool, str, paddle.ParamAttr, nn.initializer.Initializer)):
            raise TypeError(f"{_name(layer)}: {name} takes {takes}, got {attr!r}")


def _check_ints(layer: nn.Layer, name: str, value: Any, lengths: List[int], least: int) -> None:
    """An int, or a list of as many ints as ``lengths`` allows, none below ``least``."""
    several = isinstance(value, (list, tuple))
    takes = " or ".join(["an int"] + [f"a list of {n}" for n in lengths]) + f", each at least {least}"
    for item in value if several else [value]:
        if isinstance(item, bool) or not isinstance(item, Integral):
            raise TypeError(f"{_name(layer)}: {name} takes {takes}, got {value!r}")
        if item < least:
            raise ValueError(f"{_name(layer)}: {name} takes {takes}, got {value!r}")
    if several and len(value) not in lengths:
        raise (ValueError if lengths else TypeError)(f"{_name(layer)}: {name} takes {takes}, got {value!r}")


def _check_padding(layer: nn.Layer, axes: int, padding: Any, padding_mode: str) -> None:
    if padding_mode != "zeros":
        _check_ints(layer, "padding", padding, lengths=[], least=0)
    elif isinstance(padding, str):
        _check_choice(layer, "padding", padding.upper(), ["SAME", "VALID"])
    elif _is_pairs(padding) and len(padding) == axes + 2:
        for pair in padding:
            _check_ints(layer, "padding", pair, lengths=[2], least=0)
    else:
        _check_ints(layer, "padding", padding, lengths=[axes, 2 * axes], least=0)


def _sides(padding: Any, axes: int) -> List[int]:
    """How much "VALID" or numbers pad before the first axis, after it, before the second, and so on."""
    if isinstance(padding, (str, int)):
        return [0 if isinstance(padding, str) else padding] * (2 * axes)
    if _is_pairs(padding):
        return [side for pair in padding[2:] for side in pair]
    return list(padding) if len(padding) == 2 * axes else [side for side in padding for _ in range(2)]


def _is_pairs(padding: Any) -> bool:
    """Whether the padding is given as a pair for each axis of the input."""
    return isinstance(padding, (list, tuple)) and len(padding) > 0 and isinstance(padding[0], (list, tuple))


def _check_choice(layer: nn.Layer, name: str, value: Any, choices: Sequence[Optional[str]]) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{_name(layer)}: {name} takes one of {list(choices)}, got {value!r}")
    if value not in choices:
        raise ValueError(f"{_name(layer)}: {name} takes one of {list(choices)}, got {value!r}")


def _check_flag(layer: nn.Layer, name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{_name(layer)}: {name} takes True or False, got {value!r}")


def _check_input(layer: nn.Layer, x: Tensor, ranks: List[int]) -> None:
    if not hasattr(x, "ndim") or not hasattr(x, "dtype") or not hasattr(x, "stop_gradient"):
        raise TypeError(f"{_name(layer)}: the input must be a Tensor, got {type(x).__name__}")
    if x.ndim not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise ValueError(f"{_name(layer)}: the input must have {wanted} axes, got {x.ndim}: {list(x.shape)}")
    if dtype_name(x.dtype) not in (*HALF, SINGLE, DOUBLE):
        raise TypeError(f"{_name(layer)}: the input must be floating, got {dtype_name(x.dtype)}")


def _check_same_dtype(layer: nn.Layer, x: Tensor, weight: Tensor) -> None:
    if x.dtype != weight.dtype and not _autocast_is_on():
        raise TypeError(
            f"{_name(layer)}: the input is {dtype_name(x.dtype)}, the weights are {dtype_name(weight.dtype)}; "
            f"cast one, for example by x.astype({dtype_name(weight.dtype)!r})"
        )


def _autocast_is_on() -> bool:
    if hasattr(paddle.amp, "is_autocast_enabled"):
        return paddle.amp.is_autocast_enabled()
    tracer = paddle.base.framework._dygraph_tracer()  # Paddle 2.6 has no public way to ask, nor a tracer in graphs
    return tracer is None or tracer._amp_level != paddle.base.core.AmpLevel.O0


def _name(layer: nn.Layer) -> str:
    return type(layer).__name__
