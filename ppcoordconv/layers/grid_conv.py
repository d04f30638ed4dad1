"""The inner convolution of a CoordConv: Paddle's, with weights on the grid too, computed over both."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple, Type

import numpy as np
from paddle import Tensor, nn
from paddle.hapi.dynamic_flops import register_hooks

from ..compat import is_eager
from ..forms import Call, ConvSpec, run
from .cache import LastResult


class GridConv(nn.Layer):
    """What the six share; each is also the Paddle convolution whose parameters, attributes and initialisers it has.

    ``weight`` is that of the convolution of the concatenation, group by group.

    Attributes:
        grid_channels: d, the grid's channels.
        coords_first: in ``weight``, they come before the features' channels.
        form_in_graphs: the form in which traced graphs compute it; None: the best for training.
    """

    transposed = False
    # Of Paddle's layer:
    weight: Tensor
    bias: Optional[Tensor]
    output_padding: Any = 0
    _padding_mode = "zeros"
    _groups: int
    _stride: Any
    _padding: Any
    _dilation: Any

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        *,
        groups: int,
        grid_channels: int,
        coords_first: bool,
        **options: Any,
    ) -> None:
        total = in_channels + groups * grid_channels
        super().__init__(total, out_channels, kernel_size, groups=groups, **options)  # type: ignore[call-arg]
        self.grid_channels = grid_channels
        self.coords_first = coords_first
        self.form_in_graphs: Optional[str] = None
        self._cache = LastResult()

    def forward(self, x: Tensor, grid: Optional[Tensor] = None, output_size: Any = None) -> Tensor:
        if grid is None:
            raise TypeError(
                f"{type(self).__name__} is the inner convolution of a CoordConv and takes the features and their grid, "
                "conv(x, grid); call the CoordConv itself, which takes the features alone"
            )
        return run(self.call_for(x, grid, output_size), None if is_eager() else self.form_in_graphs)

    def call_for(self, x: Tensor, grid: Tensor, output_size: Any = None) -> Call:
        """The operation on channels-first features and their grid, as ``forms.run`` takes it."""
        return Call(x, grid, self.weight, self.bias, self.spec(output_size), self._cache)

    def spec(self, output_size: Any = None) -> ConvSpec:
        return ConvSpec(
            stride=self._stride,
            padding=self._padding,
            dilation=self._dilation,
            groups=self._groups,
            padding_mode=self._padding_mode,
            transposed=self.transposed,
            output_padding=self.output_padding,
            coords_first=self.coords_first,
        ).with_output_size(output_size)


class GridConv1D(GridConv, nn.Conv1D):
    """``nn.Conv1D`` over features and their grid."""


class GridConv2D(GridConv, nn.Conv2D):
    """``nn.Conv2D`` over features and their grid."""


class GridConv3D(GridConv, nn.Conv3D):
    """``nn.Conv3D`` over features and their grid."""


class GridConv1DTranspose(GridConv, nn.Conv1DTranspose):
    """``nn.Conv1DTranspose`` over features and their grid."""

    transposed = True


class GridConv2DTranspose(GridConv, nn.Conv2DTranspose):
    """``nn.Conv2DTranspose`` over features and their grid."""

    transposed = True


class GridConv3DTranspose(GridConv, nn.Conv3DTranspose):
    """``nn.Conv3DTranspose`` over features and their grid."""

    transposed = True


# By the number of spatial axes, and whether the convolution is transposed.
GRID_CONVS: Dict[Tuple[int, bool], Type[GridConv]] = {
    (1, False): GridConv1D,
    (2, False): GridConv2D,
    (3, False): GridConv3D,
    (1, True): GridConv1DTranspose,
    (2, True): GridConv2DTranspose,
    (3, True): GridConv3DTranspose,
}


def count_flops(conv: GridConv, inputs: Tuple[Tensor, ...], y: Tensor) -> None:
    """For ``paddle.flops``, by its own rule for convolutions: what the convolution of the concatenation takes."""
    per_group = inputs[0].shape[1] // conv._groups + conv.grid_channels
    per_place = per_group * int(np.prod(conv.weight.shape[2:])) + (conv.bias is not None)
    conv.total_ops += int(np.prod(y.shape)) * per_place


# paddle.flops looks a layer up by its exact type, and counts others as nothing.
register_hooks.update(dict.fromkeys(GRID_CONVS.values(), count_flops))
