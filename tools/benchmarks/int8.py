"""What int8 gives: exported networks in it beside float, in both engines, on one thread."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import paddle
from paddle import nn

from benchmarks.inference import NETWORKS
from benchmarks.timing import interleaved, median_ms
from ppcoordconv.deploy import Predictor, export
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


def _exported(network: nn.Layer, shape: List[int], folder: Path, model_format: str, int8: bool) -> Predictor:
    samples = np.random.default_rng(1).standard_normal([16, *shape]).astype(np.float32)
    export(network, folder, samples[:1], format=model_format, calibration=samples if int8 else None)
    return Predictor(str(folder), cpu_threads=1, max_concurrency=1)
