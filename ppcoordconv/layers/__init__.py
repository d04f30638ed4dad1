"""The layers: convolutions over features and their coordinates, and the coordinate channels alone."""

from .add_coords import AddCoords
from .base import CoordConvNd
from .contained import has_coords, needs_points
from .coord_conv import CoordConv, CoordConv1D, CoordConv2D, CoordConv3D
from .coord_conv_transpose import CoordConv1DTranspose, CoordConv2DTranspose, CoordConv3DTranspose
from .fast_bias import Conv2D
from .grid_conv import GridConv
from .norm_activation import CoordConvNormActivation
from .quantised import QuantedGridConv

__all__ = [
    "AddCoords",
    "Conv2D",
    "CoordConv",
    "CoordConv1D",
    "CoordConv1DTranspose",
    "CoordConv2D",
    "CoordConv2DTranspose",
    "CoordConv3D",
    "CoordConv3DTranspose",
    "CoordConvNd",
    "CoordConvNormActivation",
    "GridConv",
    "QuantedGridConv",
    "has_coords",
    "needs_points",
]
