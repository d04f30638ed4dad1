"""Which grid a feature map gets: that of its size or, in a window, that of its place in the whole."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Union, cast

import numpy as np
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
    is_shared = all(place is None or place.is_shared for place in (window, points))
    each = is_eager() and not is_shared and not with_r and table is None
    affine = _if_affine(coords) if each else None
    if affine and window is not None and points is None:
        return _affine_grid(x, affine, paddle.to_tensor(_ends(window, size, affine).astype(dtype), place=x.place))
    axes = window.axes_of_map(size) if window is not None else [axis_of_map(length, dtype) for length in size]
    axes = points.on(axes) if points is not None else axes
    if not affine:
        return _beside(x, grid_along(axes, size, coords, with_r, dtype, table))
    ends = [axis._replace(index=paddle.stack([axis.index[..., 0], axis.index[..., -1]], axis=-1)) for axis in axes]
    first, last = paddle.stack([line for _, line in lines_along(ends, affine)], axis=1).unbind(2)
    return _affine_grid(x, affine, _beside(x, paddle.stack([first, last - first], axis=2).astype(dtype)))


def _ends(window: Window, size: List[int], coords: Coords) -> np.ndarray:
    """Of each sample and channel the first coordinate, and how far the last is from it, ``[N, d, 2]``: by numpy, which
    is quick with a few numbers, and by the same functions."""
    ends = window.ends_of_map(size)
    lines = [coords.coordinate(axis.index, axis.length) for axis in (ends[::-1] if coords.x_first else ends)]
    first, last = np.moveaxis(np.stack(lines, axis=1), 2, 0)
    return np.stack([first, last - first], axis=2)


def _affine_grid(x: Tensor, coords: Coords, ends: Tensor) -> AffineGrid:
    return AffineGrid(_grid_of_size(x, Coords(ramp, x_first=coords.x_first), False), ends)


def _if_affine(coords: Formula) -> Optional[Coords]:
    is_affine = isinstance(coords, Coords) and coords.encoding is None and coords.coordinate in AFFINE
    return cast(Coords, coords) if is_affine else None


def _beside(x: Tensor, grid: Tensor) -> Tensor:
    """In the same place."""
    return grid if not is_eager() or grid.place._equals(x.place) else paddle.to_tensor(grid, place=x.place)
