"""Folds batch norms into the convolutions before them."""

from __future__ import annotations

from collections import Counter
from typing import Any, List, Tuple

import paddle
from paddle import nn

from ..layers import CoordConvNd, GridConv
from .to_coordconv import REPLACEMENTS, is_hooked

# Exactly these: a subclass does something else, which would be lost.
NORMS = (nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)
TRANSPOSED = (nn.Conv1DTranspose, nn.Conv2DTranspose, nn.Conv3DTranspose)


def fold_batch_norms(model: nn.Layer) -> None:
    """Folds, in place, each batch norm that follows a convolution; ``nn.Identity`` takes its place.

    Which layers follow each other is known in ``nn.Sequential``, and in a layer whose attribute ``runs_in_order`` says
    that its sublayers run one after the other.
    """
    layers = model.sublayers(include_self=True)
    uses = Counter(id(child) for layer in layers for child in layer._sub_layers.values())
    uses.update(id(parameter) for layer in layers for parameter in layer._parameters.values())
    for layer in layers:
        for before, name, norm in _neighbours(layer):
            conv = before.conv if isinstance(before, CoordConvNd) else before
            is_shared = any(uses[id(part)] > 1 for part in (before, norm, *before.parameters()))
            if _can_fold(before, conv, norm) and not is_shared and not is_hooked(before, conv, norm):
                _fold(conv, norm)
                layer._sub_layers[name] = nn.Identity()


def _neighbours(layer: nn.Layer) -> List[Tuple[Any, str, Any]]:
    """A layer, and the name of the next and the next, for sublayers that run one after the other."""
    if type(layer).forward is not nn.Sequential.forward and not getattr(layer, "runs_in_order", False):
        return []
    named = list(layer._sub_layers.items())
    return [(before, name, after) for (_, before), (name, after) in zip(named, named[1:])]


def _can_fold(before: Any, conv: Any, norm: Any) -> bool:
    is_known = type(before) in (*REPLACEMENTS, *REPLACEMENTS.values()) or isinstance(before, GridConv)
    return (
        is_known
        and type(norm) in NORMS
        # With use_global_stats=False it normalises by the batch, in eval too.
        and norm._use_global_stats is not False
        and conv.weight.dtype == norm._mean.dtype
        and conv.weight.dtype in (paddle.float32, paddle.float64)
        and (isinstance(before, GridConv) or norm._data_format.endswith("C") == _data_format(before).endswith("C"))
    )


def _data_format(conv: Any) -> str:
    return conv.data_format if isinstance(conv, CoordConvNd) else conv._data_format


def _fold(conv: Any, norm: Any) -> None:
    """``norm(conv(x)) = scale * conv(x) + shift``, channel by channel."""
    with paddle.no_grad():
        scale = paddle.rsqrt(norm._variance + norm._epsilon)
        scale = scale if norm.weight is None else scale * norm.weight
        bias = -norm._mean if conv.bias is None else conv.bias - norm._mean
        shift = bias * scale if norm.bias is None else bias * scale + norm.bias
        axes = [1] * (conv.weight.ndim - 2)
        if isinstance(conv, TRANSPOSED):
            # [in, out / groups, *kernel] -> [groups, in / groups, out / groups, *kernel]
            by_group = conv.weight.reshape([conv._groups, -1, *conv.weight.shape[1:]])
            weight = (by_group * scale.reshape([conv._groups, 1, -1, *axes])).reshape(conv.weight.shape)
        else:
            weight = conv.weight * scale.reshape([-1, 1, *axes])
        conv.weight.set_value(weight)
        if conv.bias is None:
            conv.bias = conv.create_parameter([len(shift)], dtype=shift.dtype, is_bias=True)
        conv.bias.set_value(shift)
