"""Writes an inference model, runs what was written in a process of its own, and hands it over only if it is right."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List

import numpy as np
import paddle
import yaml
from paddle.static import InputSpec

from ..errors import UserError
from ..files import replacing, sha256
from ..progress import say
from .predictor import DESCRIPTION

if TYPE_CHECKING:
    from ..tasks import Task

PARAMS = "inference.pdiparams"
LEGACY_MODEL = "inference.pdmodel"
TOLERANCE = 1e-5
BATCHES = (1, 3)


def _paddle_2_graph() -> ContextManager[Any]:
    """Paddle 3 writes graphs in Paddle 2's form in here; Paddle 2 has no other form."""
    return paddle.pir_utils.OldIrGuard() if paddle.__version__ >= "3" else contextlib.nullcontext()


FORMATS = {"paddle": contextlib.nullcontext, "legacy": _paddle_2_graph}


def export(task: Task, output_dir: Path, model_format: str = "paddle") -> Dict[str, Any]:
    """Writes a task's network as an inference model with everything that serving it needs.

    The folder gets the model (``inference.json``; ``inference.pdmodel`` from Paddle 2 and for "legacy"),
    ``inference.pdiparams`` and ``inference.yml``. Before that, Paddle Inference runs them in a process of its own, with
    oneDNN and without, on several batch sizes, and the outputs are compared with the network's.

    Parameters:
        model_format: "paddle", this version's own; "legacy", which Paddle 2.6 and 3 both read.

    Returns:
        What ``inference.yml`` holds.

    Raises:
        UserError: the folder can't be written, or the exported model crashes or differs; an earlier export is left
            as it was.
    """
    network = task.network
    network.eval()
    inputs = _probe(task)
    with paddle.no_grad():
        expected = [network(paddle.to_tensor(batch)).numpy() for batch in inputs]
    for layer in network.sublayers(include_self=True):
        if hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("writing the inference model")
        spec = [InputSpec([None, *task.input_shape()], "float32", "x")]
        with FORMATS[model_format](), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            static = paddle.jit.to_static(network, input_spec=spec, full_graph=True)
            paddle.jit.save(static, str(folder / "inference"))
        (model,) = [path.name for path in folder.iterdir() if path.suffix in (".json", ".pdmodel")]
        if model == LEGACY_MODEL:
            _forget_call_stacks(folder / model)
        description = {
            "model_file": model,
            "params_file": PARAMS,
            "files": {file: sha256(folder / file) for file in (model, PARAMS)},
            "input_shape": task.input_shape(),
            **task.serving(),
            "checked": {},
        }
        description["checked"] = _check(folder, description, inputs, expected)
        _hand_over(folder, output_dir, description)
    return description


def _forget_call_stacks(model: Path) -> None:
    """Paddle writes with each operator which lines of which files made it: half of the file, and nobody's business."""
    program = paddle.base.core.ProgramDesc(model.read_bytes())
    for block in (program.block(i) for i in range(program.num_blocks())):
        for operator in (block.op(i) for i in range(block.op_size())):
            operator.remove_attr("op_callstack")
    model.write_bytes(program.serialize_to_string())


def _probe(task: Task) -> List[np.ndarray]:
    """Batches of the sizes to check, half of them real inputs, half noise."""
    rng = np.random.default_rng(0)
    samples = task.test_samples()
    batches = []
    for size in BATCHES:
        batch = rng.standard_normal([size, *task.input_shape()]).astype(np.float32)
        for row in range(0, size, 2):
            batch[row] = samples[row % len(samples)][0]
        batches.append(batch)
    return batches


def _check(
    folder: Path, description: Dict[str, Any], inputs: List[np.ndarray], expected: List[np.ndarray]
) -> Dict[str, Any]:
    """Runs the files in processes of their own; returns what was found, with the setting that serving must take."""
    np.savez(folder / "inputs.npz", *inputs)
    found: Dict[str, Any] = {}
    for onednn in (True, False):
        say(f"checking it in Paddle Inference {'with' if onednn else 'without'} oneDNN")
        description["checked"] = {"onednn": onednn}
        (folder / DESCRIPTION).write_text(yaml.safe_dump(description), encoding="utf-8")
        run = subprocess.run(
            [sys.executable, "-m", "ppcoordconv.deploy.check", str(folder)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if run.returncode:
            lines = run.stderr.strip().splitlines()
            found[_setting(onednn)] = f"crashed ({run.returncode}): {lines[-1] if lines else 'no message'}"
            continue
        with np.load(folder / "outputs.npz") as outputs:
            got = [outputs[name] for name in outputs.files]
        found[_setting(onednn)] = max(_relative_error(a, b) for a, b in zip(got, expected))
    right = [on for on in (True, False) if not isinstance(error := found[_setting(on)], str) and error <= TOLERANCE]
    if not right:
        raise UserError(f"the exported model is not right, and was thrown away: {found}")
    return {
        "paddle": paddle.__version__,
        "batch_sizes": list(BATCHES),
        "tolerance": TOLERANCE,
        "relative_error": found,
        "onednn": right[0],
    }


def _setting(onednn: bool) -> str:
    return "onednn" if onednn else "no_onednn"


def _relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-12))


def _hand_over(folder: Path, output_dir: Path, description: Dict[str, Any]) -> None:
    (folder / DESCRIPTION).write_text(
        yaml.safe_dump(description, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    for name in (PARAMS, description["model_file"], DESCRIPTION):
        with replacing(output_dir / name) as path:
            path.write_bytes((folder / name).read_bytes())
    # A model in the other form would go with parameters that are no longer there.
    for name in {"inference.json", LEGACY_MODEL} - {description["model_file"]}:
        (output_dir / name).unlink(missing_ok=True)
