"""What kinds of coordinates the layers of a model have."""

from __future__ import annotations

from typing import List

from paddle import nn

from ..coords import Convention, Given, is_relative
from .add_coords import AddCoords
from .base import CoordConvNd


def has_coords(model: nn.Layer) -> bool:
    """Whether a layer has coordinates of its map, as a window changes them."""
    return any(not isinstance(convention, Given) for convention in _conventions(model))


def needs_points(model: nn.Layer) -> bool:
    """Whether a layer has coordinates relative to points."""
    return any(is_relative(convention) for convention in _conventions(model))


def _conventions(model: nn.Layer) -> List[Convention]:
    layers = model.sublayers(include_self=True)
    return [layer.convention for layer in layers if isinstance(layer, (AddCoords, CoordConvNd))]
