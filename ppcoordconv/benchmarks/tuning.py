"""What ``tune_cpu`` gives: training steps of a small network in two processes, one tuned, one not, in turn."""

from __future__ import annotations

from typing import Any, Dict

from ..tuning import SWITCH
from .steps import BATCH, interleaved, paddle_command

NETWORK = "aistudio_coordconv"


def measure(repeats: int) -> Dict[str, Any]:
    """Times rounds of ten steps.

    Returns:
        "stock_ms" and "tuned_ms", the medians for a step, and "speedup".
    """
    switches = {"stock": {SWITCH: "0"}, "tuned": {SWITCH: "1"}}
    times = interleaved({name: paddle_command(NETWORK) for name in switches}, switches, repeats)
    stock, tuned = times["stock"], times["tuned"]
    return {"network": NETWORK, "batch": BATCH, "stock_ms": stock, "tuned_ms": tuned, "speedup": stock / tuned}


def as_table(result: Dict[str, Any]) -> str:
    return (
        f"training step of {result['network']}, batch {result['batch']}: {result['stock_ms']:.1f} ms stock, "
        f"{result['tuned_ms']:.1f} ms tuned, {result['speedup']:.2f} times as fast"
    )
