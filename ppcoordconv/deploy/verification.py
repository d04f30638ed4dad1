"""Compares an exported model with the network that it was made of: each engine runs it in a process of its own."""

from __future__ import annotations

import json
import math
from importlib.metadata import version
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import paddle

from ..utils.errors import UserError
from ..utils.progress import log_info
from .apart import Apart
from .check import load_batches, save_batches
from .description import write_description
from .formats import ONNX_MODEL
from .runtimes import cpu_has_bf16

# A batch of each input.
Batch = Tuple[np.ndarray, ...]
Noise = Callable[[np.ndarray, Sequence[int]], np.ndarray]
# The largest error, as a part of the largest output, by precision. In int8, where single outputs may be far off, it is
# the mean error as a part of the mean output, which refuses ruins; how accurate a model is, eval says.
TOLERANCES = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 3e-2, "int8": 0.5}
BATCHES = (1, 3)
# By engine and name, the settings of Predictor that a model is run with.
SETTINGS: Dict[str, Dict[str, Dict[str, Any]]] = {
    "paddle": {
        "onednn": {"onednn": True},
        "no_onednn": {"onednn": False},
        "onednn_bf16": {"onednn": True, "precision": "bf16"},
    },
    "paddle, half": {"gpu": {"device": "gpu", "onednn": False}},
    "onnxruntime": {"onnxruntime": {"onednn": False}},
}
# Other sizes that a model is checked with whose size is not fixed, as parts of the size that it was trained on.
SIZES = ((0.5, 0.75), (1.25, 0.625))


def probe(examples: Sequence[np.ndarray], dynamic_size: bool, noise: Noise, multiple: int) -> List[Batch]:
    """Batches of the numbers and sizes to check: every other sample is one of the examples, the rest noise.

    Parameters:
        examples: of each input, ``[N, ...]``. Whole numbers are never noise, which may be none that the network takes.
        dynamic_size: maps of other heights and widths, too.
        noise: of the kind of an example, of a shape.
        multiple: of what the sizes must be multiples.
    """
    batches = []
    for number in BATCHES:
        rows = np.arange(number) % len(examples[0])
        batch = tuple(one[rows] for one in examples)
        for array, one in zip(batch, examples):
            if array.dtype == np.float32:
                array[1::2] = noise(one, array[1::2].shape)
        batches.append(batch)
    if dynamic_size and len(examples) == 1 and examples[0].ndim == 4:
        _, channels, height, width = examples[0].shape
        for parts in SIZES:
            sides = []
            for part, side in zip(parts, (height, width)):
                rounded = math.ceil if part > 1 else math.floor  # so that one differs, however few multiples there are
                sides.append(multiple * max(1, rounded(part * side / multiple)))
            batches.append((noise(examples[0], [2, channels, *sides]).astype(np.float32),))
    return batches


def random_places(batches: List[np.ndarray]) -> List[Optional[np.ndarray]]:
    """For each batch of maps ``[N, 6]``: boxes that lie in a whole and reach beyond it, and the whole's size."""
    rng = np.random.default_rng(1)
    places: List[Optional[np.ndarray]] = []
    for batch in batches:
        low = rng.uniform(-50, 100, [len(batch), 2])
        rows = [low, low + rng.uniform(10, 200, low.shape), rng.integers(100, 300, low.shape)]
        places.append(np.concatenate(rows, axis=1).astype(np.float32))
    return places


def verified(
    folder: Path,
    description: Dict[str, Any],
    batches: List[Batch],
    places: List[Optional[np.ndarray]],
    expected: List[List[np.ndarray]],
) -> Dict[str, Any]:
    """Runs the files in processes of their own; returns what was found, and what serving may take.

    The processes get their inputs, and leave their outputs, beside the folder.
    """
    save_batches(folder.parent / "inputs.npz", batches)
    np.savez(folder.parent / "places.npz", *[place for place in places if place is not None])
    description["checked"] = {"paddle": paddle.__version__, "onednn": True, "bf16": True}
    write_description(folder, description)
    precision = description["precision"]
    engine = "onnxruntime" if description["model_file"] == ONNX_MODEL else "paddle"
    kind = "paddle, half" if engine == "paddle" and precision in ("fp16", "bf16") else engine
    settings = {
        name: options
        for name, options in SETTINGS[kind].items()
        if options.get("precision") != "bf16" or (cpu_has_bf16() and precision == "fp32")
    }
    log_info(f"checking it: {', '.join(settings)}")
    running: Dict[str, Apart] = {}
    found: Dict[str, Union[float, str]] = {}
    try:
        for name in settings:
            running[name] = Apart("check", str(folder), name, json.dumps(settings[name]))
        for name, process in running.items():
            found[name] = _error_of(folder, name, process.finish(), expected, precision)
    finally:
        for process in running.values():
            process.kill()

    def is_right(name: str, tolerance: float) -> bool:
        error = found.get(name, "not checked")
        return not isinstance(error, str) and error <= tolerance

    right = [name for name in settings if name != "onednn_bf16" and is_right(name, TOLERANCES[precision])]
    if not right:
        raise UserError(f"the exported model is not right, and was thrown away: {found}")
    return {
        "paddle": paddle.__version__,
        **{name: version(name) for name in ("onnxruntime", "paddle2onnx") if engine == "onnxruntime"},
        "inputs": [list(batch[0].shape) for batch in batches],
        "tolerance": TOLERANCES[precision],
        "relative_error": found,
        "onednn": settings[right[0]]["onednn"],
        "bf16": is_right("onednn_bf16", TOLERANCES["bf16"]),
    }


def _error_of(
    folder: Path, name: str, run: CompletedProcess, expected: List[List[np.ndarray]], precision: str
) -> Union[float, str]:
    if run.returncode:
        lines = run.stderr.strip().splitlines()
        return f"crashed ({run.returncode}): {lines[-1] if lines else 'no message'}"
    measure = np.mean if precision == "int8" else np.max
    got = [output for batch in load_batches(folder.parent / f"{name}.npz") for output in batch]
    wanted = [output for batch in expected for output in batch]
    error = max(_relative_error(*pair, measure) for pair in zip(got, wanted))
    return error if np.isfinite(error) else "the outputs have another shape, or are not finite"


def _relative_error(got: np.ndarray, expected: np.ndarray, measure: Callable[[np.ndarray], Any]) -> float:
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    return float(measure(np.abs(got - expected)) / max(measure(np.abs(expected)), 1e-12))
