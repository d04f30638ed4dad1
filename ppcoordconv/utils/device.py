"""The device to run on."""

from __future__ import annotations

import paddle

from .errors import UserError


def select_device(name: str) -> str:
    """``find_device``; what it returns becomes Paddle's default."""
    device = find_device(name)
    paddle.set_device(device)
    return device


def find_device(name: str) -> str:
    """Which device "cpu", "gpu" or "auto" (a GPU where there is one) is, "cpu" or "gpu".

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if name not in ("auto", "cpu", "gpu"):
        raise UserError(f"the device is 'auto', 'cpu' or 'gpu', got {name!r}")
    if name == "gpu" and not has_gpu:
        why = "no NVIDIA GPU was found" if paddle.is_compiled_with_cuda() else "this build of Paddle is for CPUs"
        raise UserError(f"the device 'gpu' can't be had: {why}; 'cpu' runs here")
    return "gpu" if has_gpu and name != "cpu" else "cpu"
