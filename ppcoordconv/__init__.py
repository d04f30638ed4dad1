"""CoordConv for PaddlePaddle: convolutions that know where they are."""

import importlib

# Before paddle: paddlepaddle-gpu 2.6.2 brings a zlib of its own, and Python's crashes when it is loaded after that.
import zlib  # noqa: F401
from types import ModuleType

try:
    import paddle as _paddle  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "paddle":
        raise
    raise ModuleNotFoundError(
        "ppcoordconv needs PaddlePaddle, which is not installed: "
        "pip install paddlepaddle (for the CPU) or pip install paddlepaddle-gpu (for NVIDIA GPUs)",
        name="paddle",
    ) from None

from .convert import convert_to_coordconv, paddledet_legacy_to_paddle
from .coords import Coords, coord_grid, list_coords
from .layers import (
    AddCoords,
    CoordConv,
    CoordConv1D,
    CoordConv1DTranspose,
    CoordConv2D,
    CoordConv2DTranspose,
    CoordConv3D,
    CoordConv3DTranspose,
    CoordConvNormActivation,
)
from .usage import CoordUsage, coord_usage

__version__ = "0.1.0"
__all__ = [
    "AddCoords",
    "CoordConv",
    "CoordConv1D",
    "CoordConv1DTranspose",
    "CoordConv2D",
    "CoordConv2DTranspose",
    "CoordConv3D",
    "CoordConv3DTranspose",
    "CoordConvNormActivation",
    "CoordUsage",
    "Coords",
    "convert_to_coordconv",
    "coord_grid",
    "coord_usage",
    "deploy",
    "list_coords",
    "models",
    "paddledet_legacy_to_paddle",
]


def __getattr__(name: str) -> ModuleType:
    # On first use: who serves an exported model needs no networks, who trains needs no predictor.
    if name in ("deploy", "models"):
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
