"""A network that begins with the weights of another, and layers that stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

from paddle import nn

from ..convert.plain_weights import coord_convs, with_coordinates
from ..utils.errors import ArgumentError, MissingFileError, shortened
from ..utils.patterns import check_patterns, names_that_fit
from ..utils.progress import log_info
from ..utils.weights import fit_part, load_state
from . import zoo

NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.BatchNorm)


def begin_with(network: nn.Layer, source: Any) -> None:
    """Gives a network the weights of a file, as far as they fit by name and shape; says what was and was not taken.

    Where the file is of plain convolutions and the network has CoordConv, the weights on the coordinates become zero. A
    file may be of a part of the network, as that of a classifier is for a detector with it as its backbone.

    Parameters:
        source: the path of a file, or the name of a model with weights in the package.

    Raises:
        ArgumentError: "weights": there is no such file, or none of its weights fit.
        UserError: the file can't be read.
    """
    rows = zoo.rows()
    if not isinstance(source, str) or not source:
        raise ArgumentError("weights", f"takes the path of a file, or one of {', '.join(rows)}; got {source!r}")
    try:
        state = load_state(zoo.weights_path(source) if source in rows else Path(source))
    except MissingFileError:
        takes = f"takes the path of a file, or one of {', '.join(rows)}"
        raise ArgumentError("weights", f"{takes}; there is no file {source!r}") from None
    given, filled = with_coordinates(network, _named_as_in(network, state))
    reasons = fit_part(network, given)
    taken = [name for name in given if name not in reasons]
    if not taken:
        few = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:3]) or "it has no arrays"
        raise ArgumentError("weights", f"takes a file with weights for this model, and none of {source} fits: {few}")
    _say(source, len(given), taken, filled, reasons, [name for name in network.state_dict() if name not in given])


def _say(
    source: str, count: int, taken: List[str], filled: List[str], reasons: Dict[str, str], missing: List[str]
) -> None:
    others = [f"{name} ({reason})" for name, reason in reasons.items()]
    starting_at_zero = [name for name in filled if f"{name}.conv.weight".lstrip(".") in taken]
    log_info(f"{source}: {len(taken)} of {count} arrays are taken")
    for said, names in (
        ("of plain convolutions, so that the weights on coordinates start at zero in", starting_at_zero),
        ("left out:", others),
        ("not in it, and left as they were:", missing),
    ):
        if names:
            log_info(f"{source}: {said} {shortened(names, 6)}")


def _named_as_in(network: nn.Layer, state: Dict[str, Any]) -> Dict[str, Any]:
    """With names that begin with that of the layer which most of the arrays fit."""
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    # Of a CoordConv, a plain convolution's weight has another shape; its bias and the layers around it tell enough.
    shapes.update({f"{before}bias": shapes.get(f"{before}conv.bias", []) for before in coord_convs(network)})
    given = {name: list(value.shape) for name, value in state.items() if hasattr(value, "shape")}
    beginnings = ["", *(f"{name}." for name, _ in network.named_sublayers())]
    best = max(beginnings, key=lambda begin: sum(shapes.get(begin + name) == shape for name, shape in given.items()))
    return {best + name: value for name, value in state.items()}


def freeze(network: nn.Layer, patterns: Any) -> None:
    """Leaves the weights of layers as they are, and the running statistics of the batch norms in them.

    Parameters:
        patterns: one for the names of layers, or a list of them; what lies in a layer is frozen with it.

    Raises:
        ArgumentError: "freeze": a pattern fits no layer, or nothing is left to train.
    """
    layers = {name: layer for name, layer in network.named_sublayers() if layer.parameters()}
    for pattern in check_patterns("freeze", patterns):
        for name in names_that_fit("freeze", pattern, list(layers)):
            for parameter in layers[name].parameters(include_sublayers=False):
                parameter.stop_gradient = True
            if isinstance(layers[name], NORMS):
                # Unlike eval(), a later train() of the network does not undo it.
                layers[name]._use_global_stats = True
    if all(parameter.stop_gradient for parameter in network.parameters()):
        raise ArgumentError("freeze", f"takes patterns that leave something to train, got {patterns!r}")
