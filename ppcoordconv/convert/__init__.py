"""From a model that exists to one with CoordConv, and to the form that is exported."""

from .legacy import paddledet_legacy_to_paddle
from .plain_weights import load_plain_weights
from .to_coordconv import convert_to_coordconv
from .to_deploy import convert_to_deploy

__all__ = ["convert_to_coordconv", "convert_to_deploy", "load_plain_weights", "paddledet_legacy_to_paddle"]
