"""What int8 gives: exported networks in it beside float, in both engines, on one thread."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from benchmarks.inference import NETWORKS
from benchmarks.timing import interleaved, median_ms
from ppcoordconv.deploy.formats import FORMATS, deploy_form
from ppcoordconv.deploy.int8 import quantise_onnx, quantised
from ppcoordconv.deploy.runtimes import ENGINES, INPUT, Settings
from ppcoordconv.utils.progress import bar

SUBJECTS = ("aistudio_coordconv", "yolo, fpn", "yolo, ppyolo")
FORMATS_IN_INT8 = ("onnx", "legacy")
BATCHES = (1, 8)


def measure(repeats: int = 30) -> Dict[str, Any]:
    """Times each network in float and in int8, in turn; "ratio" is int8's median to float's."""
    rows: List[Dict[str, Any]] = []
    with bar(len(SUBJECTS) * len(FORMATS_IN_INT8), unit="export") as progress:
        for name in SUBJECTS:
            network = NETWORKS[name]()
            network.eval()
            shape = list(network.input_shape)  # type: ignore[arg-type]
            for model_format in FORMATS_IN_INT8:
                with tempfile.TemporaryDirectory() as folder:
                    runs = {
                        kind: _exported(network, shape, Path(folder) / kind, model_format, kind == "int8")
                        for kind in ("float", "int8")
                    }
                    for batch in BATCHES:
                        x = np.random.default_rng(0).standard_normal([batch, *shape]).astype(np.float32)
                        times = median_ms(interleaved({kind: partial(run, x) for kind, run in runs.items()}, repeats))
                        row = {"subject": name, "format": model_format, "batch": batch, **times}
                        rows.append({**row, "ratio": times["int8"] / times["float"]})
                progress.update()
    return {"paddle": paddle.__version__, "rows": rows}


def as_table(result: Dict[str, Any]) -> str:
    lines = [f"{'':<24}{'format':<10}{'batch':>6}{'float, ms':>12}{'int8, ms':>12}{'ratio':>8}"]
    lines += [
        f"{row['subject']:<24}{row['format']:<10}{row['batch']:>6}"
        f"{row['float']:>12.3f}{row['int8']:>12.3f}{row['ratio']:>8.3f}"
        for row in result["rows"]
    ]
    return "\n".join(lines)


def _exported(
    network: nn.Layer, shape: List[int], folder: Path, model_format: str, int8: bool
) -> Callable[[np.ndarray], np.ndarray]:
    folder.mkdir()
    samples = np.random.default_rng(1).standard_normal([16, *shape]).astype(np.float32)
    if int8 and model_format != "onnx":
        network = quantised(network, samples)
    else:
        network = deploy_form(network, model_format, example=paddle.zeros([1, *shape]))
    model, *_ = FORMATS[model_format](network, [InputSpec([None, *shape], "float32", INPUT)], folder)
    if int8 and model_format == "onnx":
        quantise_onnx(folder / model, samples)
    checked = {"paddle": paddle.__version__, "onednn": True, "bf16": False}
    precision = "int8" if int8 else "fp32"
    description = {"model_file": model, "input_shape": shape, "precision": precision, "checked": checked}
    return ENGINES[Path(model).suffix](folder, description, Settings(cpu_threads=1)).runner()
