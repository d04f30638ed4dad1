"""Weights of a network with plain convolutions, for the same network with CoordConv in their place."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

import paddle
from paddle import Tensor, nn

from ..layers import CoordConvNd
from .to_coordconv import filled_weight


def load_plain_weights(model: nn.Layer, state: Dict[str, Any]) -> List[str]:
    """Loads the weights of a network of plain convolutions into one that has CoordConv in some places.

    A CoordConv takes those of the convolution that had its name; its weights on the coordinates become zero, so that
    the network computes what the plain one computed, until it is trained. A learnt table stays as it is.

    Parameters:
        model: the network with CoordConv.
        state: what ``paddle.load`` gave: by name, tensors or arrays. A CoordConv's own weights are taken as they are.

    Returns:
        The names of the layers whose weights on the coordinates were set to zero.

    Raises:
        TypeError: ``model`` is not a layer, or ``state`` not a dict.
        ValueError: the state lacks some, has others, or some have another shape; it names them, and nothing is loaded.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> plain = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.BatchNorm2D(8))
        >>> model = paddle.nn.Sequential(pcc.CoordConv(3, 8, 3), paddle.nn.BatchNorm2D(8))
        >>> pcc.load_plain_weights(model, plain.state_dict())
        ['0']
    """
    if not isinstance(model, nn.Layer):
        raise TypeError(f"load_plain_weights: expected a paddle.nn.Layer, got {type(model).__name__}")
    if not isinstance(state, dict):
        raise TypeError(f"state: expected a dict, got {type(state).__name__}")
    given, filled = with_coordinates(model, state)
    own = model.state_dict()
    faults = [f"{name} is missing" for name in own if name not in given]
    faults += [f"{name} is not the model's" for name in given if name not in own]
    faults += [
        f"{name} has shape {list(given[name].shape)} instead of {list(own[name].shape)}"
        for name in own
        if name in given and list(given[name].shape) != list(own[name].shape)
    ]
    if faults:
        raise ValueError(f"state: it does not fit the model: {'; '.join(faults[:5])}{'; ...' if faults[5:] else ''}")
    model.set_state_dict({name: value.astype(own[name].dtype) for name, value in given.items()})
    return filled


def with_coordinates(model: nn.Layer, state: Dict[str, Any]) -> Tuple[Dict[str, Tensor], List[str]]:
    """The tensors of a state by the model's own names, where it is of plain convolutions with zeros for coordinates;
    and the names of the layers of which that is so."""
    given = {name: paddle.to_tensor(value) for name, value in state.items() if hasattr(value, "shape")}
    filled = []
    for before, layer in coord_convs(model).items():
        for parameter in ("weight", "bias"):
            if f"{before}{parameter}" in given:
                given[f"{before}conv.{parameter}"] = given.pop(f"{before}{parameter}")
        weight, conv = given.get(f"{before}conv.weight"), layer.conv
        wanted = list(conv.weight.shape)
        wanted[0 if conv.transposed else 1] -= conv.grid_channels * (conv._groups if conv.transposed else 1)
        if weight is not None and list(weight.shape) == wanted:
            given[f"{before}conv.weight"] = filled_weight(conv, weight)
            filled.append(before[:-1])
            if layer.table is not None:
                given.setdefault(f"{before}table.weight", layer.table.weight)
    return given, filled


def coord_convs(model: nn.Layer) -> Dict[str, CoordConvNd]:
    """By how the names of their weights begin, "layer1.0.": of a shared one by each of its names."""
    named = _all_names(model)
    return {f"{name}." if name else "": layer for name, layer in named if isinstance(layer, CoordConvNd)}


def _all_names(layer: nn.Layer, name: str = "") -> Iterator[Tuple[str, nn.Layer]]:
    """Every layer by every name that it has in the state dict; ``named_sublayers`` tells of a shared one only once."""
    yield name, layer
    for own, child in layer._sub_layers.items():
        if child is not None:
            yield from _all_names(child, f"{name}.{own}" if name else own)
