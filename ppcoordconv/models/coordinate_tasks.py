"""The networks of the paper's coordinate tasks, and those it was compared with (Liu et al. 2018, arXiv:1807.03247)."""

from __future__ import annotations

import math
from typing import List

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ..compat import expand_to_batch, is_eager_on_cpu
from ..coord_grids import coord_grid
from ..coords import find_coords
from ..layers import Conv2D, CoordConv
from ..ops.canvas import SIZE, SQUARE
from ..utils.arguments import check_bool, check_choice, check_int
from . import MODELS

# The classifier's channels after each convolution.
WIDTHS = (32, 32, 64, 64, 1)


class Pointwise(nn.Layer):
    """A stack of 1x1 convolutions with ReLU between them.

    Shape:
        - input: ``[N, channels[0], H, W]``. Output: ``[N, channels[-1], H, W]``.
        - ``<i>.weight``: ``[channels[i + 1], channels[i], 1, 1]``, ``<i>.bias``: those of ``nn.Conv2D``.
    """

    def __init__(self, *channels: int) -> None:
        super().__init__()
        for i, (n_in, n_out) in enumerate(zip(channels, channels[1:])):
            self.add_sublayer(str(i), nn.Conv2D(n_in, n_out, 1))

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.children()
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)

    def forward_as_matmul(self, x: Tensor) -> Tensor:
        """The same of pixels in rows, ``[pixels, channels[0]]``, the fastest for Paddle's CPU kernels.

        Each layer is one matrix product: its bias is a row of the matrix, against a channel of ones that every layer
        hands on, since to add a bias takes those kernels many times longer than to multiply.
        """
        *hidden, last = [augmented_weight(layer) for layer in self.children()]
        x = paddle.concat([x, paddle.ones_like(x[:, :1])], axis=1)
        for matrix in hidden:
            ones = paddle.concat([paddle.zeros_like(matrix[1:, :1]), paddle.ones_like(matrix[:1, :1])])
            x = F.relu(F.linear(x, paddle.concat([matrix, ones], axis=1)))
        return F.linear(x, last)


def augmented_weight(layer: nn.Conv2D) -> Tensor:
    """The weights of a 1x1 convolution as a matrix ``[in + 1, out]`` whose last row is the bias."""
    return paddle.concat([layer.weight.flatten(1).t(), layer.bias.unsqueeze(0)])


class CoordinateClassifier(nn.Layer):
    """Which of the 64 x 64 pixels is meant by an (x, y): the paper's network for it, with 7,553 parameters.

    The point is tiled over the canvas, coordinate channels are added, and five 1x1 convolutions make one logit a pixel.

    Parameters:
        init: how the weights are initialised: "random", each by itself; "differences", those on the point are those on
            the coordinates with the other sign, so that the first layer sees where a pixel lies from the point.

    Shape:
        - input: ``[N, 2]``, the point's x and y.
        - output: ``[N, 4096]``, logits, row by row.
    """

    input_shape = (2,)

    def __init__(self, coords: str, init: str) -> None:
        super().__init__()
        self._coords = find_coords(coords)
        self.convolutions = Pointwise(4, *WIDTHS)
        if init == "differences":
            weight = next(self.convolutions.children()).weight
            weight.set_value(paddle.concat([-weight[:, 2:], weight[:, 2:]], axis=1))

    def forward(self, x: Tensor) -> Tensor:
        grid = coord_grid([SIZE, SIZE], self._coords).astype(x.dtype)
        if not is_eager_on_cpu(x):
            return self.convolutions(paddle.concat([on_canvas(x), expand_to_batch(grid, x)], axis=1)).flatten(1)
        points = paddle.tile(x.unsqueeze(1), [1, SIZE * SIZE, 1])
        rows = expand_to_batch(grid.reshape([1, 2, -1]).transpose([0, 2, 1]), x)
        return self.convolutions.forward_as_matmul(paddle.concat([points, rows], axis=2).reshape([-1, 4])).reshape(
            [len(x), -1]
        )


def on_canvas(x: Tensor) -> Tensor:
    """Points ``[N, 2]`` at each pixel, ``[N, 2, 64, 64]``."""
    return paddle.tile(x.reshape([-1, 2, 1, 1]), [1, 1, SIZE, SIZE])


