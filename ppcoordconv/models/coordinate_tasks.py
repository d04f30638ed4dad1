"""The networks of the paper's coordinate tasks (Liu et al. 2018, arXiv:1807.03247)."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ..coords import coord_grid, find_coords
from . import MODELS

SIZE = 64


class Pointwise(nn.Layer):
    """A stack of 1x1 convolutions with ReLU between them, on pixels in rows.

    Each layer is one matrix product: its bias is a row of the matrix, against a channel of ones that every layer hands
    on, since Paddle's CPU kernels take many times longer to add a bias than to multiply.

    Shape:
        - input: ``[pixels, channels[0]]``. Output: ``[pixels, channels[-1]]``.
        - ``<i>.weight``: ``[channels[i + 1], channels[i], 1, 1]``, ``<i>.bias``: those of ``nn.Conv2D``.
    """

    def __init__(self, *channels: int) -> None:
        super().__init__()
        self._names = [str(i) for i in range(len(channels) - 1)]
        for name, n_in, n_out in zip(self._names, channels, channels[1:]):
            self.add_sublayer(name, nn.Conv2D(n_in, n_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = paddle.concat([x, paddle.ones_like(x[:, :1])], axis=1)
        for name in self._names:
            layer = self._sub_layers[name]
            n_out, n_in = layer.weight.shape[:2]
            matrix = paddle.concat([layer.weight.reshape([n_out, n_in]).t(), layer.bias.reshape([1, n_out])])
            if name == self._names[-1]:
                return paddle.matmul(x, matrix)
            ones = paddle.concat([paddle.zeros([n_in, 1], x.dtype), paddle.ones([1, 1], x.dtype)])
            x = F.relu(paddle.matmul(x, paddle.concat([matrix, ones], axis=1)))
        raise AssertionError("there is a last layer")


class CoordinateClassifier(nn.Layer):
    """Which of the 64 x 64 pixels is meant by an (x, y): the paper's network for it, with 7,553 parameters.

    The point is tiled over the canvas, coordinate channels are added, and five 1x1 convolutions make one logit a pixel.

    Shape:
        - input: ``[N, 2]``, the point's x and y.
        - output: ``[N, 4096]``, logits, row by row.
    """

    input_shape = (2,)

    def __init__(self, coords: str = "paddle") -> None:
        super().__init__()
        self._coords = find_coords(coords)
        self.convolutions = Pointwise(4, 32, 32, 64, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        n = paddle.shape(x)[0] if not paddle.in_dynamic_mode() else x.shape[0]
        points = x.reshape([n, 1, 2]).expand([n, SIZE * SIZE, 2])
        grid = coord_grid([SIZE, SIZE], self._coords).reshape([1, 2, -1]).transpose([0, 2, 1]).astype(x.dtype)
        pixels = paddle.concat([points, grid.expand([n, SIZE * SIZE, 2])], axis=2)
        return self.convolutions(pixels.reshape([-1, 4])).reshape([n, SIZE * SIZE])


@MODELS.register
def coordinate_classification_coordconv(coords: str = "paddle") -> nn.Layer:
    """The paper's CoordConv network for coordinate classification: 7,553 parameters."""
    return CoordinateClassifier(coords)
