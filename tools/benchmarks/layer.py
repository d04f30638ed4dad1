"""CoordConv beside a plain convolution, and beside the concatenation that it replaces: time and memory, interleaved."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any, Callable, ContextManager, Dict, List, Optional, Tuple

import paddle
from paddle import Tensor, nn
from paddle.base import core

from benchmarks.timing import interleaved, mean_and_worst, median_ms
from ppcoordconv.layers import CoordConv
from ppcoordconv.utils.progress import bar

# Input [N, C, H, W], output channels, kernel size.
Shape = Tuple[Tuple[int, int, int, int], int, int]
SHAPES: List[Shape] = [
    ((32, 32, 64, 64), 64, 1),
    ((32, 64, 32, 32), 64, 3),
    ((16, 3, 128, 128), 32, 3),
    ((8, 256, 20, 20), 256, 3),
    # The CoordConv layers of PP-YOLO's neck at 608x608: first 1x1, third 1x1 and route, tip, of its three blocks.
    ((2, 2048, 19, 19), 512, 1),
    ((2, 1024, 19, 19), 512, 1),
    ((2, 512, 19, 19), 1024, 3),
    ((2, 1280, 38, 38), 256, 1),
    ((2, 512, 38, 38), 256, 1),
    ((2, 256, 38, 38), 512, 3),
    ((2, 640, 76, 76), 128, 1),
    ((2, 256, 76, 76), 128, 1),
    ((2, 128, 76, 76), 256, 3),
]


class ConcatenatingCoordConv(nn.Layer):
    """The layer as PaddleDetection writes it."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, padding: Any, stride: Any = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2D(in_channels + 2, out_channels, kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        if not paddle.in_dynamic_mode():
            return self._in_graph(x)
        n, _, height, width = x.shape
        ramp_x = (paddle.arange(width, dtype="float32") / (width - 1) * 2 - 1).astype(x.dtype)
        ramp_y = (paddle.arange(height, dtype="float32") / (height - 1) * 2 - 1).astype(x.dtype)
        grid_x = ramp_x.reshape([1, 1, 1, width]).expand([n, 1, height, width])
        grid_y = ramp_y.reshape([1, 1, height, 1]).expand([n, 1, height, width])
        return self.conv(paddle.concat([x, grid_x, grid_y], axis=1))

    def _in_graph(self, x: Tensor) -> Tensor:
        """The same, tiled where Paddle2ONNX can't expand."""
        n, _, height, width = (paddle.shape(x)[axis] for axis in range(4))
        ramp_x = paddle.arange(width, dtype="float32") / (width - 1).astype("float32") * 2 - 1
        ramp_y = paddle.arange(height, dtype="float32") / (height - 1).astype("float32") * 2 - 1
        grid_x = paddle.tile(ramp_x.reshape([1, 1, 1, -1]), [n, 1, height, 1])
        grid_y = paddle.tile(ramp_y.reshape([1, 1, -1, 1]), [n, 1, 1, width])
        return self.conv(paddle.concat([x, grid_x, grid_y], axis=1))


VARIANTS: Dict[str, Callable[[int, int, int, int], nn.Layer]] = {
    "conv2d": lambda c, out, k, p: nn.Conv2D(c, out, k, padding=p),
    "conv2d_no_bias": lambda c, out, k, p: nn.Conv2D(c, out, k, padding=p, bias_attr=False),
    "concat": ConcatenatingCoordConv,
    "coordconv": lambda c, out, k, p: CoordConv(c, out, k, padding=p),
}
# What CoordConv is compared with.
BASES = ("conv2d", "concat")


def measure(
    device: str, amp: Optional[str] = None, repeats: int = 15, shapes: Optional[List[Shape]] = None
) -> Dict[str, Any]:
    """Times every variant on every shape, in turn.

    Parameters:
        device: "cpu" or "gpu", already selected.
        amp: None, "O1" or "O2", in float16.
        repeats: how often each is timed, after three rounds that are not.

    Returns:
        "rows": for each shape "forward_ms" and "step_ms" (medians) and "peak_mib" (of a training step; left out where
        Paddle can't tell), by variant. "ratios": CoordConv's to each base, "mean" (geometric) and "worst".
    """
    rows = []
    shapes = SHAPES if shapes is None else shapes
    with bar(len(shapes), unit="shape") as progress:
        for shape in shapes:
            rows.append(_measure_shape(shape, device, amp, repeats))
            progress.update()
    return {"device": device, "amp": amp, "paddle": paddle.__version__, "rows": rows, "ratios": _ratios(rows)}


