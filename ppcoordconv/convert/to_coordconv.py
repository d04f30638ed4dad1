"""A model that exists, with its convolutions replaced by CoordConv."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Callable, Dict, List, Set, Type, Union

import paddle
from paddle import Tensor, nn

from ..coords import CoordsLike
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

# Of a layer's attributes, those that Paddle looks after.
LAYERS_OWN = set(vars(nn.Layer()))

Match = Union[None, str, Callable[[str, nn.Layer], bool]]


def convert_to_coordconv(
    model: nn.Layer, match: Match = None, *, coords: CoordsLike = "paddle", with_r: bool = False
) -> nn.Layer:
    """Replaces convolutions of a model by CoordConv, in place; the outputs do not change until it is trained.

    The weights stay as they are, and those on the coordinates start at zero. The new layers have new parameters: make
    the optimizer afterwards.

    Parameters:
        model: any network of Paddle's convolutions.
        match: which to replace. None: the first; "all"; a pattern for their names, ``"backbone.*.conv1"``; or a
            function ``(name, layer) -> bool``.
        coords: as ``CoordConv`` takes them.
        with_r: adds the radius channel.

    Returns:
        The model; if it is a convolution itself, its replacement.

    Raises:
        TypeError: ``model`` is not a layer, or ``match`` is of another type.
        ValueError: no convolution matches (it lists their names), the first is a CoordConv already, or one that matches
            is reparameterised or shares its weights.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3), paddle.nn.ReLU(), paddle.nn.Conv2D(8, 8, 3))
        >>> net = pcc.convert_to_coordconv(net)
        >>> type(net[0]).__name__, type(net[2]).__name__
        ('CoordConv', 'Conv2D')
    """
    if not isinstance(model, nn.Layer):
        raise TypeError(f"convert_to_coordconv takes a paddle.nn.Layer, got {type(model).__name__}")
    named = dict(model.named_sublayers(include_self=True))
    candidates = {name: layer for name, layer in named.items() if type(layer) in REPLACEMENTS}
    done = [name for name, layer in named.items() if isinstance(layer, CoordConvNd)]
    first = next((name for name in named if name in candidates or name in done), None)
    if match is None and first in done:
        raise ValueError(f"match=None takes the first convolution, and {first!r} is a CoordConv already")
    matches = _matcher(match, candidates)
    chosen = [layer for name, layer in candidates.items() if matches(name, layer)]
    if not chosen:
        none = "all are CoordConv already" if done else "it has none"
        names = ", ".join(map(repr, candidates)) or none
        raise ValueError(f"match={match!r} fits none of the model's convolutions: {names}")
    _refuse_shared_weights(named, chosen)
    new = {id(layer): _replacement(layer, coords, with_r) for layer in chosen}
    return replace_layers(model, new)


def replace_layers(model: nn.Layer, new: Dict[int, nn.Layer]) -> nn.Layer:
    """Puts the new layers, by the id of the old, wherever those are; returns what is then in the model's place."""
    for parent in model.sublayers(include_self=True):
        for name, child in list(parent._sub_layers.items()):  # named_children tells of a shared layer only once
            if id(child) in new:
                parent._sub_layers[name] = new[id(child)]
        for name, value in vars(parent).items():  # as in self.convs.append(self.add_sublayer("conv1", conv))
            if name not in LAYERS_OWN and isinstance(value, (list, tuple, dict)):
                vars(parent)[name] = _replaced(value, new, set())
    return new.get(id(model), model)


def _replaced(value: Any, new: Dict[int, nn.Layer], seen: Set[int]) -> Any:
    """Lists and dicts stay the same objects: others may hold them, too."""
    if id(value) in new:
        return new[id(value)]
    if not isinstance(value, (list, tuple, dict)) or id(value) in seen:  # or it holds itself
        return value
    seen.add(id(value))
    if isinstance(value, list):
        value[:] = [_replaced(item, new, seen) for item in value]
    elif isinstance(value, dict):
        value.update({key: _replaced(item, new, seen) for key, item in value.items()})
    else:
        items = [_replaced(item, new, seen) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def _refuse_shared_weights(named: Dict[str, nn.Layer], chosen: List[nn.Layer]) -> None:
    users: Dict[int, List[str]] = {}
    for name, layer in named.items():
        for parameter in filter(lambda one: one is not None, layer._parameters.values()):
            users.setdefault(id(parameter), []).append(name)
    for layer in chosen:
        for parameter in layer._parameters.values():
            if len(names := users.get(id(parameter), [])) > 1:
                raise ValueError(f"{' and '.join(map(repr, names))} share weights, which their replacements would not")


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


def _replacement(old: Any, coords: CoordsLike, with_r: bool) -> nn.Layer:
    if "weight" not in old._parameters:
        raise ValueError(f"{old} is reparameterised, by weight_norm or the like; remove that before converting")
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
    # The same objects, so that handles that remove hooks go on to do so.
    new._forward_pre_hooks, new._forward_post_hooks = old._forward_pre_hooks, old._forward_post_hooks
    return new


def _fill(conv: GridConv, old: Any) -> None:
    with paddle.no_grad():
        conv.weight.set_value(filled_weight(conv, old.weight))
        if conv.bias is not None:
            conv.bias.set_value(old.bias)


def filled_weight(conv: GridConv, weight: Tensor) -> Tensor:
    """A plain convolution's weight for the features, zero for the coordinates, group by group."""
    if conv.transposed:
        # [in, out / groups, *kernel] -> [groups, in / groups, out / groups, *kernel]
        weight = weight.reshape([conv._groups, -1, *weight.shape[1:]])
    zeros = paddle.zeros([weight.shape[0], conv.grid_channels, *weight.shape[2:]], weight.dtype)
    parts = [zeros, weight] if conv.coords_first else [weight, zeros]
    return paddle.concat(parts, axis=1).reshape(conv.weight.shape)
