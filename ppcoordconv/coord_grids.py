"""From a convention to the grid of a map: ``coord_grid`` and what it is made of.

With ``compat``, ``coords`` and ``encodings`` it can be taken along without the rest of the package.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import paddle
from paddle import Tensor

from .compat import dtype_name, grid_dtype, is_eager
from .coords import AFFINE, Coords, CoordsLike, Formula, Given, find_coords, is_relative, learnt_part, parts_of
from .encodings import Learnt


@paddle.jit.not_to_static
def coord_grid(
    spatial_shape: Sequence[Any],
    coords: CoordsLike = "paddle",
    with_r: bool = False,
    dtype: Any = "float32",
) -> Tensor:
    """The coordinate channels of a feature map, alone (Liu et al. 2018, arXiv:1807.03247, section 3).

    Parameters:
        spatial_shape: the lengths of the map's one to three spatial axes: ``[L]``, ``[H, W]`` or ``[D, H, W]``; in a
            static graph a length may be an integer Tensor.
        coords: as a layer takes it: the name of a convention (``list_coords()``), a ``Coords``, or a list of such.
        with_r: adds the radius channel.
        dtype: "float16", "bfloat16", "float32" or "float64". The grid is computed in float32 (float64 for "float64")
            and rounded once.

    Returns:
        Tensor, ``[1, d, *spatial_shape]``, d being the number of spatial axes, one more with the radius. It requires
        no gradient.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Examples:
        >>> import ppcoordconv as pcc
        >>> grid = pcc.coord_grid([2, 3])
        >>> grid[0, 0].tolist(), grid[0, 1].tolist()
        ([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]], [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    """
    convention = find_coords(coords)
    if isinstance(convention, Given) or is_relative(convention) or learnt_part(convention):
        raise TypeError(
            f"coord_grid: expected coordinates of the size alone, got coords={coords!r}; a layer takes them"
        )
    dtype = dtype_name(dtype)
    _check_grid_arguments(spatial_shape, with_r, dtype)
    axes = [axis_of_map(length, grid_dtype(dtype)) for length in spatial_shape]
    return grid_along(axes, spatial_shape, convention, with_r, dtype)


class Axis(NamedTuple):
    """An axis of a map: the indices of its samples, and the length that they are counted in.

    Tensors ``[n]`` and ``[1]``, or ``[N, n]`` and ``[N, 1]`` where each sample of a batch has its own.

    Attributes:
        origin: the index of the point that relative coordinates are from, ``[1]`` or ``[N, 1]``.
    """

    index: Tensor
    length: Tensor
    origin: Optional[Tensor] = None

    def ends(self) -> Axis:
        """The first and the last sample of the length."""
        return self._replace(index=paddle.concat([paddle.zeros_like(self.length), self.length - 1], axis=-1))


def axis_of_map(length: Any, dtype: str) -> Axis:
    """``0 .. n-1``. In eager mode, in float64, because float32 counts to 2**24."""
    if is_eager():
        dtype = "float64"
    n = paddle.full([1], length, dtype) if isinstance(length, Integral) else length.reshape([1]).astype(dtype)
    return Axis(paddle.arange(length, dtype=dtype), n)


def grid_along(
    axes: List[Axis],
    spatial_shape: Sequence[Any],
    convention: Formula,
    with_r: bool,
    dtype: str,
    table: Optional[Tensor] = None,
) -> Tensor:
    """The grid ``[1 or N, d, *spatial_shape]`` of a map with these axes. With a learnt table, gradients flow there."""
    parts = parts_of(convention)
    coordinates = [_coordinates(axes, spatial_shape, part, grid_dtype(dtype)) for part in parts]
    channels: List[Tensor] = []
    for part, own in zip(parts, coordinates):
        if isinstance(part.encoding, Learnt):
            lines = sorted(lines_along(axes, part), key=lambda line: line[0])
            channel = part.encoding.interpolated(table, [line for _, line in lines])
            channels.append(channel.astype(grid_dtype(dtype)))
        else:
            channels += own if part.encoding is None else _encoded(own, part.encoding)
    if with_r:
        channels.append(_radius(coordinates[0], axes, parts[0]))
    if len({channel.shape[0] for channel in channels}) > 1:  # those that are relative are each sample's own
        largest = max(channels, key=lambda channel: channel.shape[0] if channel.shape[0] > 0 else math.inf)
        channels = [channel + paddle.zeros_like(largest[:, :1]) for channel in channels]
    grid = paddle.concat(channels, axis=1).astype(dtype)
    # Functions of a user's own may compute with what has a gradient.
    return grid if grid.stop_gradient or table is not None else grid.detach()


def _encoded(coordinates: List[Tensor], encoding: Any) -> List[Tensor]:
    channels = encoding(coordinates)
    if is_eager():
        if len(channels) != encoding.count_channels(len(coordinates)):
            wanted = encoding.count_channels(len(coordinates))
            raise ValueError(f"Coords: encoding must return {wanted} channels, as it says, got {len(channels)}")
        for channel in channels:
            _check_function("encoding", channel, list(coordinates[0].shape))
    return channels


def _radius(coordinates: List[Tensor], axes: List[Axis], convention: Coords) -> Tensor:
    radius = convention.radius(coordinates)
    if is_eager():
        _check_function("radius", radius, list(coordinates[0].shape))
    if not convention.radius_over_maximum:
        return radius
    ends = [axis.ends() for axis in axes]
    corners = _coordinates(ends, [2] * len(axes), convention, dtype_name(coordinates[0].dtype))
    largest = convention.radius(corners).max(axis=list(range(1, 2 + len(axes))), keepdim=True)
    return radius / largest.clip(min=1e-12)


def lines_along(axes: List[Axis], convention: Coords) -> List[Tuple[int, Tensor]]:
    """Of each coordinate channel, the number of its axis, and the coordinates along that: ``[n]`` or ``[N, n]``."""
    numbers = range(len(axes))
    lines = []
    for number in reversed(numbers) if convention.x_first else numbers:
        axis = axes[number]
        line = convention.coordinate(axis.index, axis.length)
        if is_eager():
            _check_function("coordinate", line, list(axis.index.shape))
            _check_pure(convention.coordinate, axis, line)
        lines.append((number, line - convention.coordinate(axis.origin, axis.length) if convention.relative else line))
    return lines


def _coordinates(axes: List[Axis], spatial_shape: Sequence[Any], convention: Coords, dtype: str) -> List[Tensor]:
    """The coordinate channels, each ``[1 or N, 1, *spatial_shape]``."""
    channels = []
    for number, line in lines_along(axes, convention):
        line = line.astype(dtype)
        line = line.unsqueeze([place for place in range(line.ndim - 1, 2 + len(axes)) if place != 2 + number])
        # Not expand, which Paddle2ONNX loses where a length is not known yet.
        times = [1 if n == number else length for n, length in enumerate(spatial_shape)]
        channels.append(paddle.tile(line, [1, 1, *times]))
    return channels


def _check_function(name: str, value: Any, shape: List[int]) -> None:
    """What a function of a ``Coords`` has returned."""
    if not isinstance(value, Tensor):
        raise TypeError(f"Coords: {name} must return a Tensor, got {type(value).__name__}")
    if list(value.shape) != shape:
        raise ValueError(f"Coords: {name} must return a Tensor of shape {shape}, got {list(value.shape)}")
    if not value.stop_gradient:
        raise ValueError(f"Coords: {name} must be of the index alone, got what is computed with a parameter; see Given")


def _check_pure(coordinate: Callable[[Tensor, Tensor], Tensor], axis: Axis, line: Tensor) -> None:
    """That it returns the same again: what it returned is kept."""
    again = line if coordinate in AFFINE else coordinate(axis.index, axis.length)
    if list(again.shape) != list(line.shape) or not (again == line).all().item():
        raise ValueError("Coords: coordinate must return the same for the same index and length, got two results")


def _check_grid_arguments(spatial_shape: Any, with_r: Any, dtype: str) -> None:
    if not isinstance(spatial_shape, (list, tuple)):
        raise TypeError(f"spatial_shape takes a list of lengths, got {spatial_shape!r}")
    if not 1 <= len(spatial_shape) <= 3:
        raise ValueError(f"spatial_shape takes one to three lengths, [L], [H, W] or [D, H, W], got {spatial_shape!r}")
    for length in spatial_shape:
        if isinstance(length, (bool, float, str)) or length is None:
            raise TypeError(f"spatial_shape takes integers, got {spatial_shape!r}")
        if isinstance(length, Integral) and length < 1:
            raise ValueError(f"spatial_shape takes lengths of at least 1, got {spatial_shape!r}")
    if not isinstance(with_r, bool):
        raise TypeError(f"with_r takes True or False, got {with_r!r}")
    if dtype not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError(f"dtype takes 'float16', 'bfloat16', 'float32' or 'float64', got {dtype!r}")
