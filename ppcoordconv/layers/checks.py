"""Checks of a layer's arguments and inputs; the messages name the layer, the argument, and what it takes."""

from __future__ import annotations

from numbers import Integral
from typing import Any, List, Optional, Sequence, Union

import paddle
from paddle import Tensor, nn

from ..compat import autocast_is_on, dtype_name
from ..coords import Convention, Given

# By the number of spatial axes: channels first, channels last.
DATA_FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
IntOrInts = Union[int, Sequence[int]]
Padding = Union[str, int, Sequence[int], Sequence[Sequence[int]]]
FLOATING = ("float16", "bfloat16", "float32", "float64")


def check_convolution(
    layer: nn.Layer,
    axes: int,
    *,
    in_channels: Any,
    out_channels: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    weight_attr: Any,
    bias_attr: Any,
    data_format: Any,
    padding_mode: Any = "zeros",
    output_padding: Any = 0,
) -> None:
    for name, count in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
        check_ints(layer, name, count, lengths=[], minimum=1)
    for name, size in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
        check_ints(layer, name, size, lengths=[axes], minimum=1)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise ValueError(f"{name_of(layer)}: {name}: expected a multiple of groups={groups}, got {channels}")
    check_ints(layer, "output_padding", output_padding, lengths=[axes], minimum=0)
    check_choice(layer, "padding_mode", padding_mode, PADDING_MODES)
    check_choice(layer, "data_format", data_format, DATA_FORMATS[axes])
    check_padding(layer, axes, padding, padding_mode)
    for name, attr in (("weight_attr", weight_attr), ("bias_attr", bias_attr)):
        takes = "None, a ParamAttr, an initializer or a name" + (", or False" if name == "bias_attr" else "")
        if attr is False and name == "weight_attr":
            raise ValueError(f"{name_of(layer)}: {name}: expected {takes}, got False")
        if attr is not None and not isinstance(attr, (bool, str, paddle.ParamAttr, nn.initializer.Initializer)):
            raise TypeError(f"{name_of(layer)}: {name}: expected {takes}, got {attr!r}")


def check_ints(layer: nn.Layer, name: str, value: Any, lengths: List[int], minimum: int) -> None:
    """An int, or a list of as many ints as ``lengths`` allows, none below ``minimum``."""
    is_list = isinstance(value, (list, tuple))
    expected = " or ".join(
        ["a positive int" if minimum else "an int of at least 0", *(f"a list of {n}" for n in lengths)]
    )
    for item in value if is_list else [value]:
        if isinstance(item, bool) or not isinstance(item, Integral):
            raise TypeError(f"{name_of(layer)}: {name}: expected {expected}, got {value!r}")
        if item < minimum:
            raise ValueError(f"{name_of(layer)}: {name}: expected {expected}, got {value!r}")
    if is_list and len(value) not in lengths:
        raise (ValueError if lengths else TypeError)(f"{name_of(layer)}: {name}: expected {expected}, got {value!r}")


def check_padding(layer: nn.Layer, axes: int, padding: Any, padding_mode: str) -> None:
    if padding_mode != "zeros":
        check_ints(layer, "padding", padding, lengths=[], minimum=0)
    elif isinstance(padding, str):
        check_choice(layer, "padding", padding.upper(), ["SAME", "VALID"])
    elif is_pairs(padding) and len(padding) == axes + 2:
        for pair in padding:
            check_ints(layer, "padding", pair, lengths=[2], minimum=0)
    else:
        check_ints(layer, "padding", padding, lengths=[axes, 2 * axes], minimum=0)


def padding_sides(padding: Any, axes: int) -> List[int]:
    """How much "VALID" or numbers pad before the first axis, after it, before the second, and so on."""
    if isinstance(padding, (str, int)):
        return [0 if isinstance(padding, str) else padding] * (2 * axes)
    if is_pairs(padding):
        return [side for pair in padding[2:] for side in pair]
    return list(padding) if len(padding) == 2 * axes else [side for side in padding for _ in range(2)]


def is_pairs(padding: Any) -> bool:
    """Whether the padding is given as a pair for each axis of the input."""
    return isinstance(padding, (list, tuple)) and len(padding) > 0 and isinstance(padding[0], (list, tuple))


def check_choice(layer: nn.Layer, name: str, value: Any, choices: Sequence[Optional[str]]) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name_of(layer)}: {name}: expected one of {list(choices)}, got {value!r}")
    if value not in choices:
        raise ValueError(f"{name_of(layer)}: {name}: expected one of {list(choices)}, got {value!r}")


def check_flag(layer: nn.Layer, name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name_of(layer)}: {name}: expected True or False, got {value!r}")


def check_radius(layer: nn.Layer, convention: Convention, with_r: bool) -> None:
    if with_r and isinstance(convention, Given):
        raise ValueError(
            f"{name_of(layer)}: with_r: expected False with coords=Given(...), whose grid has all channels"
        )


def check_input(layer: nn.Layer, x: Tensor, ranks: List[int]) -> None:
    if not hasattr(x, "ndim") or not hasattr(x, "dtype") or not hasattr(x, "stop_gradient"):
        raise TypeError(f"{name_of(layer)}: the input must be a Tensor, got {type(x).__name__}")
    if x.ndim not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise ValueError(f"{name_of(layer)}: the input must have {wanted} axes, got {x.ndim}: {list(x.shape)}")
    if dtype_name(x.dtype) not in FLOATING:
        raise TypeError(f"{name_of(layer)}: the input must be floating, got {dtype_name(x.dtype)}")


def check_same_dtype(layer: nn.Layer, x: Tensor, weight: Tensor) -> None:
    if x.dtype != weight.dtype and not autocast_is_on():
        raise TypeError(
            f"{name_of(layer)}: the input is {dtype_name(x.dtype)}, the weights are {dtype_name(weight.dtype)}; "
            f"cast one, for example by x.astype({dtype_name(weight.dtype)!r})"
        )


def name_of(layer: nn.Layer) -> str:
    return type(layer).__name__
