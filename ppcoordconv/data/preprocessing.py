"""From what ``inference.yml`` says of a model's inputs back to what prepares them."""

from __future__ import annotations

from typing import Any, Dict, Union

from ..utils.arguments import check_choice, has_shape
from ..utils.errors import UserError, argument_prefix
from .boxes import Letterbox
from .images import Preprocess
from .points import PointPreprocess

Preprocessing = Union[Preprocess, PointPreprocess]
KINDS = {"image": Preprocess, "letterbox": Letterbox, "points": PointPreprocess}


def served_preprocess(description: Dict[str, Any]) -> Preprocessing:
    """What prepares the inputs of an exported model.

    Raises:
        UserError: its settings are wrong, or what it prepares is not what the model takes.
    """
    preprocess = preprocess_of(description["preprocess"])
    made, taken = preprocess.input_shape, description["input_shape"]
    if not has_shape(made, taken):
        raise UserError(f"preprocess makes inputs of shape {made}, and the model takes {taken}")
    return preprocess


def preprocess_of(settings: Dict[str, Any]) -> Preprocessing:
    """Raises a UserError where the settings are not those of a kind, or out of range."""
    with argument_prefix("preprocess."):
        check_choice("kind", settings.get("kind"), KINDS)
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k != "kind"}
        try:
            return KINDS[settings["kind"]](**options)
        except TypeError as error:  # of the signature: a setting is missing, or there is one more
            raise UserError(f"preprocess has other settings than its kind takes: {error}") from error
