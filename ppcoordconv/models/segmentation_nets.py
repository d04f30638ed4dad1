"""Segmentation networks: a U-Net, and a feature pyramid on any backbone, which give a score of each class per pixel."""

from __future__ import annotations

from typing import List

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ..coords import CoordsLike
from ..layers import Conv2D
from ..utils.arguments import check_int
from . import MODELS
from .backbones import build_backbone, conv_bn
from .necks import FPN, enlarged
from .placement import with_coords


class SegmentationNet(nn.Layer):
    """What the networks of the task "segmentation" have.

    Shape:
        - input: ``[N, 3, H, W]``; H and W multiples of ``coarsest``.
        - output: ``[N, num_classes, H, W]``, logits.

    Attributes:
        input_shape: of an input that it takes, without the batch.
        for_task: the one task whose loss takes the maps.
        coarsest: the largest stride of its maps.
    """

    input_shape = (3, 64, 64)
    for_task = "segmentation"
    coarsest: int


class UNet(SegmentationNet):
    """As Ronneberger et al. 2015 (arXiv:1505.04597), with padding, so that maps keep their sizes, and batch norms."""

    def __init__(self, num_classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.coarsest = 2**depth
        channels = [width * 2**level for level in range(depth + 1)]
        pairs = list(zip([3, *channels], channels))
        self.down = nn.LayerList([nn.Sequential(conv_bn(i, o), conv_bn(o, o)) for i, o in pairs])
        back = list(zip(channels[:0:-1], channels[-2::-1]))
        self.up = nn.LayerList([nn.Conv2DTranspose(i, o, 2, stride=2) for i, o in back])
        self.join = nn.LayerList([nn.Sequential(conv_bn(2 * o, o), conv_bn(o, o)) for _, o in back])
        self.head = Conv2D(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps: List[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            maps.append(x)
        for number, (up, join) in enumerate(zip(self.up, self.join)):
            x = join(paddle.concat([maps[-2 - number], up(x)], axis=1))
        return self.head(x)


class FPNSegmentation(SegmentationNet):
    """The sum of a pyramid's maps, at the finest one's size, and a light head (after Kirillov et al. 2019,
    arXiv:1901.02446).
    """

    def __init__(self, backbone: nn.Layer, num_classes: int, width: int) -> None:
        super().__init__()
        self.coarsest = backbone.strides[-1]
        self._scales = [stride // backbone.strides[0] for stride in backbone.strides]
        self._finest = backbone.strides[0]
        self.backbone = backbone
        self.neck = FPN(backbone.out_channels, width, coord_conv=False)
        self.head = nn.Sequential(conv_bn(width, width), Conv2D(width, num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.neck(self.backbone(x))
        total = maps[0]
        for y, scale in zip(maps[1:], self._scales[1:]):
            total = total + enlarged(y, scale)
        return enlarged(self.head(total), self._finest)


@MODELS.register
def unet(
    num_classes: int = 2,
    width: int = 16,
    depth: int = 4,
    coord: str = "input",
    coords: CoordsLike = "paddle",
    with_r: bool = False,
) -> nn.Layer:
    """A U-Net.

    Parameters:
        width: channels of the finest maps, twice as many at each level below. depth: how often the maps are halved.
        coord: what becomes CoordConv: "none", "input", the first convolution; "head", the last one; or "all".
    """
    check_int("num_classes", num_classes, 2, 255)
    check_int("width", width, 1, 1024)
    check_int("depth", depth, 1, 6)
    return with_coords(UNet(num_classes, width, depth), coord, coords, with_r)


@MODELS.register
def fpn_segmentation(
    num_classes: int = 2,
    backbone: str = "small",
    width: int = 64,
    coord: str = "input",
    coords: CoordsLike = "paddle",
    with_r: bool = False,
) -> nn.Layer:
    """A feature pyramid on a backbone.

    Parameters:
        backbone: "small", or of ``paddle.vision``: "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", ...
        width: channels of the pyramid's maps.
        coord: what becomes CoordConv: "none", "input", the first convolution; "head", those of the head; or "all".
    """
    check_int("num_classes", num_classes, 2, 255)
    check_int("width", width, 1, 1024)
    network = FPNSegmentation(build_backbone(backbone, strides=(4, 8, 16, 32)), num_classes, width)
    return with_coords(network, coord, coords, with_r)
