"""The classifiers of ``paddle.vision.models``, with CoordConv in the place of some of their convolutions."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Callable

from paddle import nn
from paddle.vision import models as vision

from ..convert import convert_to_coordconv
from ..coords import CoordsLike
from ..utils.arguments import check_bool
from ..utils.errors import ArgumentError, shortened
from . import MODELS

# By how a builder's name begins, the smallest side of a picture that leaves something of its maps. Not here are alexnet
# and LeNet, which take pictures of one size, and googlenet, which gives three outputs.
MIN_SIDES = {
    "resnet": 1,
    "resnext": 1,
    "wide_resnet": 1,
    "vgg": 1,
    "densenet": 1,
    "mobilenet": 1,
    "shufflenet": 1,
    "squeezenet": 32,
    "inception": 75,
}
# Paddle's default. With the 0.99 of its MobileNetV3, running statistics lag so far behind that a training of some
# hundred steps ends with a network that is right in training and, when it is evaluated, at chance.
NORM_MOMENTUM = 0.9
MATCHES = {"first": None, "all": "all"}


def min_side(name: str) -> int:
    """Of the pictures that the classifier of that name takes, in pixels; 0: it is none of these."""
    return next((side for beginning, side in MIN_SIDES.items() if name.startswith(beginning)), 0)


def vision_network(name: str, **options: Any) -> nn.Layer:
    """A network of ``paddle.vision`` as its builder of that name makes it, but for the momentum of batch norms."""
    network = getattr(vision, name)(**options)
    for layer in network.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer._momentum = NORM_MOMENTUM
    return network


def _builder(name: str) -> Callable[..., nn.Layer]:
    def build(
        num_classes: int = 1000, coord: str = "first", coords: CoordsLike = "paddle", with_r: bool = False
    ) -> nn.Layer:
        """A classifier of ``paddle.vision``, for pictures ``[N, 3, H, W]`` of any size.

        The weights on the coordinates start at zero: with the same seed, a network and its twin without CoordConv start
        as the same function.

        Parameters:
            coord: which convolutions become CoordConv: "none", "first", "all", or those whose name fits a pattern, as
                ``convert_to_coordconv`` takes it, "layer4.*.conv1".
        """
        check_bool("with_r", with_r)
        network = vision_network(name, num_classes=num_classes)
        network.min_side = min_side(name)
        return network if coord == "none" else _converted(network, coord, coords, with_r)

    build.__name__ = build.__qualname__ = name
    return build


def _converted(network: nn.Layer, coord: str, coords: CoordsLike, with_r: bool) -> nn.Layer:
    names = [name for name, layer in network.named_sublayers() if isinstance(layer, nn.Conv2D)]
    if not isinstance(coord, str) or not (coord in MATCHES or any(fnmatchcase(name, coord) for name in names)):
        takes = "takes none, first, all, or a pattern that fits the names of convolutions"
        raise ArgumentError("coord", f"{takes}, {shortened(names, 6)}; got {coord!r}")
    return convert_to_coordconv(network, MATCHES.get(coord, coord), coords=coords, with_r=with_r)


NAMES = [name for name in vision.__all__ if min_side(name)]
for _name in NAMES:
    MODELS.register(_builder(_name))
