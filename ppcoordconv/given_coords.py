"""Given coordinates: what the layers with ``coords=Given(...)`` take for their grid."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, List, Optional, Union

import paddle
from paddle import Tensor

from .compat import dtype_name, grid_dtype, is_eager, shape_of
from .contexts import Context

Source = Union[Tensor, Callable[[List[Any]], Tensor]]
GRIDS: Context[Source] = Context("given", "a grid that is an input")


@paddle.jit.not_to_static
@contextlib.contextmanager
def given(grid: Source) -> Iterator[None]:
    """In here, every layer of a model that has ``coords=pcc.Given(channels)`` takes this for its grid.

    Parameters:
        grid: ``[1 or N, channels, *spatial]``, floating, for all samples or one for each; or, for layers whose maps
            have several sizes, a function from a map's ``spatial_shape``, as ``[H, W]``, to such a grid. Gradients flow
            into it. It is channels first, whatever the layers' ``data_format``.

    Raises:
        TypeError: it is neither.
        ValueError: it is not what a layer takes; no layer asked for it; or the model is traced by ``to_static`` while
            this was opened outside of what is traced, which the graph would keep for ever.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.CoordConv(3, 8, 3, stride=2, padding=1, coords=pcc.Given(1))
        >>> model = paddle.nn.Sequential(layer, pcc.CoordConv(8, 8, 1, coords=pcc.Given(1)))
        >>> depth = paddle.rand([4, 1, 32, 48])
        >>> with pcc.given(lambda size: paddle.nn.functional.interpolate(depth, size)):
        ...     y = model(paddle.zeros([4, 3, 32, 48]))
    """
    if not _is_tensor(grid) and not callable(grid):
        raise TypeError(f"given: expected a Tensor, or a function of a map's spatial_shape, got {type(grid).__name__}")
    with GRIDS.opened(grid, "no layer with coords=Given(...) asked for it, so that it changed nothing"):
        yield


@paddle.jit.not_to_static
def given_grid(x: Tensor, channels: int, grid: Optional[Tensor], layer: str) -> Tensor:
    """The grid for a map ``[N, C, *spatial]``: that of the call, or else that of the innermost ``given``.

    Raises:
        TypeError, ValueError: there is none, or it does not fit.
    """
    if grid is None:
        source = GRIDS.current()
        grid = source if source is None or _is_tensor(source) else source(shape_of(x)[2:])
    wanted = f"[1 or {x.shape[0]}, {channels}, {', '.join(map(str, x.shape[2:]))}]"
    if grid is None:
        raise ValueError(f"{layer}: coords=Given({channels}): expected a grid {wanted}, in the call or by pcc.given")
    if not _is_tensor(grid):
        raise TypeError(f"{layer}: the grid must be a Tensor, got {type(grid).__name__}")
    if not _fits(grid.shape, x.shape, channels):
        raise ValueError(f"{layer}: coords=Given({channels}): expected a grid {wanted}, got {list(grid.shape)}")
    dtype = dtype_name(grid.dtype)
    allowed = {dtype_name(x.dtype), grid_dtype(x.dtype)}
    if dtype not in allowed:
        raise TypeError(f"{layer}: expected a grid of {' or '.join(sorted(allowed))}, got {dtype}")
    # Another object each time, as its numbers may change: what a layer keeps goes by the object.
    return grid.detach() if grid.stop_gradient and is_eager() else grid


def _fits(grid: List[int], x: List[int], channels: int) -> bool:
    """Lengths that are not known yet, -1, may be any."""
    if len(grid) != len(x):
        return False
    others = all(a == b or min(a, b) < 0 for a, b in zip(grid[2:], x[2:]))
    return others and grid[1] == channels and (grid[0] in (1, x[0]) or min(grid[0], x[0]) < 0)


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "stop_gradient") and hasattr(value, "ndim")
