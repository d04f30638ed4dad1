"""CoordConv in a window beside the same call without one: one box for the batch, one for each sample, with radius."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, Callable, ContextManager, Dict, Sequence, Tuple

import paddle
from paddle import Tensor

from benchmarks.layer import SHAPES, Shape
from benchmarks.timing import interleaved, mean_and_worst, median_ms
from ppcoordconv.layers import CoordConv
from ppcoordconv.utils.progress import bar
from ppcoordconv.windows import window

# By name: whether with the radius, and how many boxes for a batch of that size.
VARIANTS: Dict[str, Tuple[bool, Callable[[int], int]]] = {
    "none": (False, lambda batch: 0),
    "one box": (False, lambda batch: 1),
    "each sample": (False, lambda batch: batch),
    "radius, none": (True, lambda batch: 0),
    "radius, each sample": (True, lambda batch: batch),
}
# What each is compared with.
BASES = {"one box": "none", "each sample": "none", "radius, each sample": "radius, none"}


def measure(repeats: int = 15, shapes: Sequence[Shape] = SHAPES) -> Dict[str, Any]:
    """Times every variant on every shape of the benchmark ``layer``, in turn.

    Returns:
        "rows": for each shape "forward_ms" and "step_ms" (medians), by variant. "ratios": "mean" (geometric) and
        "worst" of each variant's to that without a window.
    """
    rows = []
    with bar(len(shapes), unit="shape") as progress:
        for shape in shapes:
            rows.append(_measure_shape(shape, repeats))
            progress.update()
    ratios = {
        f"{key.split('_')[0]}, {name}": mean_and_worst([row[key][name] / row[key][base] for row in rows])
        for key in ("forward_ms", "step_ms")
        for name, base in BASES.items()
    }
    return {"rows": rows, "ratios": ratios}


def as_table(result: Dict[str, Any]) -> str:
    heads = [f"{key} {name}" for key in ("fwd", "step") for name in BASES]
    lines = [f"{'input -> output, kernel':<34}" + "".join(f"{head:>26}" for head in heads)]
    for row in result["rows"]:
        shape = "x".join(map(str, row["input"])) + f" -> {row['out_channels']}, {row['kernel_size']}"
        values = [row[key][name] / row[key][base] for key in ("forward_ms", "step_ms") for name, base in BASES.items()]
        lines.append(f"{shape:<34}" + "".join(f"{value:>26.3f}" for value in values))
    for label, name in (("geometric mean", "mean"), ("worst", "worst")):
        values = [ratio[name] for ratio in result["ratios"].values()]
        lines.append(f"{label:<34}" + "".join(f"{value:>26.3f}" for value in values))
    return "\n".join(lines)


def _measure_shape(shape: Shape, repeats: int) -> Dict[str, Any]:
    (n, c, height, width), out, k = shape
    x = paddle.randn([n, c, height, width])
    x.stop_gradient = False
    layers = {with_r: CoordConv(c, out, k, padding=k // 2, with_r=with_r) for with_r in (False, True)}
    whole = (4 * height, 4 * width)
    upward: Dict[int, Tensor] = {}

    def opened(count: int) -> ContextManager[Any]:
        if not count:
            return contextlib.nullcontext()
        low = paddle.rand([count, 2]) * paddle.to_tensor([2.0 * width, 2.0 * height])
        return window(paddle.concat([low, low + paddle.to_tensor([1.0 * width, height])], axis=1), whole)

    def forward(with_r: bool, count: int) -> None:
        layer = layers[with_r].eval()
        with paddle.no_grad(), opened(count):
            layer(x)

    def step(with_r: bool, count: int) -> None:
        layer = layers[with_r].train()
        with opened(count):
            y = layer(x)
        if 0 not in upward:
            upward[0] = paddle.ones_like(y)
        paddle.autograd.backward([y], [upward[0]])
        for tensor in (x, *layer.parameters()):
            tensor.clear_gradient()

    def timed(run: Callable[[bool, int], None]) -> Dict[str, float]:
        calls = {name: partial(run, with_r, boxes(n)) for name, (with_r, boxes) in VARIANTS.items()}
        return median_ms(interleaved(calls, repeats))

    return {
        "input": [n, c, height, width],
        "out_channels": out,
        "kernel_size": k,
        "forward_ms": timed(forward),
        "step_ms": timed(step),
    }
