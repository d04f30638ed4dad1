"""Backbones: from a picture to maps of several strides, for the detectors, keypoint and segmentation networks."""

from __future__ import annotations

from typing import Callable, Dict, List, Sequence

import paddle
from paddle import Tensor, nn

from ..layers import Conv2D
from ..utils.arguments import check_choice
from .vision import NAMES, vision_network


class SmallBackbone(nn.Layer):
    """Five convolutions for small pictures, with maps at a quarter and an eighth of their size.

    Attributes:
        strides, out_channels: of the maps, from fine to coarse.
        anchors: those of a field of digits.
    """

    strides = (4, 8)
    anchors = ((7, 16), (10, 15), (12, 17), (11, 20), (14, 19), (16, 21))

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.out_channels = [2 * width, 4 * width]
        self.stem = conv_bn(3, width, stride=2)
        self.stages = nn.LayerList(
            [
                nn.Sequential(conv_bn(width, 2 * width, stride=2), conv_bn(2 * width, 2 * width)),
                nn.Sequential(conv_bn(2 * width, 4 * width, stride=2), conv_bn(4 * width, 4 * width)),
            ]
        )

    def forward(self, x: Tensor) -> List[Tensor]:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def conv_bn(n_in: int, n_out: int, size: int = 3, stride: int = 1) -> nn.Layer:
    """A convolution that keeps the size, or divides it by the stride, a batch norm, and ReLU."""
    convolution = Conv2D(n_in, n_out, size, stride=stride, padding=size // 2, bias_attr=False)
    return nn.Sequential(convolution, nn.BatchNorm2D(n_out), nn.ReLU())


def _of_densenet(body: nn.Layer) -> List[nn.Layer]:
    blocks, transitions = body.dense_block_func_list, body.transition_func_list
    joined = [layer for pair in zip(blocks, transitions) for layer in pair]
    return [body.conv1_func, body.pool2d_max, *joined, blocks[-1], body.batch_norm]


def _of_resnet(body: nn.Layer) -> List[nn.Layer]:
    stem = [body.conv1, body.bn1, body.relu, body.maxpool]
    return [*stem, body.layer1, body.layer2, body.layer3, body.layer4]


# By how the name of a classifier of paddle.vision begins, the layers that its maps go through, one after the other.
CHAINS: Dict[str, Callable[[nn.Layer], List[nn.Layer]]] = {
    "resnet": _of_resnet,
    "resnext": _of_resnet,
    "wide_resnet": _of_resnet,
    "vgg": lambda body: list(body.features),
    "densenet": _of_densenet,
    "mobilenet_v1": lambda body: [body.conv1, *body.dwsl],
    "mobilenet_v2": lambda body: list(body.features),
    "mobilenet_v3": lambda body: [body.conv, *body.blocks, body.lastconv],
    "shufflenet": lambda body: [body._conv1, body._max_pool, *body._block_list, body._last_conv],
}
# Of them, those of paddle.vision that have maps at each stride up to 32: not squeezenet and inception.
VISION_BACKBONES = [name for name in NAMES if name.startswith(tuple(CHAINS))]


class VisionBackbone(nn.Layer):
    """A classifier of ``paddle.vision``, without its head: of each stride the last map.

    Its weights are those of ``body``, under the names that they have in ``paddle.vision``.

    Attributes:
        strides, out_channels: of the maps, from fine to coarse.
        anchors: COCO's for strides of 8, 16 and 32, for pictures of 608x608 (Redmon & Farhadi 2018, arXiv:1804.02767).
    """

    anchors = ((10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326))

    def __init__(self, name: str, strides: Sequence[int] = (8, 16, 32)) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.body = vision_network(name, num_classes=0, with_pool=False)
        self._chain = next(chain for beginning, chain in CHAINS.items() if name.startswith(beginning))
        self.body.eval()
        side, x, shapes = 64, paddle.zeros([1, 3, 64, 64]), []
        with paddle.no_grad():
            for layer in self._chain(self.body):
                x = layer(x)
                shapes.append(x.shape)
        self.body.train()
        # The last map of a stride is behind so many layers.
        self._ends = [1 + max(n for n, shape in enumerate(shapes) if shape[2] * stride == side) for stride in strides]
        self.out_channels = [shapes[end - 1][1] for end in self._ends]

    def forward(self, x: Tensor) -> List[Tensor]:
        # Looked up at each call: a layer of the body may have become CoordConv.
        chain = self._chain(self.body)
        maps = []
        for start, end in zip([0, *self._ends], self._ends):
            for layer in chain[start:end]:
                x = layer(x)
            maps.append(x)
        return maps


def build_backbone(name: str, strides: Sequence[int] = (8, 16, 32)) -> nn.Layer:
    """The small one, whose strides are its own, or one of ``paddle.vision``, with maps of these strides."""
    check_choice("backbone", name, ("small", *VISION_BACKBONES))
    return SmallBackbone() if name == "small" else VisionBackbone(name, strides)
