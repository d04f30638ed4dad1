"""From what ``inference.yml`` says of a model's inputs back to what prepares them."""

from __future__ import annotations

from typing import Any, Dict, Union

from .boxes import Letterbox
from .images import Preprocess
from .points import PointPreprocess

KINDS = {"image": Preprocess, "letterbox": Letterbox, "points": PointPreprocess}


def preprocess_of(settings: Dict[str, Any]) -> Union[Preprocess, PointPreprocess]:
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k != "kind"}
    return KINDS[settings["kind"]](**options)
