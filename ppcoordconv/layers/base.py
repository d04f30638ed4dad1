"""What the six CoordConv layers share: checks, the grid, the inner convolution."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Optional

import paddle
from paddle import Tensor, nn

from ..compat import to_channels_first, to_channels_last
from ..coords import CoordsLike, Given, count_channels, find_coords
from ..forms import Call
from ..given_coords import given_grid
from ..grids import affine_or_grid_of
from . import checks
from .grid_conv import GRID_CONVS, GridConv
from .table import grid_of_table, make_table


class InnerParameters(OrderedDict):
    """A CoordConv's own parameters, of which there are none; who looks for the weight here is told where it is."""

    def __missing__(self, name: str) -> Any:
        raise KeyError(f"{name}: the parameters of a CoordConv are those of its inner convolution, layer.conv")


class CoordConvNd(nn.Layer):
    """A convolution of ``rank`` spatial axes over its input and the input's coordinate grid.

    Attributes:
        in_channels, data_format, with_r: as they were given.
        coords: as it was given; ``convention`` is what ``find_coords`` makes of it.
        conv: the inner convolution, which holds ``weight`` and ``bias``.
        table: what coordinates that are learnt are read from, with a ``weight`` ``[1, channels, *sizes]``; else None.
    """

    rank: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        *,
        padding: Any,
        groups: int,
        data_format: str,
        coords: CoordsLike,
        with_r: bool,
        **options: Any,
    ) -> None:
        super().__init__()
        self._parameters = InnerParameters()
        checks.check_convolution(
            self, self.rank, in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size,
            padding=padding, groups=groups, data_format=data_format, **options,
        )  # fmt: skip
        checks.check_flag(self, "with_r", with_r)
        self.convention = find_coords(coords)
        checks.check_radius(self, self.convention, with_r)
        self.coords = coords
        self.with_r = with_r
        self.in_channels = in_channels
        self.data_format = data_format
        if data_format.endswith("C") and checks.is_pairs(padding):
            padding = [padding[0], padding[-1], *padding[1:-1]]
        self.table = make_table(self, self.convention, self.rank)
        self.conv: GridConv = GRID_CONVS[self.rank, self.transposed](
            in_channels,
            out_channels,
            kernel_size,
            padding=padding,
            groups=groups,
            grid_channels=count_channels(self.convention, self.rank, with_r),
            coords_first=self.convention.coords_first,
            **options,
        )

    def forward(self, x: Tensor, grid: Optional[Tensor] = None, output_size: Any = None) -> Tensor:
        if output_size is not None and not self.transposed:
            raise ValueError(f"{type(self).__name__}: output_size: is for transposed convolutions, got {output_size!r}")
        self._check_input(x)
        is_last = self.data_format.endswith("C")
        # Convolved channels first: under oneDNN, Paddle mixes up the axes of NHWC maps that are not features.
        x = to_channels_first(x) if is_last else x
        grid = _grid_for(self, x, grid)
        y = self.conv(x, grid) if output_size is None else self.conv(x, grid, output_size)
        return to_channels_last(y) if is_last else y

    def call_for(self, x: Tensor) -> Call:
        """The operation that the layer does with x, as ``forms.FORMS`` compute it."""
        self._check_input(x)
        x = to_channels_first(x) if self.data_format.endswith("C") else x
        return self.conv.call_for(x, _grid_for(self, x, None))

    def convert_to_deploy(self) -> None:
        """What Paddle's exporters call: graphs that are traced from now on concatenate the grid.

        Inference engines run that fastest. Nothing else changes: not the state dict, not what is computed elsewhere.
        ``pcc.convert_to_deploy`` does more, to a copy of a whole model.
        """
        if self.conv._groups == 1:
            self.conv.form_in_graphs = "concat"

    def __getattr__(self, name: str) -> Any:
        if name in ("weight", "bias"):
            raise AttributeError(f"{checks.name_of(self)} has its {name} in its inner convolution: layer.conv.{name}")
        return super().__getattr__(name)

    def extra_repr(self) -> str:
        return f"coords={self.coords!r}, with_r={self.with_r}, data_format={self.data_format!r}"

    def _check_input(self, x: Tensor) -> None:
        checks.check_input(self, x, [self.rank + 2])
        channels = x.shape[self.data_format.index("C")]
        if channels != self.in_channels:
            raise ValueError(
                f"{checks.name_of(self)}: in_channels={self.in_channels}, but the input {list(x.shape)} has {channels} "
                f"channels ({self.data_format}); the coordinate channels are not counted"
            )
        checks.check_same_dtype(self, x, self.conv.weight)


# No method: the bytecode that Paddle 2.6 traces fails with one.
@paddle.jit.not_to_static
def _grid_for(layer: CoordConvNd, x: Tensor, grid: Optional[Tensor]) -> Any:
    """Of a layer's channels-first features; ``grid`` is what the call gave."""
    if isinstance(layer.convention, Given):
        return given_grid(x, layer.convention.channels, grid, checks.name_of(layer))
    if grid is not None:
        raise ValueError(f"{checks.name_of(layer)}: grid: is for layers with coords=Given(...), not {layer.coords!r}")
    if layer.table is not None:
        return grid_of_table(layer.table, x, layer.convention, layer.with_r)
    return affine_or_grid_of(x, layer.convention, layer.with_r)
