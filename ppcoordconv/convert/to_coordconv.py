"""A model that exists, with its convolutions replaced by CoordConv."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import Any, Callable, Dict, List, Type, Union

import paddle
from paddle import nn

from ..coords import Coords
from ..layers import (
    Conv2D,
    CoordConv1D,
    CoordConv1DTranspose,
    CoordConv2D,
    CoordConv2DTranspose,
    CoordConv3D,
    CoordConv3DTranspose,
    CoordConvNd,
    GridConv,
)

# Exactly these: a subclass does something else, which would be lost.
REPLACEMENTS: Dict[Type[nn.Layer], Type[CoordConvNd]] = {
    nn.Conv1D: CoordConv1D,
    nn.Conv2D: CoordConv2D,
    Conv2D: CoordConv2D,
    nn.Conv3D: CoordConv3D,
    nn.Conv1DTranspose: CoordConv1DTranspose,
    nn.Conv2DTranspose: CoordConv2DTranspose,
    nn.Conv3DTranspose: CoordConv3DTranspose,
}

Match = Union[None, str, Callable[[str, nn.Layer], bool]]


def convert_to_coordconv(
    model: nn.Layer, match: Match = None, *, coords: Union[str, Coords] = "paddle", with_r: bool = False
) -> nn.Layer:
    """Replaces convolutions of a model by CoordConv, in place; the outputs do not change until it is trained.

    The weights stay as they are, and those on the coordinates start at zero. The new layers have new parameters: make
    the optimizer afterwards.

    Parameters:
        model: any network of Paddle's convolutions.
        match: which to replace. None: the first; "all"; a pattern for their names, ``"backbone.*.conv1"``; or a
            function ``(name, layer) -> bool``.
        coords: the name of a convention or a ``Coords``.
        with_r: adds the radius channel.

    Returns:
        The model; if it is a convolution itself, its replacement.

    Raises:
        TypeError: ``model`` is not a layer, or ``match`` is of another type.
        ValueError: no convolution matches (it lists their names), or one that does is reparameterised, has hooks, or
            shares its weights.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.ReLU(), paddle.nn.Conv2D(8, 8, 3))
        >>> net = pcc.convert_to_coordconv(net)
        >>> type(net[0]).__name__, type(net[2]).__name__
        ('CoordConv', 'Conv2D')
    """
    if not isinstance(model, nn.Layer):
        raise TypeError(f"convert_to_coordconv takes a paddle.nn.Layer, got {type(model).__name__}")
    named = model.named_sublayers(include_self=True)
    candidates = {name: layer for name, layer in named if type(layer) in REPLACEMENTS}
    matches = _matcher(match, candidates)
    chosen = [layer for name, layer in candidates.items() if matches(name, layer)]
    if not chosen:
        names = ", ".join(map(repr, candidates)) or "it has none"
        raise ValueError(f"match={match!r} fits none of the model's convolutions: {names}")
    _refuse_shared_weights(model, chosen)
    new = {id(layer): _replacement(layer, coords, with_r) for layer in chosen}
    return replace_layers(model, new)


def replace_layers(model: nn.Layer, new: Dict[int, nn.Layer]) -> nn.Layer:
    """Puts the new layers, by the id of the old, wherever those are; returns what is then in the model's place."""
    for parent in model.sublayers(include_self=True):
        for name, child in list(parent._sub_layers.items()):  # named_children tells of a shared layer only once
            if id(child) in new:
                parent._sub_layers[name] = new[id(child)]
        for value in vars(parent).values():  # as in self.convs.append(self.add_sublayer("conv1", conv))
            if isinstance(value, list):
                value[:] = [new.get(id(item), item) for item in value]
    return new.get(id(model), model)


def _refuse_shared_weights(model: nn.Layer, chosen: List[nn.Layer]) -> None:
    layers = model.sublayers(include_self=True)
    users = Counter(id(parameter) for layer in layers for parameter in layer._parameters.values())
    for layer in chosen:
        if any(users[id(parameter)] > 1 for parameter in layer._parameters.values() if parameter is not None):
            raise ValueError(f"{layer} shares its weights with another layer, which its replacement would not")


def is_hooked(*layers: nn.Layer) -> bool:
    """Whether something else happens in a layer, as with ``weight_norm``."""
    return any(layer._forward_pre_hooks or layer._forward_post_hooks for layer in layers)


def _matcher(match: Match, candidates: Dict[str, nn.Layer]) -> Callable[[str, nn.Layer], bool]:
    if match is None:
        first = next(iter(candidates), None)
        return lambda name, layer: name == first
    if match == "all":
        return lambda name, layer: True
    if isinstance(match, str):
        return lambda name, layer: fnmatchcase(name, match)
    if callable(match):
        return match
    raise TypeError(f"match takes None, 'all', a name pattern or a function (name, layer) -> bool, got {match!r}")


def _replacement(old: Any, coords: Union[str, Coords], with_r: bool) -> nn.Layer:
    if "weight" not in old._parameters:
        raise ValueError(f"{old} is reparameterised, by weight_norm or the like; remove that before converting")
    if is_hooked(old):
        raise ValueError(f"{old} has hooks, which its replacement would lose; remove them before converting")
    build: Any = REPLACEMENTS[type(old)]
    options: Dict[str, Any] = {
        "stride": old._stride,
        "padding": old._padding,
        "dilation": old._dilation,
        "groups": old._groups,
        "bias_attr": None if old.bias is not None else False,
        "data_format": old._data_format,
    }
    if build.transposed:
        options["output_padding"] = old.output_padding
    else:
        options["padding_mode"] = old._padding_mode
    new = build(old._in_channels, old._out_channels, old._kernel_size, coords=coords, with_r=with_r, **options)
    new.to(dtype=old.weight.dtype)
    _fill(new.conv, old)
    for parameter, source in ((new.conv.weight, old.weight), (new.conv.bias, old.bias)):
        if source is not None:
            parameter.stop_gradient = source.stop_gradient
            parameter.regularizer = source.regularizer
            parameter.optimize_attr = source.optimize_attr
            parameter.need_clip = source.need_clip
    new.training = old.training
    return new


def _fill(conv: GridConv, old: Any) -> None:
    """The old weight for the features, zero for the coordinates, group by group."""
    weight, d = old.weight, conv.grid_channels
    if conv.transposed:
        # [in, out / groups, *kernel] -> [groups, in / groups, out / groups, *kernel]
        weight = weight.reshape([old._groups, -1, *weight.shape[1:]])
    zeros = paddle.zeros([weight.shape[0], d, *weight.shape[2:]], weight.dtype)
    parts = [zeros, weight] if conv.coords_first else [weight, zeros]
    with paddle.no_grad():
        conv.weight.set_value(paddle.concat(parts, axis=1).reshape(conv.weight.shape))
        if conv.bias is not None:
            conv.bias.set_value(old.bias)
