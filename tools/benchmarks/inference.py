"""What CoordConv costs when it is served: exported networks with it, with plain convolutions, and with concatenation.

Every engine, interleaved: Paddle Inference with oneDNN and without, ONNX Runtime where it is installed.
"""

from __future__ import annotations

import copy
import importlib.util
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from benchmarks.layer import SHAPES, ConcatenatingCoordConv
from benchmarks.timing import interleaved, mean_and_worst
from ppcoordconv import models
from ppcoordconv.deploy.formats import FORMATS, deploy_form
from ppcoordconv.deploy.runtimes import ENGINES, INPUT, Settings
from ppcoordconv.layers import CoordConv
from ppcoordconv.models.coordinate_tasks import WIDTHS, CoordinateClassifier, Pointwise, on_canvas
from ppcoordconv.models.yolo import YOLO, Decoded
from ppcoordconv.utils.progress import bar


class _Detector(nn.Sequential):
    """From a picture to boxes; who serves it chooses among them."""

    input_shape = YOLO.input_shape

    def __init__(self, neck: str) -> None:
        network = models.create("yolo", neck=neck, num_classes=10)
        super().__init__(network, Decoded(network))


# The models that have CoordConv; the detector with each neck.
NETWORKS: Dict[str, Callable[[], nn.Layer]] = {
    "aistudio_coordconv": partial(models.create, "aistudio_coordconv"),
    "coordinate_classification_coordconv": partial(models.create, "coordinate_classification_coordconv"),
    "coordinate_rendering_coordconv": partial(models.create, "coordinate_rendering_coordconv"),
    "coordinate_regression_coordconv": partial(models.create, "coordinate_regression_coordconv"),
    "coordinate_corner": partial(models.create, "coordinate_corner"),
    "yolo, fpn": partial(_Detector, "fpn"),
    "yolo, ppyolo": partial(_Detector, "ppyolo"),
    **{name: partial(models.create, name) for name in ("keypoint_net", "unet", "fpn_segmentation")},
}
BATCHES, LAYER_BATCHES = (1, 8, 32), (1, 8)
THREADS = (1, 2)
# What CoordConv is compared with.
BASES = ("plain", "concat")
# By name: the format that is exported, and whether oneDNN runs it.
ENGINE_OPTIONS = {"paddle, oneDNN": ("paddle", True), "paddle": ("paddle", False), "onnxruntime": ("onnx", False)}


def measure(repeats: int = 30, names: Optional[Sequence[str]] = None) -> Dict[str, Any]:
    """Times every variant of every network and of PP-YOLO's layers, in turn.

    Parameters:
        repeats: how often each is run, after three rounds that are not counted.
        names: some of the networks and layers; None: all.

    Returns:
        "rows": for each network, engine, batch and number of threads, by variant, "p50_ms", "p99_ms" and
        "samples_per_second". "ratios": CoordConv's p50 to that of "plain" and of "concat", "mean" (geometric) and
        "worst", for "networks" and for "layers".
    """
    engines = {
        name: o for name, o in ENGINE_OPTIONS.items() if o[0] != "onnx" or importlib.util.find_spec("paddle2onnx")
    }
    subjects = {name: subject for name, subject in _subjects().items() if names is None or name in names}
    rows: List[Dict[str, Any]] = []
    with bar(len(subjects) * len(engines), unit="export") as progress:
        for name, (network, shape, batches) in subjects.items():
            for engine, (model_format, onednn) in engines.items():
                with tempfile.TemporaryDirectory() as folder:
                    exported = {
                        variant: _export(built, shape, Path(folder) / variant, model_format)
                        for variant, built in _variants(network).items()
                    }
                    for threads in THREADS:
                        settings = Settings(cpu_threads=threads, onednn=onednn)
                        runs = {
                            variant: ENGINES[model.suffix](model.parent, _description(model, shape), settings).runner()
                            for variant, model in exported.items()
                        }
                        for batch in batches:
                            x = np.random.default_rng(0).standard_normal([batch, *shape]).astype(np.float32)
                            times = interleaved({variant: partial(run, x) for variant, run in runs.items()}, repeats)
                            figures = {variant: _figures(seconds, batch) for variant, seconds in times.items()}
                            row = {"subject": name, "engine": engine, "batch": batch, "threads": threads}
                            rows.append({**row, "variants": figures})
                progress.update()
    return {"paddle": paddle.__version__, "rows": rows, "ratios": _ratios(rows)}


def as_table(result: Dict[str, Any]) -> str:
    """The medians and their ratios, as text."""
    lines = [
        f"{'':<36}{'engine':<16}{'batch':>6}{'threads':>8}{'ms':>9}{'p99':>9}{'1/s':>9}{'/plain':>8}{'/concat':>8}"
    ]
    for row in result["rows"]:
        ours = row["variants"]["coordconv"]
        ratios = "".join(f"{ours['p50_ms'] / row['variants'][base]['p50_ms']:>9.3f}" for base in BASES)
        lines.append(
            f"{row['subject']:<36}{row['engine']:<16}{row['batch']:>6}{row['threads']:>9}"
            f"{ours['p50_ms']:>9.3f}{ours['p99_ms']:>9.3f}{ours['samples_per_second']:>9.0f}{ratios}"
        )
    for kind, engines in result["ratios"].items():
        for engine, bases in engines.items():
            for name in ("mean", "worst"):
                label = f"{kind}: {'geometric mean' if name == 'mean' else 'worst'}"
                lines.append(
                    f"{label:<36}{engine:<57}" + "".join(f"{bases[b][name]:>8.3f}" for b in ("plain", "concat"))
                )
    return "\n".join(lines)


