"""From weights to a served model: export, its check, the predictor. Serving imports no network and no task."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .predictor import Predictor

if TYPE_CHECKING:
    from .export_network import export

__all__ = ["Predictor", "export"]

# With it, type checkers would take any name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "export":  # which needs more than serving does
            return importlib.import_module(".export_network", __name__).export
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
