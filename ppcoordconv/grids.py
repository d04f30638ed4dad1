"""Which grid a feature map gets: that of its size or, in a window, that of its place in the whole."""

from __future__ import annotations

from typing import Any, Dict, Optional, Union

import paddle
from paddle import Tensor

from .affine import AffineGrid
from .compat import grid_dtype, is_eager, shape_of
from .coord_grids import axis_of_map, coord_grid, grid_along, lines_along
from .coords import AFFINE, Coords, Formula, is_relative, ramp
from .points import Points, current_points
from .windows import Window, current_window

# A grid is a constant, and layers share it. In detection, sizes vary from batch to batch.
_GRIDS: Dict[Any, Tensor] = {}
# At the next grid beyond either, all are forgotten.
_MAX_GRIDS, _MAX_ELEMENTS = 16, 2**24


@paddle.jit.not_to_static
def grid_of(x: Tensor, coords: Formula, with_r: bool, table: Optional[Tensor] = None) -> Tensor:
    """The grid ``[1 or N, d, *spatial]`` of a feature map ``[N, C, *spatial]``, in its place and ``grid_dtype``.

    In eager mode, maps of the same size get the same tensor; grids of 16 sizes, and of 64 MB, are kept.

    Parameters:
        table: that of coordinates that are learnt.
    """
    grid = affine_or_grid_of(x, coords, with_r, table)
    return grid.expand() if isinstance(grid, AffineGrid) else grid


@paddle.jit.not_to_static
def affine_or_grid_of(
    x: Tensor, coords: Formula, with_r: bool, table: Optional[Tensor] = None
) -> Union[Tensor, AffineGrid]:
    """The same, or an ``AffineGrid`` where each sample has a grid of its own that can be one."""
    window = current_window()
    points = _points_for(x, coords) if is_relative(coords) else None
    if window is None and points is None and table is None:
        return _grid_of_size(x, coords, with_r)
    if window is not None:
        window.check_map(x.shape)
    if window is None or points is not None or table is not None or not is_eager():
        return _grid_at_place(x, coords, with_r, window, points, table)
    key = (tuple(x.shape[2:]), coords, with_r, grid_dtype(x.dtype), str(x.place))
    if key not in window.grids:
        if len(window.grids) >= _MAX_GRIDS:
            window.grids.clear()
        window.grids[key] = _grid_at_place(x, coords, with_r, window)
    return window.grids[key]


def _points_for(x: Tensor, coords: Formula) -> Points:
    points = current_points()
    if points is None:
        raise ValueError("coords='relative': expected points, by pcc.relative_to(points, image_size), got none")
    points.check_map(x.shape)
    return points


def _grid_of_size(x: Tensor, coords: Formula, with_r: bool) -> Tensor:
    dtype = grid_dtype(x.dtype)
    if not is_eager():
        return coord_grid(shape_of(x)[2:], coords, with_r, dtype)
    key = (tuple(x.shape[2:]), coords, with_r, dtype, str(x.place))
    grid = _GRIDS.get(key)
    if grid is None:
        grid = _beside(x, coord_grid(key[0], coords, with_r, dtype))
        if grid.size > _MAX_ELEMENTS:
            return grid
        elements = sum(other.size for other in list(_GRIDS.values())) + grid.size
        if len(_GRIDS) >= _MAX_GRIDS or elements > _MAX_ELEMENTS:
            _GRIDS.clear()
        _GRIDS[key] = grid
    return grid


def _grid_at_place(
    x: Tensor,
    coords: Formula,
    with_r: bool,
    window: Optional[Window] = None,
    points: Optional[Points] = None,
    table: Optional[Tensor] = None,
) -> Union[Tensor, AffineGrid]:
    size, dtype = shape_of(x)[2:], grid_dtype(x.dtype)
    axes = window.axes_of_map(size) if window is not None else [axis_of_map(length, dtype) for length in size]
    axes = points.on(axes) if points is not None else axes
    is_shared = all(place is None or place.is_shared for place in (window, points))
    if (
        not is_eager()
        or is_shared
        or with_r
        or table is not None
        or not isinstance(coords, Coords)
        or not _is_affine(coords)
    ):
        return _beside(x, grid_along(axes, size, coords, with_r, dtype, table))
    ends = [axis._replace(index=paddle.stack([axis.index[..., 0], axis.index[..., -1]], axis=-1)) for axis in axes]
    # [N, d, 2]: of each sample and channel, the first coordinate and the last
    lines = paddle.stack([line for _, line in lines_along(ends, coords)], axis=1)
    first, last = lines.unbind(2)
    rising = paddle.stack([first, last - first], axis=2).astype(dtype)
    return AffineGrid(_grid_of_size(x, Coords(ramp, x_first=coords.x_first), False), _beside(x, rising))


def _is_affine(coords: Coords) -> bool:
    return coords.encoding is None and coords.coordinate in AFFINE


def _beside(x: Tensor, grid: Tensor) -> Tensor:
    """In the same place."""
    return grid if not is_eager() or grid.place._equals(x.place) else paddle.to_tensor(grid, place=x.place)