def _subjects() -> Dict[str, Tuple[nn.Layer, List[int], Sequence[int]]]:
    subjects: Dict[str, Tuple[nn.Layer, List[int], Sequence[int]]] = {}
    for name, create in NETWORKS.items():
        network = create()
        subjects[name] = (network, list(network.input_shape), BATCHES)
    for (_, c, height, width), out, k in SHAPES[4:]:
        layer = nn.Sequential(CoordConv(c, out, k, padding=k // 2))
        subjects[f"{c}x{height}x{width} -> {out}, {k}"] = (layer, [c, height, width], LAYER_BATCHES)
    return subjects


class _PlainClassifier(nn.Layer):
    """Coordinate classification's network without coordinate channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = Pointwise(2, *WIDTHS)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.convolutions(on_canvas(x)).flatten(1)


class _ConcatenatingClassifier(nn.Layer):
    """Coordinate classification's network as it is published: on maps, the coordinate channels concatenated."""

    def __init__(self) -> None:
        super().__init__()
        layers: List[nn.Layer] = [ConcatenatingCoordConv(2, WIDTHS[0], 1, 0)]
        for n_in, n_out in zip(WIDTHS, WIDTHS[1:]):
            layers += [nn.ReLU(), nn.Conv2D(n_in, n_out, 1)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.convolutions(on_canvas(x)).flatten(1)


def _plain(layer: CoordConv) -> nn.Layer:
    conv = layer.conv
    bias = False if conv.bias is None else None
    options = {"stride": conv._stride, "padding": conv._padding, "bias_attr": bias}
    return nn.Conv2D(layer.in_channels, conv._out_channels, conv._kernel_size, **options)


def _concatenating(layer: CoordConv) -> nn.Layer:
    conv = layer.conv
    return ConcatenatingCoordConv(layer.in_channels, conv._out_channels, conv._kernel_size, conv._padding, conv._stride)


# By what CoordConv is compared with: what stands in its place, and in that of the network that has it in its rows.
REPLACEMENTS: Dict[str, Tuple[Callable[[CoordConv], nn.Layer], Callable[[], nn.Layer]]] = {
    "plain": (_plain, _PlainClassifier),
    "concat": (_concatenating, _ConcatenatingClassifier),
}


def _variants(network: nn.Layer) -> Dict[str, nn.Layer]:
    return {"coordconv": network, **{base: _with(network, *REPLACEMENTS[base]) for base in BASES}}


def _with(
    network: nn.Layer, replacement: Callable[[CoordConv], nn.Layer], classifier: Callable[[], nn.Layer]
) -> nn.Layer:
    """A copy, with something else in the place of each CoordConv."""
    network = nn.Sequential(copy.deepcopy(network))
    for parent in network.sublayers(include_self=True):
        for name, child in list(parent._sub_layers.items()):
            if isinstance(child, CoordConv):
                norm = [child.batch_norm] if hasattr(child, "batch_norm") else []
                parent.add_sublayer(name, nn.Sequential(replacement(child), *norm))
            elif isinstance(child, CoordinateClassifier):
                parent.add_sublayer(name, classifier())
    return network


def _export(network: nn.Layer, shape: List[int], folder: Path, model_format: str) -> Path:
    folder.mkdir()
    network.eval()
    spec = InputSpec([None, *shape], "float32", INPUT)
    network = deploy_form(network, model_format, example=paddle.zeros([1, *shape]))
    model, *_ = FORMATS[model_format](network, [spec], folder)
    return folder / model


def _description(model: Path, shape: List[int]) -> Dict[str, Any]:
    checked = {"paddle": paddle.__version__, "onednn": True, "bf16": False}
    inputs = [{"name": "x", "shape": shape}]
    return {"model_file": model.name, "input_shape": shape, "inputs": inputs, "precision": "fp32", "checked": checked}


def _figures(times: List[float], batch: int) -> Dict[str, float]:
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "p50_ms": 1000 * float(p50),
        "p99_ms": 1000 * float(p99),
        "samples_per_second": batch / float(np.mean(times)),
    }


def _ratios(rows: List[Dict[str, Any]]) -> Dict[str, Any]:
    ratios: Dict[str, Any] = {}
    for kind in ("networks", "layers"):
        of_kind = [row for row in rows if (row["subject"] in NETWORKS) == (kind == "networks")]
        for engine in dict.fromkeys(row["engine"] for row in of_kind):
            for base in BASES:
                values = [
                    row["variants"]["coordconv"]["p50_ms"] / row["variants"][base]["p50_ms"]
                    for row in of_kind
                    if row["engine"] == engine
                ]
                ratios.setdefault(kind, {}).setdefault(engine, {})[base] = mean_and_worst(values)
    return ratios
