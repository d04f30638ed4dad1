"""The layers: a convolution that knows where it is, and the coordinate channels alone.

Imports paddle and nothing else of weight, so that it can be taken along with ``coords.py``.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, List, Optional, Sequence, Union

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
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
        grid = _grid_for(x, self._convention, self._with_r).astype(x.dtype)
        grid = grid.expand([_shape(x)[0]] + [-1] * (x.ndim - 1))
        y = paddle.concat([grid, x] if self._convention.before else [x, grid], axis=1)
        return _channels_last(y) if channel_last else y

    def extra_repr(self) -> str:
        return f"coords={self._coords!r}, with_r={self._with_r}, data_format={self._data_format!r}"


class Conv2D(nn.Conv2D):
    """The convolution of the concatenation of a feature map and a grid, without the concatenation.

    Convolution is linear: ``conv([x; g]; [Wx; Wg]) = conv(x; Wx) + conv(g; Wg)``. The second term has no batch axis
    and is convolved in the grid's own precision, float32 for half-precision features, then rounded once. It carries
    the bias. It has ``nn.Conv2D``'s name because it stands in its place: in summaries, in what matches layers by type.
    """

    def __init__(self, in_channels: int, *args: Any, grid_channels: int, grid_first: bool, **kwargs: Any) -> None:
        super().__init__(in_channels + kwargs["groups"] * grid_channels, *args, **kwargs)
        self._grid_channels = grid_channels
        self._grid_first = grid_first

    def forward(self, x: Tensor, grid: Tensor) -> Tensor:
        if self._grid_first:
            w_grid, w_x = self.weight[:, : self._grid_channels], self.weight[:, self._grid_channels :]
        else:
            w_x, w_grid = self.weight[:, : -self._grid_channels], self.weight[:, -self._grid_channels :]
        bias = None if self.bias is None else self.bias.astype(grid.dtype)
        with paddle.amp.auto_cast(enable=False):
            # Every group sees the whole grid, so the grid's own convolution has one group.
            offset = self._convolve(grid, w_grid.astype(grid.dtype), bias, groups=1)
        y = self._convolve(x, w_x, None, self._groups)
        return y + offset.astype(y.dtype).expand([_shape(x)[0], -1, -1, -1])

    def _convolve(self, x: Tensor, weight: Tensor, bias: Optional[Tensor], groups: int) -> Tensor:
        padding = self._padding
        if self._padding_mode != "zeros":
            x = F.pad(x, [padding] * 4, mode=self._padding_mode)
            padding = 0
        return F.conv2d(x, weight, bias, self._stride, padding, self._dilation, groups)


class CoordConv(nn.Layer):
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
        super().__init__()
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            _check_ints(self, name, count, lengths=[], least=1)
        for name, size in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
            _check_ints(self, name, size, lengths=[2], least=1)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{_name(self)}: {name} takes a multiple of groups={groups}, got {channels}")
        _check_choice(self, "padding_mode", padding_mode, PADDING_MODES)
        _check_choice(self, "data_format", data_format, DATA_FORMATS[2])
        _check_padding(self, padding, padding_mode)
        _check_flag(self, "with_r", with_r)
        if weight_attr is False:
            raise ValueError(f"{_name(self)}: weight_attr takes None, a ParamAttr, an initializer or a name, got False")
        self._convention = find_coords(coords)
        self._coords = coords
        self._with_r = with_r
        self._in_channels = in_channels
        self._data_format = data_format
        if data_format == "NHWC" and isinstance(padding, (list, tuple)) and _is_pairs(padding):
            padding = [padding[0], padding[-1], *padding[1:-1]]
        self.conv = Conv2D(
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
            grid_channels=count_channels(2, with_r),
            grid_first=self._convention.before,
        )

    def forward(self, x: Tensor) -> Tensor:
        _check_input(self, x, [4])
        channels = x.shape[self._data_format.index("C")]
        if channels != self._in_channels:
            raise ValueError(
                f"{_name(self)}: in_channels={self._in_channels}, but the input {list(x.shape)} has {channels} "
                f"channels ({self._data_format}); the coordinate channels are not counted"
            )
        _check_same_dtype(self, x, self.conv.weight)
        if self._data_format == "NCHW":
            return self.conv(x, _grid_for(x, self._convention, self._with_r))
        # Convolved channels first: under oneDNN, Paddle mixes up the axes of NHWC maps that are not features.
        x = _channels_first(x)
        return _channels_last(self.conv(x, _grid_for(x, self._convention, self._with_r)))

    def extra_repr(self) -> str:
        return f"coords={self._coords!r}, with_r={self._with_r}, data_format={self._data_format!r}"


CoordConv2D = CoordConv


def _grid_for(x: Tensor, convention: Coords, with_r: bool) -> Tensor:
    """The grid of a feature map ``[N, C, *spatial]``, in its place; in float64 for float64, in float32 for the rest."""
    grid = coord_grid(_shape(x)[2:], convention, with_r, DOUBLE if dtype_name(x.dtype) == DOUBLE else SINGLE)
    # A graph has one place; and to ask for it while bytecode is traced crashes Paddle.
    if paddle.in_dynamic_mode() and not in_sot() and not grid.place._equals(x.place):
        grid = paddle.to_tensor(grid, place=x.place)
    return grid


def _channels_first(x: Tensor) -> Tensor:
    return x.transpose([0, x.ndim - 1] + list(range(1, x.ndim - 1)))


def _channels_last(x: Tensor) -> Tensor:
    return x.transpose([0] + list(range(2, x.ndim)) + [1])


@paddle.jit.not_to_static
def _shape(x: Tensor) -> List[Any]:
    """The lengths of the axes: ints, and in a static graph Tensors for those that are not known yet."""
    return [length if length >= 0 else paddle.shape(x)[axis] for axis, length in enumerate(x.shape)]


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


def _check_padding(layer: nn.Layer, padding: Any, padding_mode: str) -> None:
    if padding_mode != "zeros":
        _check_ints(layer, "padding", padding, lengths=[], least=0)
    elif isinstance(padding, str):
        _check_choice(layer, "padding", padding.upper(), ["SAME", "VALID"])
    elif _is_pairs(padding) and len(padding) == 4:
        for pair in padding:
            _check_ints(layer, "padding", pair, lengths=[2], least=0)
    else:
        _check_ints(layer, "padding", padding, lengths=[2, 4], least=0)


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
