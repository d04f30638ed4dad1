"""Networks by name: no data, no files, no config.

A function or class decorated with ``MODELS.register`` in a module of this package is a model of that name; its
parameters are the model's options.
"""

from __future__ import annotations

from typing import Any, List

from paddle import nn

from ..registry import Registry
from . import necks as necks

MODELS = Registry("model", __name__)


def list_models() -> List[str]:
    """The names of the models, any of which ``create`` takes.

    Examples:
        >>> import ppcoordconv as pcc
        >>> pcc.models.list_models()[:2]
        ['aistudio_conv', 'aistudio_coordconv']
    """
    return MODELS.names()


def create(name: str, **options: Any) -> nn.Layer:
    """The network of that name.

    Parameters:
        name: one of ``list_models()``.
        options: what that model takes.

    Raises:
        UserError: there is no such model, or it has no such option.

    Examples:
        >>> import ppcoordconv as pcc
        >>> net = pcc.models.create("aistudio_coordconv", num_classes=10)
        >>> sum(p.size for p in net.parameters())
        160650
    """
    return MODELS.build(name, **options)
