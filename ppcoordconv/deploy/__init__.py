"""From weights to a served model: export, its check, the predictor. Serving imports no network and no task."""

from .predictor import Predictor

__all__ = ["Predictor"]
