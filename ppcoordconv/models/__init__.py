"""Networks by name: no data, no files, no config.

A function or class decorated with ``MODELS.register`` in a module of this package is a model of that name; its
parameters are the model's options.
"""

from __future__ import annotations

from typing import Any, List

from paddle import nn

from ..coords import find_coords, learnt_part
from ..utils.errors import ArgumentError, UserError
from ..utils.registry import Registry
from ..utils.weights import load_weights
from . import necks as necks
from . import zoo

MODELS = Registry("model", __name__)


def list_models() -> List[str]:
    """The names of the models, any of which ``create`` takes.

    Examples:
        >>> import ppcoordconv as pcc
        >>> pcc.models.list_models()[:2]
        ['aistudio_conv', 'aistudio_coordconv']
    """
    return MODELS.names()


def create(name: str, pretrained: bool = False, **options: Any) -> nn.Layer:
    """The network of that name.

    Parameters:
        name: one of ``list_models()``.
        pretrained: with the weights that come with the package (``docs/model_zoo.md``), and the options they are for.
        options: what that model takes.

    Raises:
        UserError: there is no such model, it has no such option, or there are no weights of it with these options.

    Examples:
        >>> import ppcoordconv as pcc
        >>> net = pcc.models.create("aistudio_coordconv", num_classes=10)
        >>> sum(p.size for p in net.parameters())
        160650
        >>> net = pcc.models.create("aistudio_coordconv", pretrained=True)  # reads handwritten digits
    """
    if not isinstance(pretrained, bool):
        raise ArgumentError("pretrained", f"takes True or False, got {pretrained!r}")
    if "coords" in options:
        try:
            if learnt := learnt_part(find_coords(options["coords"])):
                learnt.shape(2)  # the axes of a picture
        except (TypeError, ValueError) as error:
            raise UserError(str(error)) from error
    if not pretrained:
        return MODELS.build(name, **options)
    network = MODELS.build(name, **zoo.pretrained_options(name, MODELS.find(name), options))
    load_weights(network, zoo.weights_path(name))
    return network
