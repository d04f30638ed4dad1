"""SOLOv2 in small: of each cell of a grid a category and the kernel that finds the mask of the object in that cell."""

from __future__ import annotations

from typing import Dict, List, Tuple

import paddle
import paddle.nn.functional as F
from paddle import ParamAttr, Tensor, nn
from paddle.nn.initializer import Constant, Normal

from ..convert import convert_to_coordconv
from ..coords import CoordsLike
from ..layers import Conv2D
from ..utils.arguments import check_bool, check_choice, check_int
from . import MODELS
from .backbones import build_backbone, conv_bn
from .necks import FPN, enlarged

# Of the mask features.
STRIDE = 4
# The level whose map is brought to the grid's size: its stride.
GRID_STRIDE = 8
# The logit of a category with which every cell begins: a probability of 0.01, as Lin et al. 2017 (arXiv:1708.02002).
RARE = -4.595
# That of a place which is no cell of the grid.
NOWHERE = -20.0


def _prediction(n_in: int, n_out: int, bias: float = 0.0) -> nn.Layer:
    small = ParamAttr(initializer=Normal(0.0, 0.01))
    return Conv2D(n_in, n_out, 3, padding=1, weight_attr=small, bias_attr=ParamAttr(initializer=Constant(bias)))


class SoloNet(nn.Layer):
    """Instances by their place (Wang et al. 2020, arXiv:2003.10152), with one grid.

    Shape:
        - input: ``[N, 3, H, W]``; H and W multiples of ``coarsest``.
        - output: a list of the categories' logits ``[N, num_classes, grid, grid]``, the kernels
          ``[N, mask_channels, grid, grid]``, and the mask features ``[N, mask_channels, H / 4, W / 4]``. The product of
          a cell's kernel and the features at a pixel is the logit of its mask there.

    Attributes:
        input_shape: of an input that it takes, without the batch.
        for_task: the one task whose loss takes the maps.
        stride: of the mask features.
        coarsest: the stride of the backbone.
        grid: how many cells there are in a row, and in a column.
    """

    input_shape = (3, 96, 96)
    for_task = "instance_segmentation"
    stride = STRIDE

    def __init__(self, backbone: nn.Layer, num_classes: int, grid: int, width: int, mask_channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.grid = grid
        self.coarsest = backbone.strides[-1]
        self._level = backbone.strides.index(GRID_STRIDE)
        self.neck = FPN(backbone.out_channels, width, coord_conv=False)
        self.kernel = nn.Sequential(conv_bn(width, width), conv_bn(width, width), _prediction(width, mask_channels))
        self.category = nn.Sequential(
            conv_bn(width, width), conv_bn(width, width), _prediction(width, num_classes, bias=RARE)
        )
        # Of each level as many convolutions as it is to be enlarged, by 2 each, and one of the finest.
        self.levels = nn.LayerList(
            [
                nn.LayerList([conv_bn(width, width) for _ in range(max(1, level))])
                for level in range(len(backbone.strides))
            ]
        )
        self.features = conv_bn(width, mask_channels, size=1)

    def forward(self, x: Tensor) -> List[Tensor]:
        maps = self.neck(self.backbone(x))
        cells = F.interpolate(maps[self._level], size=[self.grid, self.grid], mode="bilinear")
        total = self.levels[0][0](maps[0])
        for convolutions, y in zip(list(self.levels)[1:], maps[1:]):
            for convolution in convolutions:
                y = enlarged(convolution(y), 2)
            total = total + y
        return [self.category(cells), self.kernel(cells), self.features(total)]


class PackedInstances(nn.Layer):
    """What ``SoloNet`` gives as one array, from which ``ops.solo.find_instances`` makes objects.

    Shape:
        - input: a list of ``[N, C, S, S]``, ``[N, E, S, S]`` and ``[N, E, h, w]``, with S at most h and w.
        - output: ``[N, C + 2 * E, h, w]``: logits and kernels in the upper left corner, where the rest are cells of a
          category that is nothing's, and the features.
    """

    def forward(self, maps: List[Tensor]) -> Tensor:
        categories, kernels, features = maps
        corner = [_in_corner(categories, features, NOWHERE), _in_corner(kernels, features, 0.0)]
        return paddle.concat([*corner, features], axis=1)


def _in_corner(cells: Tensor, features: Tensor, value: float) -> Tensor:
    """``[N, C, S, S]`` as ``[N, C, h, w]``, of sums and of slices that are never empty, for graphs of any size."""
    side = cells.shape[2]
    nothing = 0 * features[:, :1] + paddle.full([1, cells.shape[1], 1, 1], value)
    above = paddle.concat([cells, nothing[:, :, :side]], axis=3)[:, :, :, :-side]
    return paddle.concat([above, nothing], axis=2)[:, :, :-side]


def _coordinates(levels: int) -> Dict[str, Tuple[str, ...]]:
    """By ``coord`` the convolutions that become CoordConv; of the mask features that of the coarsest level."""
    kernel, mask = "kernel.0.0", f"levels.{levels - 1}.0.0"
    return {"none": (), "kernel": (kernel,), "mask": (mask,), "both": (kernel, mask)}


@MODELS.register
def solo_net(
    num_classes: int = 80,
    backbone: str = "small",
    grid: int = 12,
    width: int = 32,
    mask_channels: int = 32,
    coord: str = "both",
    coords: CoordsLike = "solo",
    with_r: bool = False,
) -> nn.Layer:
    """A network that finds objects and their masks.

    The weights on the coordinates start at zero: with the same seed, a network and its twin without CoordConv start as
    the same function.

    Parameters:
        backbone: "small", or of ``paddle.vision``: "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", ...
        grid: how many cells there are in a row, and in a column; of two objects whose middles share one, one is found.
        width: channels of the pyramid and of the branches. mask_channels: of the mask features, and so of a kernel.
        coord: what has the coordinates: "none"; "kernel", the first convolution of the kernel branch; "mask", that of
            the mask features' coarsest level; or "both", as in SOLOv2.
    """
    check_int("num_classes", num_classes, 1, 100_000)
    check_int("grid", grid, 1, 128)
    check_int("width", width, 1, 1024)
    check_int("mask_channels", mask_channels, 1, 1024)
    check_bool("with_r", with_r)
    network = SoloNet(build_backbone(backbone, strides=(4, 8, 16, 32)), num_classes, grid, width, mask_channels)
    places = _coordinates(len(network.levels))
    check_choice("coord", coord, places)
    if coord == "none":
        return network
    return convert_to_coordconv(network, lambda name, _: name in places[coord], coords=coords, with_r=with_r)
