"""The coordinate channels alone, concatenated to a feature map."""

from __future__ import annotations

from typing import Optional

import paddle
from paddle import Tensor, nn

from ..compat import expand_to_batch, to_channels_first, to_channels_last
from ..coords import CoordsLike, Given, find_coords
from ..given_coords import given_grid
from ..grids import grid_of
from .checks import DATA_FORMATS, check_choice, check_flag, check_input, check_radius, name_of
from .table import grid_of_table, make_table


class AddCoords(nn.Layer):
    """Concatenates the coordinate channels to a feature map (Liu et al. 2018, arXiv:1807.03247).

    Parameters:
        coords: the name of a convention (``pcc.list_coords()``), a ``pcc.Coords``, "relative", an encoding as
            "fourier(4)" or "learnt(16, 32)", a list of these, which are joined, or a ``pcc.Given``.
        with_r: adds the radius channel.
        data_format: "NCL", "NCHW", "NCDHW", "NLC", "NHWC" or "NDHWC"; None: "NCHW", and "NCDHW" for five axes. Of three
            axes, ``[C, H, W]`` may be meant, so that "NCL" has to be said.

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

    def __init__(self, coords: CoordsLike = "paddle", with_r: bool = False, data_format: Optional[str] = None) -> None:
        super().__init__()
        formats = [None] + [name for pair in DATA_FORMATS.values() for name in pair]
        check_choice(self, "data_format", data_format, formats)
        check_flag(self, "with_r", with_r)
        self.convention = find_coords(coords)
        check_radius(self, self.convention, with_r)
        self.table = make_table(self, self.convention, len(data_format or "NCHW") - 2)
        self.coords = coords
        self.with_r = with_r
        self.data_format = data_format

    def forward(self, x: Tensor, grid: Optional[Tensor] = None) -> Tensor:
        if self.data_format is None and getattr(x, "ndim", None) == 3:
            raise ValueError(
                f"AddCoords: an input with 3 axes, {list(x.shape)}, is [N, C, L] or [C, H, W]; for the first, say "
                "data_format='NCL', for the second, give x[None]"
            )
        check_input(self, x, [4, 5] if self.data_format is None else [len(self.data_format)])
        channel_last = self.data_format is not None and self.data_format.endswith("C")
        x = to_channels_first(x) if channel_last else x
        if isinstance(self.convention, Given):
            grid = given_grid(x, self.convention.channels, grid, name_of(self))
        elif grid is not None:
            raise ValueError(f"AddCoords: grid: is for coords=Given(...), not {self.coords!r}")
        elif self.table is not None:
            grid = grid_of_table(self.table, x, self.convention, self.with_r)
        else:
            grid = grid_of(x, self.convention, self.with_r)
        grid = expand_to_batch(grid.astype(x.dtype), x)
        y = paddle.concat([grid, x] if self.convention.coords_first else [x, grid], axis=1)
        return to_channels_last(y) if channel_last else y

    def extra_repr(self) -> str:
        return f"coords={self.coords!r}, with_r={self.with_r}, data_format={self.data_format!r}"
