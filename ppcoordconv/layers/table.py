"""The table of a layer whose coordinates are learnt, and the grid that it gives."""

from __future__ import annotations

from typing import Any, Optional

import paddle
from paddle import Tensor, nn

from ..compat import is_eager
from ..coords import Convention, is_relative, learnt_part
from ..grids import grid_of
from ..points import current_points
from ..windows import current_window
from .cache import LastResult
from .checks import name_of

# Of the normal distribution that it is drawn from at first, as in ViT.
STD = 0.02


class Table(nn.Layer):
    """A parameter ``[1, channels, *sizes]``, and the last grid that was made of it where no gradient is recorded."""

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.weight = self.create_parameter(shape, default_initializer=nn.initializer.Normal(0.0, STD))
        self.cache = LastResult()


@paddle.jit.not_to_static
def grid_of_table(table: Table, x: Tensor, convention: Any, with_r: bool) -> Tensor:
    """The grid of a feature map; the same object again for the same size and values."""
    weight = table.weight
    if x.ndim != weight.ndim:
        raise ValueError(f"learnt: expected a map with {weight.ndim} axes, got {list(x.shape)}")

    def compute() -> Tensor:
        return grid_of(x, convention, with_r, weight)

    if not is_eager() or paddle.is_grad_enabled() or not x.place.is_cpu_place():
        return compute()
    points = current_points() if is_relative(convention) else None  # to ask for them is to use them
    key = (tuple(x.shape[2:]), x.dtype, current_window(), points)
    return table.cache(key, [weight.numpy()], compute, max_size=x.size)


def make_table(layer: nn.Layer, convention: Convention, axes: int) -> Optional[Table]:
    """For a layer whose coordinates are learnt; else None.

    Raises:
        ValueError: the table has another number of axes than the layer.
    """
    learnt = learnt_part(convention)
    if learnt is None:
        return None
    try:
        return Table(learnt.shape(axes))
    except ValueError as error:
        raise ValueError(f"{name_of(layer)}: coords: {error}") from None
