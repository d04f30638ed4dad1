"""Keypoint networks: a backbone, and a light head that gives a map for each point, at a quarter of the input's size."""

from __future__ import annotations

import math
from typing import List, Tuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from ..compat import shape_of
from ..coord_grids import coord_grid
from ..coords import CoordsLike
from ..layers import Conv2D
from ..utils.arguments import check_int
from . import MODELS
from .backbones import build_backbone
from .placement import with_coords

STRIDE = 4
# How far around a point its map is looked at, in cells, and how often.
REACH = 4
STEPS = 6


class KeypointNet(nn.Layer):
    """From a picture to a map for each point, as Xiao et al. 2018 (arXiv:1804.06208) with a lighter head.

    Shape:
        - input: ``[N, 3, H, W]``; H and W multiples of ``coarsest``.
        - output: ``[N, num_keypoints, H / 4, W / 4]``.

    Attributes:
        input_shape: of an input that it takes, without the batch.
        for_task: the one task whose loss takes the maps.
        stride: of the maps.
        coarsest: the stride of the backbone.
    """

    input_shape = (3, 64, 64)
    for_task = "keypoints"
    stride = STRIDE

    def __init__(self, backbone: nn.Layer, num_keypoints: int, width: int = 64) -> None:
        super().__init__()
        self.backbone = backbone
        self.coarsest, channels = backbone.strides[-1], backbone.out_channels[-1]
        layers: List[nn.Layer] = []
        for _ in range(int(math.log2(self.coarsest // STRIDE))):
            layers += [nn.Conv2DTranspose(channels, width, 4, stride=2, padding=1, bias_attr=False)]
            layers += [nn.BatchNorm2D(width), nn.ReLU()]
            channels = width
        layers += [Conv2D(channels, width, 3, padding=1, bias_attr=False), nn.BatchNorm2D(width), nn.ReLU()]
        self.head = nn.Sequential(*layers, Conv2D(width, num_keypoints, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x)[-1])


def pixel_grid(maps: Tensor) -> Tensor:
    """x and y of each place of maps ``[..., h, w]``: ``[1, 2, h, w]``, from 0."""
    return coord_grid(shape_of(maps)[2:], "pixel")


class MapsToPoints(nn.Layer):
    """From maps to points in pixels of the input, with a score of 0..1.

    Parameters:
        method: "heatmap": the middle of what is around the highest place of a map, whose height is the score; "dsnt":
            the expected place of the map's softmax (Nibali et al. 2018, arXiv:1801.07372); the score is how much of it
            is near there.
        stride: of the maps.

    Shape:
        - input: ``[N, K, h, w]``. Output: ``[N, K, 3]``: x, y, score.
    """

    def __init__(self, method: str, stride: int) -> None:
        super().__init__()
        self._find = METHODS[method]
        self._stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        grid = pixel_grid(maps)
        # [1, 3, places]: x, y and ones, the last of which sum what the others weigh.
        places = paddle.concat([grid, paddle.ones_like(grid[:, :1])], axis=1).flatten(2)
        point, score = self._find(maps.astype("float32").flatten(2), places)
        return paddle.concat([(point + 0.5) * self._stride, score], axis=2)


# What follows takes maps as ``[N, K, places]``; sums are linear layers, which every form of graph has.


def _sums(weights: Tensor, places: Tensor) -> Tensor:
    """Of x, y and 1, each times the weights: ``[N, K, 3]``."""
    return F.linear(weights, places[0].transpose([1, 0]))


def _middle(weights: Tensor, places: Tensor) -> Tensor:
    """The weighted mean of the places: ``[N, K, 2]``."""
    sums = _sums(weights, places)
    return sums[:, :, :2] / sums[:, :, 2:]


def _distance(places: Tensor, point: Tensor) -> Tensor:
    """The squared distance of each place from a point ``[N, K, 2]``, in cells: ``[N, K, places]``."""
    x, y = places[:, :1] - point[:, :, :1], places[:, 1:2] - point[:, :, 1:]
    return x * x + y * y


def _highest(maps: Tensor, places: Tensor) -> Tuple[Tensor, Tensor]:
    """By mean shift (Comaniciu & Meer 2002) from the highest place, which finds what lies between cells."""
    peak = F.adaptive_max_pool1d(maps, 1)
    at_peak = (maps >= peak).astype("float32")
    point = _middle(at_peak, places)
    for _ in range(STEPS):
        window = F.relu(1 - _distance(places, point) / REACH**2)
        # The peak itself has a little weight, so that there is some where nothing is above 0.
        point = _middle(F.relu(maps) * window * window + 1e-6 * at_peak, places)
    return point, F.hardtanh(peak, 0, 1)


def _expected(maps: Tensor, places: Tensor) -> Tuple[Tensor, Tensor]:
    share = F.softmax(maps, axis=2)
    point = _middle(share, places)
    is_near = (_distance(places, point) <= REACH**2).astype("float32")
    return point, F.hardtanh(_sums(share * is_near, places)[:, :, 2:], 0, 1)


METHODS = {"heatmap": _highest, "dsnt": _expected}


@MODELS.register
def keypoint_net(
    num_keypoints: int = 17,
    backbone: str = "small",
    coord: str = "input",
    coords: CoordsLike = "paddle",
    with_r: bool = False,
) -> nn.Layer:
    """A network that finds keypoints.

    Parameters:
        backbone: "small", or of ``paddle.vision``: "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", ...
        coord: what becomes CoordConv: "none", "input", the first convolution; "head", those of the head; or "all".
    """
    check_int("num_keypoints", num_keypoints, 1, 10_000)
    network = KeypointNet(build_backbone(backbone, strides=(32,)), num_keypoints)
    return with_coords(network, coord, coords, with_r)
