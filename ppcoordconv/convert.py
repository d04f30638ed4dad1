"""A model that exists, with CoordConv in the place of its convolutions; and the form in which models are exported."""

from __future__ import annotations

import copy
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any, Callable, Dict, Type, Union

import numpy as np
import paddle
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase

from .conv import Conv2D
from .coords import Coords, find_coords
from .layers import (
    CoordConv1D,
    CoordConv1DTranspose,
    CoordConv2D,
    CoordConv2DTranspose,
    CoordConv3D,
    CoordConv3DTranspose,
    _CoordConv,
    _OverGrid,
)

# Exactly these: a subclass does something else, which would be lost.
REPLACEMENTS: Dict[Type[nn.Layer], Type[nn.Layer]] = {
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
        TypeError: ``model`` is no layer, or ``match`` is of another type.
        ValueError: no convolution matches (it lists their names), or one that does is reparameterised.

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
    new = {id(layer): _replacement(layer, coords, with_r) for layer in chosen}
    for parent in model.sublayers(include_self=True):
        for name, child in list(parent._sub_layers.items()):  # named_children tells of a shared layer only once
            if id(child) in new:
                parent.add_sublayer(name, new[id(child)])
    return new.get(id(model), model)


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
    transposed = type(old).__name__.endswith("Transpose")
    options: Dict[str, Any] = {
        "stride": old._stride,
        "padding": old._padding,
        "dilation": old._dilation,
        "groups": old._groups,
        "bias_attr": None if old.bias is not None else False,
        "data_format": old._data_format,
    }
    options.update(output_padding=old.output_padding) if transposed else options.update(padding_mode=old._padding_mode)
    build: Any = REPLACEMENTS[type(old)]
    new = build(old._in_channels, old._out_channels, old._kernel_size, coords=coords, with_r=with_r, **options)
    new.to(dtype=old.weight.dtype)
    _fill(new.conv, old, transposed)
    for parameter, source in ((new.conv.weight, old.weight), (new.conv.bias, old.bias)):
        if source is not None:
            parameter.stop_gradient = source.stop_gradient
            parameter.regularizer = source.regularizer
            parameter.optimize_attr = source.optimize_attr
            parameter.need_clip = source.need_clip
    new.training = old.training
    return new


def _fill(conv: Any, old: Any, transposed: bool) -> None:
    """The old weight for the features, zero for the coordinates, group by group."""
    weight, d = old.weight, conv._grid_channels
    if transposed:
        # [in, out / groups, *kernel] -> [groups, in / groups, out / groups, *kernel]
        weight = weight.reshape([old._groups, -1, *weight.shape[1:]])
    zeros = paddle.zeros([weight.shape[0], d, *weight.shape[2:]], weight.dtype)
    parts = [zeros, weight] if conv._grid_first else [weight, zeros]
    with paddle.no_grad():
        conv.weight.set_value(paddle.concat(parts, axis=1).reshape(conv.weight.shape))
        if old.bias is not None:
            conv.bias.set_value(old.bias)


def convert_to_deploy(model: nn.Layer, broadcasts: bool = False) -> nn.Layer:
    """The form of a model that is exported: a copy, for inference alone, that computes the same with less.

    Batch norms that follow a convolution in a ``nn.Sequential`` are folded into its weights (in another layer too, if
    its attribute ``runs_in_order`` says that its sublayers run one after the other), and every layer that has a
    ``convert_to_deploy`` of its own, like ``CoordConv``, is told. What is converted already stays as it is.

    Parameters:
        model: any network; it is left alone.
        broadcasts: for engines that broadcast for nothing, as GPUs and ONNX Runtime do: a CoordConv is a convolution of
            the features and a map that is added. Otherwise it is one convolution, of the features, the coordinates and
            a channel of ones that carries the bias.

    Returns:
        The copy, in ``eval`` mode. Its outputs are those of ``model.eval()`` but for rounding.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> net = paddle.nn.Sequential(pcc.CoordConv(3, 8, 3), paddle.nn.BatchNorm2D(8), paddle.nn.ReLU())
        >>> [type(layer).__name__ for layer in pcc.convert_to_deploy(net)]
        ['CoordConv', 'Identity', 'ReLU']
    """
    model = copy.deepcopy(model)
    model.eval()
    layers = model.sublayers(include_self=True)
    uses = Counter(id(child) for layer in layers for child in layer._sub_layers.values())
    for layer in layers:
        if isinstance(layer, nn.Sequential) or getattr(layer, "runs_in_order", False):
            names = list(layer._sub_layers)
            for name, following in zip(names, names[1:]):
                before, norm = layer._sub_layers[name], layer._sub_layers[following]
                conv = before.conv if isinstance(before, _CoordConv) else before
                is_alone = uses[id(before)] == uses[id(norm)] == 1
                if is_alone and _can_fold(conv, norm) and not _is_hooked(before, conv, norm):
                    _fold(conv, norm)
                    layer._sub_layers[following] = nn.Identity()
    for layer in layers:
        if isinstance(layer, _CoordConv):
            layer.conv.broadcasts = broadcasts
            if not broadcasts and not _is_hooked(layer.conv):
                layer.conv.move_bias_to_grid()
        if hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    return model


def _can_fold(conv: Any, norm: Any) -> bool:
    are_those = (type(conv) in REPLACEMENTS or isinstance(conv, _OverGrid)) and isinstance(norm, _BatchNormBase)
    return are_those and conv.weight.dtype == norm._mean.dtype


def _is_hooked(*layers: nn.Layer) -> bool:
    """Whether something else happens in a layer, as with ``weight_norm``."""
    return any(layer._forward_pre_hooks or layer._forward_post_hooks for layer in layers)


def _fold(conv: Any, norm: Any) -> None:
    """``norm(conv(x)) = scale * conv(x) + shift``, channel by channel."""
    with paddle.no_grad():
        scale = paddle.rsqrt(norm._variance + norm._epsilon)
        scale = scale if norm.weight is None else scale * norm.weight
        bias = -norm._mean if conv.bias is None else conv.bias - norm._mean
        shift = bias * scale if norm.bias is None else bias * scale + norm.bias
        axes = [1] * (conv.weight.ndim - 2)
        if type(conv).__name__.endswith("Transpose"):
            # [in, out / groups, *kernel] -> [groups, in / groups, out / groups, *kernel]
            by_group = conv.weight.reshape([conv._groups, -1, *conv.weight.shape[1:]])
            weight = (by_group * scale.reshape([conv._groups, 1, -1, *axes])).reshape(conv.weight.shape)
        else:
            weight = conv.weight * scale.reshape([-1, 1, *axes])
        conv.weight.set_value(weight)
        if conv.bias is None:
            conv.bias = conv.create_parameter([len(shift)], dtype=shift.dtype, is_bias=True)
        conv.bias.set_value(shift)


def paddledet_legacy_to_paddle(layer: Any) -> nn.Layer:
    """Turns a CoordConv with ``coords="paddledet_legacy"`` into one with ``coords="paddle"``, in place.

    The outputs do not change.

    The legacy coordinate is ``(x - 3) / 4`` of the other, so the weights on it are divided by 4, and the bias takes
    what is constant. That is exact where no zeros stand beside the map: without padding, or padded by another mode.
    (A map with an axis of length 1, where both conventions give 0, is the exception.)

    Parameters:
        layer: any of the six layers, with a bias.

    Returns:
        The layer.

    Raises:
        TypeError: it is no CoordConv.
        ValueError: it has other coords, a radius channel, no bias, or is padded with zeros.

    Examples:
        >>> import ppcoordconv as pcc
        >>> pcc.paddledet_legacy_to_paddle(pcc.CoordConv(8, 4, 1, coords="paddledet_legacy")).extra_repr()
        "coords='paddle', with_r=False, data_format='NCHW'"
    """
    if not isinstance(layer, _CoordConv):
        raise TypeError(f"paddledet_legacy_to_paddle takes a CoordConv, got {type(layer).__name__}")
    conv = layer.conv
    if layer._convention != find_coords("paddledet_legacy"):
        raise ValueError(f"paddledet_legacy_to_paddle takes a layer with coords='paddledet_legacy', got {layer}")
    if layer._with_r:
        raise ValueError("a radius of legacy coordinates is no linear function of the others, so it can't be converted")
    if conv.bias is None:
        raise ValueError("the layer has no bias, which must take what is constant in the legacy coordinates")
    if conv._transposes or (conv._padding_mode == "zeros" and not _is_unpadded(conv._padding)):
        raise ValueError(
            "the zeros beside the map, of padding or of a transposed convolution, are other coordinates in each "
            f"convention, so only unpadded convolutions can be converted, got {conv}"
        )
    with paddle.no_grad():
        # paddledet_legacy has its channels after the features.
        w_grid = conv.weight[:, -conv._grid_channels :]
        conv.bias.set_value(conv.bias - 0.75 * w_grid.sum(list(range(1, w_grid.ndim))))
        conv.weight.set_value(paddle.concat([conv.weight[:, : -conv._grid_channels], 0.25 * w_grid], axis=1))
    layer._coords, layer._convention = "paddle", find_coords("paddle")
    return layer


def _is_unpadded(padding: Any) -> bool:
    if isinstance(padding, str):
        return padding.upper() == "VALID"
    return not np.any(padding)
