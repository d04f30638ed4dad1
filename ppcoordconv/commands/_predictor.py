"""The options of the commands that run an exported folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import positive

if TYPE_CHECKING:
    from ..deploy import Predictor

# PaddleDetection's names.
RUN_MODES = {"paddle": None, "trt_fp32": "fp32", "trt_fp16": "fp16", "trt_int8": "int8"}


def add_predictor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model_dir", required=True, type=Path, help="a folder that export wrote")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="default: cpu")
    help_text = "what runs the model on a GPU; default: paddle"
    parser.add_argument("--run_mode", choices=list(RUN_MODES), default="paddle", help=help_text)
    help_text = "fp16 and bf16 on GPUs, bf16 on CPUs that have it; default: fp32"
    parser.add_argument("--precision", choices=["fp32", "fp16", "bf16"], default="fp32", help=help_text)
    parser.add_argument("--cpu_threads", type=positive, help="default: the engine's own choice")


def make_predictor(arguments: argparse.Namespace, **options: Any) -> Predictor:
    from ..deploy import Predictor

    return Predictor(
        str(arguments.model_dir),
        arguments.device,
        precision=arguments.precision,
        cpu_threads=arguments.cpu_threads,
        trt=RUN_MODES[arguments.run_mode],
        **options,
    )
