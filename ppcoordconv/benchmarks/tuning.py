"""What ``tune_cpu`` gives: training steps of a small network in two processes, one tuned, one not, in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

from ..progress import bar
from ..tuning import SWITCH, tune_cpu

NETWORK, BATCH, STEPS = "aistudio_coordconv", 32, 10


def measure(repeats: int) -> Dict[str, Any]:
    """Times rounds of ten steps, in turn, after one round that is not counted.

    Returns:
        "stock_ms" and "tuned_ms", the medians for a step, and "speedup".
    """
    processes = {name: _start(switch) for name, switch in (("stock", "0"), ("tuned", "1"))}
    times: Dict[str, List[float]] = {name: [] for name in processes}
    with bar(repeats + 1, unit="round") as progress:
        for _ in range(repeats + 1):
            for name, process in processes.items():
                print("go", file=process.stdin, flush=True)
                times[name].append(float(process.stdout.readline()))
            progress.update()
    for process in processes.values():
        process.communicate()
    stock, tuned = (statistics.median(times[name][1:]) for name in ("stock", "tuned"))
    return {"network": NETWORK, "batch": BATCH, "stock_ms": stock, "tuned_ms": tuned, "speedup": stock / tuned}


def as_table(result: Dict[str, Any]) -> str:
    return (
        f"training step of {result['network']}, batch {result['batch']}: {result['stock_ms']:.1f} ms stock, "
        f"{result['tuned_ms']:.1f} ms tuned, {result['speedup']:.2f} times as fast"
    )


def _start(switch: str) -> Any:
    command = [sys.executable, "-c", f"from {__name__} import _take_steps; _take_steps()"]
    environment = {**os.environ, SWITCH: switch, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _take_steps() -> None:
    """For each line that comes in: ten steps, and the mean milliseconds of one."""
    tune_cpu()
    import paddle

    from .. import models

    paddle.set_device("cpu")
    network = models.create(NETWORK, num_classes=10)
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=network.parameters())
    images, classes = paddle.rand([BATCH, *network.input_shape]), paddle.randint(0, 10, [BATCH])
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(STEPS):
            paddle.nn.functional.cross_entropy(network(images), classes).backward()
            optimizer.step()
            optimizer.clear_grad()
        print(1000 * (time.perf_counter() - start) / STEPS, flush=True)
