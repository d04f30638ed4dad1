"""Training throughput: beside PyTorch, how much of the engine's time is not computing, and over processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any, Dict, List
from unittest import mock

from benchmarks.steps import BATCH, NETWORKS, STEPS, interleaved, paddle_command
from ppcoordconv.config import CONFIGS
from ppcoordconv.utils.device import select_device
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.progress import log_info

TORCH = "torch==2.13.0"
CONFIG = CONFIGS / "digits" / "coordconv.yml"


def measure(repeats: int, folder: Path) -> Dict[str, Any]:
    """Measures on this CPU, with a thread for each processor.

    Parameters:
        folder: where an environment with PyTorch is made, on the first run.

    Returns:
        "networks": for each samples/s in Paddle and in PyTorch, and their "ratio". "overhead": the part of the wall
        time of a run on the digits that is not spent in steps. "processes": seconds of an epoch by number of processes,
        of a thread each, and "efficiency", the speed-up divided by their number.
    """
    select_device("cpu")
    python = _python_with_torch(folder)
    threads = str(len(os.sched_getaffinity(0)))
    script = str(Path(__file__).with_name("torch_steps.py"))
    networks = {}
    for name in NETWORKS:
        log_info(f"{name}, in Paddle and in PyTorch in turn")
        commands = {"paddle": paddle_command(name), "torch": [python, script, name, str(BATCH), str(STEPS), threads]}
        rates = {key: 1000 * BATCH / value for key, value in interleaved(commands, {}, repeats).items()}
        networks[name] = {**rates, "ratio": rates["paddle"] / rates["torch"]}
    log_info("the engine on the digits")
    return {"threads": int(threads), "networks": networks, "overhead": _overhead(), "processes": _scaling()}


def as_table(result: Dict[str, Any]) -> str:
    lines = [f"{'samples/s, batch 32':<40}{'Paddle':>10}{'PyTorch':>10}{'ratio':>8}"]
    for name, row in result["networks"].items():
        lines.append(f"{name:<40}{row['paddle']:>10.0f}{row['torch']:>10.0f}{row['ratio']:>8.2f}")
    lines.append(f"data and bookkeeping: {100 * result['overhead']:.1f} % of the wall time on the digits")
    for count, row in result["processes"].items():
        lines.append(f"{count} processes: {row['seconds']:.2f} s an epoch, efficiency {row['efficiency']:.2f}")
    return "\n".join(lines)


def _python_with_torch(folder: Path) -> str:
    python = folder / "bin" / "python"
    if not python.exists():
        log_info(f"installing {TORCH} in {folder}, for the comparison only")
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", TORCH, "numpy"])
        if done.returncode:
            python.unlink()
            raise UserError(f"{TORCH} can't be installed; what pip says is above")
    return str(python)


def _overhead() -> float:
    """The part of the training epochs' wall time that is not spent in the steps themselves."""
    from ppcoordconv.config import load_config
    from ppcoordconv.tasks import build_task
    from ppcoordconv.training import trainer

    in_steps: List[float] = []
    in_epochs: List[float] = []

    def timed(function: Any, times: List[float]) -> Any:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            times.append(time.perf_counter() - start)
            return result

        return run

    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.multiple(
            trainer, _step=timed(trainer._step, in_steps), _train_epoch=timed(trainer._train_epoch, in_epochs)
        ),
    ):
        config = load_config(CONFIG, ["epochs=2", f"output_dir={name}/run"])
        trainer.train(build_task(config), config)
    return 1 - sum(in_steps) / sum(in_epochs)


def _scaling() -> Dict[str, Dict[str, float]]:
    """One thread a process, one process and two: the seconds between the ends of the first and the last epoch."""
    rows: Dict[str, Dict[str, float]] = {}
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(count), "--log_dir", f"{folder}/log"]
            script = Path(folder) / "train.py"
            script.write_text("from ppcoordconv.commands import leave, run_alone\nleave(run_alone('train'))\n")
            tool = [str(script), "-c", str(CONFIG), "-o", "epochs=3", f"output_dir={folder}/run"]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
            done = subprocess.run([sys.executable, *launch, *tool], env=environment, capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"{count} processes could not train: {done.stderr.strip().splitlines()[-1]}")
            state = f"{folder}/run/last.pdopt"
            seconds = _epoch_seconds(Path(state))
        rows[str(count)] = {
            "seconds": seconds,
            "efficiency": rows.get("1", {}).get("seconds", seconds) / seconds / count,
        }
    return rows


def _epoch_seconds(state: Path) -> float:
    from ppcoordconv.utils.weights import load_state

    history = load_state(state)["history"]
    return (history[-1]["seconds"] - history[0]["seconds"]) / (len(history) - 1)