def as_table(result: Dict[str, Any]) -> str:
    """The ratios by shape, their geometric means and worst, as text."""
    heads = [f"{quantity}/{base}" for quantity in result["ratios"] for base in BASES]
    lines = [f"{'input -> output, kernel':<34}" + "".join(f"{head:>17}" for head in heads)]
    for row in result["rows"]:
        shape = "x".join(map(str, row["input"])) + f" -> {row['out_channels']}, {row['kernel_size']}"
        values = [row[key]["coordconv"] / row[key][base] for key in _keys(result["rows"]) for base in BASES]
        lines.append(f"{shape:<34}" + "".join(f"{value:>17.3f}" for value in values))
    for name in ("mean", "worst"):
        values = [result["ratios"][quantity][base][name] for quantity in result["ratios"] for base in BASES]
        label = {"mean": "geometric mean", "worst": "worst"}[name]
        lines.append(f"{label:<34}" + "".join(f"{value:>17.3f}" for value in values))
    return "\n".join(lines)


def _measure_shape(shape: Shape, device: str, amp: Optional[str], repeats: int) -> Dict[str, Any]:
    (n, c, height, width), out, k = shape
    x = paddle.randn([n, c, height, width])
    x.stop_gradient = False
    layers = {name: build(c, out, k, k // 2) for name, build in VARIANTS.items()}
    if amp == "O2":
        layers = {name: paddle.amp.decorate(layer, level="O2", dtype="float16") for name, layer in layers.items()}

    def precision() -> ContextManager[Any]:
        return paddle.amp.auto_cast(level=amp, dtype="float16") if amp else contextlib.nullcontext()

    def forward(layer: nn.Layer) -> None:
        layer.eval()
        with paddle.no_grad(), precision():
            layer(x)

    def step(layer: nn.Layer) -> None:
        layer.train()
        with precision():
            y = layer(x)
        paddle.autograd.backward([y], [_ones_like(y)])
        for tensor in (x, *layer.parameters()):
            tensor.clear_gradient()

    row: Dict[str, Any] = {
        "input": [n, c, height, width],
        "out_channels": out,
        "kernel_size": k,
        "forward_ms": _timed(forward, layers, device, repeats),
        "step_ms": _timed(step, layers, device, repeats),
    }
    if hasattr(core, "host_memory_stat_reset_peak_value"):
        row["peak_mib"] = {name: _peak(step, layer, device) for name, layer in layers.items()}
    return row


_ONES: Dict[Any, Tensor] = {}


def _ones_like(y: Tensor) -> Tensor:
    """The gradient that arrives from above: made once, as it is no part of the layer's work."""
    key = (tuple(y.shape), str(y.dtype))
    if key not in _ONES:
        _ONES.clear()
        _ONES[key] = paddle.ones_like(y)
    return _ONES[key]


def _timed(run: Callable[[nn.Layer], None], layers: Dict[str, nn.Layer], device: str, repeats: int) -> Dict[str, float]:
    def finish(layer: nn.Layer) -> None:
        run(layer)
        if device == "gpu":
            paddle.device.synchronize()

    return median_ms(interleaved({name: partial(finish, layer) for name, layer in layers.items()}, repeats))


def _peak(run: Callable[[nn.Layer], None], layer: nn.Layer, device: str) -> float:
    """What a run adds at its peak to what is allocated before it, in MiB."""
    stat = "device" if device == "gpu" else "host"
    before = getattr(core, f"{stat}_memory_stat_current_value")("Allocated", 0)
    getattr(core, f"{stat}_memory_stat_reset_peak_value")("Allocated", 0)
    run(layer)
    return (getattr(core, f"{stat}_memory_stat_peak_value")("Allocated", 0) - before) / 2**20


def _keys(rows: List[Dict[str, Any]]) -> List[str]:
    return [key for key in ("forward_ms", "step_ms", "peak_mib") if key in rows[0]]


def _ratios(rows: List[Dict[str, Any]]) -> Dict[str, Dict[str, Dict[str, float]]]:
    ratios: Dict[str, Dict[str, Dict[str, float]]] = {}
    for key in _keys(rows):
        quantity = key.split("_")[0]
        for base in BASES:
            values = [row[key]["coordconv"] / row[key][base] for row in rows]
            ratios.setdefault(quantity, {})[base] = mean_and_worst(values)
    return ratios
