"""Paddle's Conv2D with a fast bias add on CPUs, for the plain convolutions of the networks here."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.hapi.dynamic_flops import register_hooks

from ..compat import is_eager_on_cpu
from ..offset import add_offset


class Conv2D(nn.Conv2D):
    """Equal to ``paddle.nn.Conv2D``, whose parameters it takes and whose name it has, in summaries too.

    Paddle's CPU kernels broadcast a bias in more time than a small convolution takes, and as much again for its
    gradient; here it is added as CoordConv adds its coordinates. Graphs that are traced from it are Paddle's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        is_usual = self.bias is not None and self._data_format == "NCHW" and self._padding_mode == "zeros"
        if not is_usual or not is_eager_on_cpu(x):
            return nn.Conv2D.forward(self, x)  # Paddle 2.6 can't trace super()
        y = F.conv2d(x, self.weight, None, self._stride, self._padding, self._dilation, self._groups)
        return add_offset(y, self.bias.reshape([1, -1, 1, 1]))


# paddle.flops looks a layer up by its exact type.
register_hooks[Conv2D] = register_hooks[nn.Conv2D]
