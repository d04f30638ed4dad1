"""CoordConv for PaddlePaddle: convolutions that know where they are."""

import importlib
import importlib.util
import sys

# Before paddle: paddlepaddle-gpu 2.6.2 brings a zlib of its own, and Python's crashes when it is loaded after that.
import zlib  # noqa: F401
from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:
    from . import deploy, functional, models
    from .analysis import CoordUsage, coord_usage
    from .convert import convert_to_coordconv, convert_to_deploy, load_plain_weights, paddledet_legacy_to_paddle
    from .coord_grids import coord_grid
    from .coords import Coords, Given, list_coords
    from .functional import explain
    from .given_coords import given
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
    from .points import relative_to
    from .tiling import predict_tiled
    from .utils.cpu import tune_cpu
    from .windows import window

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
    "Given",
    "convert_to_coordconv",
    "convert_to_deploy",
    "coord_grid",
    "coord_usage",
    "deploy",
    "explain",
    "functional",
    "given",
    "list_coords",
    "load_plain_weights",
    "models",
    "paddledet_legacy_to_paddle",
    "predict_tiled",
    "relative_to",
    "tune_cpu",
    "window",
]

if "paddle" not in sys.modules and importlib.util.find_spec("paddle") is None:
    raise ModuleNotFoundError(
        "ppcoordconv needs PaddlePaddle, which is not installed: "
        "pip install paddlepaddle (for the CPU) or pip install paddlepaddle-gpu (for NVIDIA GPUs)",
        name="paddle",
    )

# On first use, so that pcc.tune_cpu() can be called before Paddle is imported, and that who serves an exported model
# loads no networks.
_MODULES = {
    "convert": ["convert_to_coordconv", "convert_to_deploy", "load_plain_weights", "paddledet_legacy_to_paddle"],
    "coords": ["Coords", "Given", "list_coords"],
    "coord_grids": ["coord_grid"],
    "layers": [name for name in __all__ if name.startswith(("AddCoords", "CoordConv"))],
    "points": ["relative_to"],
    "tiling": ["predict_tiled"],
    "utils.cpu": ["tune_cpu"],
    "windows": ["window"],
    "analysis": ["CoordUsage", "coord_usage"],
    "deploy": [],
    "functional": ["explain"],
    "given_coords": ["given"],
    "models": [],
}


# With it, type checkers would take any name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f".{name}", __name__)
        for module, names in _MODULES.items():
            if name in names:
                return getattr(importlib.import_module(f".{module}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted(["__version__", *__all__])
