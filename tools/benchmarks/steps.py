"""Training steps of a network in processes of their own, timed in turn."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from ppcoordconv.utils.cpu import environment_at_start, tune_cpu
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.progress import bar

BATCH, STEPS = 32, 10
# By name: classes.
NETWORKS = {"aistudio_coordconv": 10, "coordinate_classification_coordconv": 4096}


def paddle_command(network: str) -> List[str]:
    return [sys.executable, "-W", "ignore", "-c", f"from {__name__} import take_steps; take_steps({network!r})"]


def interleaved(
    commands: Mapping[str, Sequence[str]], variables: Dict[str, Dict[str, str]], repeats: int
) -> Dict[str, float]:
    """The median milliseconds of a step in each process, after a round that is not counted.

    A process starts as this one did, without what the tuning has set since.
    """
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(root / "tools")])
    processes = {
        name: subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment_at_start(), "PYTHONPATH": path, **variables.get(name, {})},
        )
        for name, command in commands.items()
    }
    times: Dict[str, List[float]] = {name: [] for name in processes}
    with bar(repeats + 1, unit="round") as progress:
        for _ in range(repeats + 1):
            for name, process in processes.items():
                assert process.stdin is not None
                assert process.stdout is not None
                with contextlib.suppress(BrokenPipeError):
                    print("go", file=process.stdin, flush=True)
                line = process.stdout.readline()
                if not line:
                    raise UserError(f"the process of {name!r} ended; what it said is above")
                times[name].append(float(line))
            progress.update()
    for process in processes.values():
        process.communicate()
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def take_steps(name: str) -> None:
    """For each line that comes in: ten steps, and the mean milliseconds of one."""
    tune_cpu()
    import paddle

    from ppcoordconv import models

    paddle.set_device("cpu")
    options: Dict[str, Any] = {"num_classes": NETWORKS[name]} if name.startswith("aistudio") else {}
    network = models.create(name, **options)
    optimizer = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
    inputs, targets = paddle.rand([BATCH, *network.input_shape]), paddle.randint(0, NETWORKS[name], [BATCH])
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(STEPS):
            paddle.nn.functional.cross_entropy(network(inputs), targets).backward()
            optimizer.step()
            optimizer.clear_grad()
        print(1000 * (time.perf_counter() - start) / STEPS, flush=True)
