"""The two small classifiers of the AI Studio article on CoordConv: one with it as its last convolution, one without."""

from __future__ import annotations

import paddle.nn.functional as F
from paddle import Tensor, nn

from ..coords import CoordsLike
from ..layers import Conv2D, CoordConv
from ..utils.arguments import check_bool
from . import MODELS


class AIStudioNet(nn.Layer):
    """Three convolutions, a fourth that is given, two fully connected layers; the article's names for all of them.

    Shape:
        - input: ``[N, 3, 32, 32]``, floating.
        - output: ``[N, num_classes]``, logits.
    """

    input_shape = (3, 32, 32)

    def __init__(self, conv4: nn.Layer, num_classes: int) -> None:
        super().__init__()
        self.conv1 = Conv2D(3, 32, 3, padding=1)
        self.conv2 = Conv2D(32, 64, 3, stride=2)
        self.conv3 = Conv2D(64, 64, 3, stride=2)
        self.conv4 = conv4
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(1024, 64)
        self.linear2 = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.conv3(x))
        x = F.relu(self.conv4(x))
        x = F.relu(self.linear1(self.flatten(x)))
        return self.linear2(x)


@MODELS.register
def aistudio_coordconv(num_classes: int = 1, coords: CoordsLike = "paddle", with_r: bool = False) -> nn.Layer:
    """The article's network with CoordConv: 160,065 parameters for one class."""
    check_bool("with_r", with_r)
    return AIStudioNet(CoordConv(64, 64, 3, stride=2, padding=1, coords=coords, with_r=with_r), num_classes)


@MODELS.register
def aistudio_conv(num_classes: int = 1) -> nn.Layer:
    """Its twin with a plain convolution: 158,913 parameters for one class."""
    return AIStudioNet(Conv2D(64, 64, 3, stride=2, padding=1), num_classes)