class CoordinateRenderer(nn.Layer):
    """The 9x9 square around an (x, y): the classifier's softmax over the canvas, then five small convolutions.

    Shape:
        - input: ``[N, 2]``, the point's x and y.
        - output: ``[N, 4096]``, a logit for each pixel, row by row.
    """

    input_shape = (2,)

    def __init__(self, kernel_size: int, width: int, coords: str, init: str) -> None:
        super().__init__()
        self.classifier = CoordinateClassifier(coords, init)
        channels = [1, 8 * width, 8 * width, 16 * width, 16 * width, 1]
        layers: List[nn.Layer] = []
        for n_in, n_out in zip(channels, channels[1:]):
            layers += [Conv2D(n_in, n_out, kernel_size, padding="SAME"), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers[:-1])
        if init == "differences":
            self._init_alive()

    def _init_alive(self) -> None:
        """Lets all of the convolutions' units begin alive, and the logits where the squares' are on average."""
        layers = [layer for layer in self.convolutions if not isinstance(layer, nn.ReLU)]
        for layer in layers:
            layer.weight.set_value(layer.weight.abs())
        with paddle.no_grad():
            mean = self.convolutions(paddle.full([1, 1, SIZE, SIZE], 1 / SIZE**2))[0, 0, SIZE // 2, SIZE // 2]
        layers[0].weight.set_value(layers[0].weight / mean)
        part = SQUARE**2 / SIZE**2
        layers[-1].bias.set_value(paddle.full_like(layers[-1].bias, math.log(part / (1 - part))))

    def forward(self, x: Tensor) -> Tensor:
        probabilities = F.softmax(self.classifier(x), axis=1)
        return self.convolutions(probabilities.reshape([-1, 1, SIZE, SIZE])).flatten(1)


class Deconvolution(nn.Layer):
    """Six transposed convolutions of stride 2, from one pixel with an (x, y) to a canvas of 64 x 64.

    Shape:
        - input: ``[N, 2]``, the point's x and y.
        - output: ``[N, 4096]``, logits, row by row.
    """

    input_shape = (2,)

    def __init__(self, kernel_size: int, width: int, norm: bool) -> None:
        super().__init__()
        channels = [2, 64 * width, 64 * width, 64 * width, 32 * width, 32 * width, 1]
        # What doubles a map for each of the kernels: 2n = 2(n - 1) + kernel_size - 2 padding + output_padding.
        padding, output_padding = {2: (0, 0), 3: (1, 1), 4: (1, 0)}[kernel_size]
        layers: List[nn.Layer] = []
        for n_in, n_out in zip(channels, channels[1:]):
            layers.append(nn.Conv2DTranspose(n_in, n_out, kernel_size, 2, padding, output_padding))
            if n_out > 1:
                layers += [nn.BatchNorm2D(n_out), nn.ReLU()] if norm else [nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.reshape([-1, 2, 1, 1])).flatten(1)


class CoordinateRegressor(nn.Layer):
    """Where the lit pixel of a canvas is: the paper's network for it, five linear convolutions and a global maximum.

    Parameters:
        init: how the weights are initialised: "random", each by itself; "centred", but 0 on the coordinates, and the
            last bias is such that the lit pixel gives (0.5, 0.5), wherever it is.

    Shape:
        - input: ``[N, 1, 64, 64]``. Output: ``[N, 2]``, x and y as parts of the canvas.
    """

    input_shape = (1, SIZE, SIZE)

    def __init__(self, coords: str, init: str) -> None:
        super().__init__()
        first, last = CoordConv(1, 8, 1, coords=coords), Conv2D(8, 2, 3, padding=1)
        self.convolutions = nn.Sequential(
            first,
            Conv2D(8, 8, 1),
            Conv2D(8, 8, 1),
            Conv2D(8, 8, 3, padding=1),
            last,
        )
        if init == "centred":
            middle = paddle.zeros([1, *self.input_shape])
            middle[0, 0, SIZE // 2, SIZE // 2] = 1.0
            of_features, of_coordinates = first.conv.weight[:, :1], first.conv.weight[:, 1:]
            first.conv.weight.set_value(paddle.concat([of_features, paddle.zeros_like(of_coordinates)], axis=1))
            with paddle.no_grad():
                last.bias.set_value(last.bias + 0.5 - self(middle)[0])

    def forward(self, x: Tensor) -> Tensor:
        # Tensor.max has a gradient that takes Paddle's CPU kernels seconds; this has no form in half precision.
        return F.adaptive_max_pool2d(self.convolutions(x).astype("float32"), 1).flatten(1)


class _OnCanvas(nn.Sequential):
    """Layers that take a canvas with one lit pixel, ``[N, 1, 64, 64]``, and give its place, ``[N, 2]``."""

    input_shape = (1, SIZE, SIZE)


@MODELS.register
def coordinate_classification_coordconv(coords: str = "paddle", init: str = "random") -> nn.Layer:
    """The paper's CoordConv network for coordinate classification: 7,553 parameters."""
    check_choice("init", init, ("random", "differences"))
    return CoordinateClassifier(coords, init)


@MODELS.register
def coordinate_rendering_coordconv(
    kernel_size: int = 3, width: int = 2, coords: str = "paddle", init: str = "random"
) -> nn.Layer:
    """The paper's CoordConv network for rendering: 8,074 (kernel 1, width 1) to 24,210 parameters (3, 2)."""
    check_int("kernel_size", kernel_size, 1, 3)
    check_int("width", width, 1, 3)
    check_choice("init", init, ("random", "differences"))
    return CoordinateRenderer(kernel_size, width, coords, init)


@MODELS.register
def coordinate_deconvolution(kernel_size: int = 2, width: int = 1, norm: bool = True) -> nn.Layer:
    """What classification and rendering were compared with: 46,465 (kernel 2, width 1) to 1,632,001 parameters (4, 3).

    The tutorial's has kernel 2, width 3 and no ``norm`` (batch normalisation): 408,193 parameters.
    """
    check_int("kernel_size", kernel_size, 2, 4)
    check_int("width", width, 1, 3)
    check_bool("norm", norm)
    return Deconvolution(kernel_size, width, norm)


@MODELS.register
def coordinate_regression_coordconv(coords: str = "paddle", init: str = "random") -> nn.Layer:
    """The paper's CoordConv network for regression, with no activations: 906 parameters."""
    check_choice("init", init, ("random", "centred"))
    return CoordinateRegressor(coords, init)


@MODELS.register
def coordinate_regression_conv_pooled() -> nn.Layer:
    """The paper's convolutional network for regression on the uniform split: 72,850 parameters."""
    layers: List[nn.Layer] = []
    for n_in in (1, 16, 16):
        layers += [Conv2D(n_in, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2)]
    head = [nn.Flatten(), nn.Linear(8 * 8 * 16, 64), nn.ReLU(), nn.Linear(64, 2)]
    return _OnCanvas(*layers, Conv2D(16, 16, 3, padding=1), nn.ReLU(), *head)


@MODELS.register
def coordinate_regression_conv_strided() -> nn.Layer:
    """The paper's convolutional network for regression on the quadrant split: 12,914 parameters."""
    return _OnCanvas(
        Conv2D(1, 16, 5, 2, 2),
        nn.ReLU(),
        Conv2D(16, 16, 1),
        nn.BatchNorm2D(16),
        nn.ReLU(),
        Conv2D(16, 16, 3, 1, 1),
        nn.ReLU(),
        Conv2D(16, 16, 3, 2, 1),
        nn.ReLU(),
        Conv2D(16, 16, 3, 2, 1),
        nn.BatchNorm2D(16),
        nn.ReLU(),
        Conv2D(16, 16, 3, 2, 1),
        nn.ReLU(),
        Conv2D(16, 16, 1),
        nn.ReLU(),
        Conv2D(16, 16, 3, 2, 1),
        nn.ReLU(),
        Conv2D(16, 2, 3, 1, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2D(1),
        nn.Flatten(),
    )


@MODELS.register
def coordinate_corner(coordconv: bool = True, coords: str = "paddle") -> nn.Layer:
    """gnouhp's small network with a fully connected layer, for the top-left corner of a square."""
    check_bool("coordconv", coordconv)
    return _OnCanvas(
        CoordConv(1, 1, 1, coords=coords) if coordconv else Conv2D(1, 1, 1),
        nn.BatchNorm2D(1),
        Conv2D(1, 2, 3, 2, 1),
        nn.BatchNorm2D(2),
        nn.MaxPool2D(5, 2, 2),
        nn.ReLU(),
        Conv2D(2, 2, 3, 2, 1),
        nn.BatchNorm2D(2),
        nn.MaxPool2D(5, 2, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 2),
        nn.ReLU(),
    )
