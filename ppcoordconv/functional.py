"""The CoordConv operation: a convolution of a feature map and its coordinate grid, without concatenating them."""

from __future__ import annotations

from typing import Any, Dict, Optional

import paddle
from paddle import Tensor

from .forms import FORMS, Call, ConvSpec, chosen_form, run


def coord_conv(
    x: Tensor,
    grid: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    coords_first: bool = False,
    form: Optional[str] = None,
) -> Tensor:
    """Convolves a feature map and a grid as if they were concatenated (Liu et al. 2018, arXiv:1807.03247).

    Parameters:
        x: ``[N, C, *spatial]``, one to three spatial axes, channels first.
        grid: ``[1, d, *spatial]``, or ``[N, d, *spatial]`` with a grid for each sample; ``coord_grid`` makes one.
        weight: ``[out, C / groups + d, *kernel]``; every group sees all d channels of the grid.
        bias: ``[out]``.
        stride, padding, dilation, groups: as ``paddle.nn.functional.conv2d`` takes them.
        padding_mode: "zeros", "reflect", "replicate" or "circular"; the last three take an int for ``padding``.
        coords_first: in ``weight``, the channels of the grid come before those of the features.
        form: one of ``FORMS``, in which it is computed; None: the best for this call. All give the same but for
            rounding.

    Returns:
        ``[N, out, *places]``, what the convolution of ``concat([x, grid])`` gives.

    Raises:
        TypeError: x, grid, weight or bias is not a Tensor.
        ValueError: they do not fit, there is no such form, or it can't be computed here: "cached" is for CPUs without
            gradients and one grid for all, "matmul" for CPUs, both for a constant grid in eager mode.

    Gradients of gradients are right in the forms "concat" and "matmul"; in the others a part of them is missing, as
    Paddle has none for the weight of a convolution whose input is a constant.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> x, weight = paddle.zeros([8, 16, 5, 7]), paddle.zeros([32, 18, 3, 3])
        >>> tuple(pcc.functional.coord_conv(x, pcc.coord_grid([5, 7]), weight, padding=1).shape)
        (8, 32, 5, 7)
    """
    spec = ConvSpec(stride, padding, dilation, groups, padding_mode, coords_first=coords_first)
    _check_tensors(x, grid, weight, bias)
    _check_shapes(x, grid, weight, groups)
    if form is not None and (not isinstance(form, str) or form not in FORMS):
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    call = Call(x, grid, weight, bias, spec)
    if form is not None and (reason := FORMS[form].impossible(call)):
        raise ValueError(f"form: {form!r} can't compute this: {reason}")
    return run(call, form)


def explain(layer: Any, x: Tensor) -> Dict[str, str]:
    """Prints in which form a CoordConv would compute x now, and why not in the others.

    Parameters:
        layer: any CoordConv.
        x: an input of the layer.

    Returns:
        By the name of each form, in the order in which they are tried, "runs", why it is refused, or "not needed".

    Raises:
        TypeError: ``layer`` is not a CoordConv.
        TypeError, ValueError: x is not an input of it.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> rows = pcc.explain(pcc.CoordConv(16, 32, 3), paddle.zeros([8, 16, 50, 70]))
        concat      to copy the features costs more than to split the weight
        cached      gradients are recorded
        matmul      runs
        broadcast   Paddle's CPU kernels are slow at broadcasting
        split       not needed
    """
    if not hasattr(layer, "call_for") or not hasattr(layer, "convention"):
        raise TypeError(f"explain: expected a CoordConv, got {type(layer).__name__}")
    call = layer.call_for(x)
    reasons = {name: form.refused(call) for name, form in FORMS.items()}
    chosen = chosen_form(call)
    rows = {name: "runs" if name == chosen else reason or "not needed" for name, reason in reasons.items()}
    print("\n".join(f"{name:<12}{reason}" for name, reason in rows.items()))
    return rows


@paddle.jit.not_to_static
def _check_tensors(x: Tensor, grid: Tensor, weight: Tensor, bias: Optional[Tensor]) -> None:
    given = {"x": x, "grid": grid, "weight": weight, **({} if bias is None else {"bias": bias})}
    for name, value in given.items():
        if not hasattr(value, "ndim") or not hasattr(value, "stop_gradient"):
            raise TypeError(f"{name}: expected a Tensor, got {type(value).__name__}")
    if bias is not None and list(bias.shape) != list(weight.shape[:1]):
        raise ValueError(f"bias: expected {list(weight.shape[:1])}, got {list(bias.shape)}")


@paddle.jit.not_to_static
def _check_shapes(x: Tensor, grid: Tensor, weight: Tensor, groups: int) -> None:
    shapes = [list(tensor.shape) for tensor in (x, grid, weight)]
    if len({len(shape) for shape in shapes}) > 1 or not 3 <= x.ndim <= 5:
        raise ValueError(f"x, grid and weight: expected the same 3, 4 or 5 axes, got {shapes}")
    if shapes[0][2:] != shapes[1][2:] or shapes[1][0] not in (1, shapes[0][0]):
        raise ValueError(f"grid: expected [1 or N, d, *spatial] of x {shapes[0]}, got {shapes[1]}")
    if shapes[0][1] != groups * (shapes[2][1] - shapes[1][1]):
        raise ValueError(
            f"weight: expected {shapes[0][1]} / groups + {shapes[1][1]} input channels with groups={groups}, "
            f"got {shapes[2]}"
        )
