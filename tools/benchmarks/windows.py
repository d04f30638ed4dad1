"""CoordConv in a window beside the same call without one: one box for the batch, one for each sample, with radius."""

from __future__ import annotations

import contextlib
import itertools
from functools import partial
from typing import Any, Callable, ContextManager, Dict, Sequence, Tuple

import numpy as np
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
    # One for each variant: a layer keeps what it can use again for its last call alone.
    layers = {name: CoordConv(c, out, k, padding=k // 2, with_r=with_r) for name, (with_r, _) in VARIANTS.items()}
    whole = (4 * height, 4 * width)
    upward: Dict[int, Tensor] = {}
    # Others at every call, drawn before the time is taken.
    low = np.random.default_rng(0).uniform(0, [2 * width, 2 * height], [8, n, 2])
    boxes = itertools.cycle(np.concatenate([low, low + [width, height]], axis=2))

    def opened(count: int) -> ContextManager[Any]:
        return window(next(boxes)[:count], whole) if count else contextlib.nullcontext()

    def forward(name: str, count: int) -> None:
        layer = layers[name].eval()
        with paddle.no_grad(), opened(count):
            layer(x)

    def step(name: str, count: int) -> None:
        layer = layers[name].train()
        with opened(count):
            y = layer(x)
        if 0 not in upward:
            upward[0] = paddle.ones_like(y)
        paddle.autograd.backward([y], [upward[0]])
        for tensor in (x, *layer.parameters()):
            tensor.clear_gradient()

    def timed(run: Callable[[str, int], None]) -> Dict[str, float]:
        calls = {name: partial(run, name, count(n)) for name, (_, count) in VARIANTS.items()}
        return median_ms(interleaved(calls, repeats))

    return {
        "input": [n, c, height, width],
        "out_channels": out,
        "kernel_size": k,
        "forward_ms": timed(forward),
        "step_ms": timed(step),
    }
