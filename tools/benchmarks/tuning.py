"""What ``tune_cpu`` gives: training steps of small networks in two processes, one tuned, one not, in turn."""

from __future__ import annotations

from typing import Any, Dict

from benchmarks.steps import BATCH, NETWORKS, interleaved, paddle_command
from ppcoordconv.utils.cpu import SWITCH


def measure(repeats: int) -> Dict[str, Any]:
    """Times rounds of ten steps.

    Returns:
        "batch", and by network "stock_ms" and "tuned_ms", the medians for a step, and "speedup".
    """
    switches = {"stock": {SWITCH: "0"}, "tuned": {SWITCH: "1"}}
    result: Dict[str, Any] = {"batch": BATCH}
    for network in NETWORKS:
        times = interleaved({name: paddle_command(network) for name in switches}, switches, repeats)
        stock, tuned = times["stock"], times["tuned"]
        result[network] = {"stock_ms": stock, "tuned_ms": tuned, "speedup": stock / tuned}
    return result


def as_table(result: Dict[str, Any]) -> str:
    rows = [f"{f'ms a training step of {BATCH}':<40}{'stock':>10}{'tuned':>10}{'speedup':>10}"]
    for network in NETWORKS:
        row = result[network]
        rows.append(f"{network:<40}{row['stock_ms']:>10.1f}{row['tuned_ms']:>10.1f}{row['speedup']:>10.2f}")
    return "\n".join(rows)
