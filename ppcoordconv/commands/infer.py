"""Runs an exported folder over pictures, or points, and prints a JSON object for each, in order."""

import argparse
import json
from pathlib import Path

from . import Parser, positive

# PaddleDetection's names.
RUN_MODES = {"paddle": None, "trt_fp32": "fp32", "trt_fp16": "fp16", "trt_int8": "int8"}


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--model_dir", required=True, type=Path, help="a folder that export wrote")
    help_text = "picture files, or folders of them; for a model that takes points, text files with an x,y a line"
    parser.add_argument("--input", required=True, type=Path, nargs="+", help=help_text)
    help_text = "a folder for the pictures with their results, and all results in results.jsonl"
    parser.add_argument("--output", type=Path, help=help_text)
    help_text = "go on after the results that an earlier call left in --output, and print the rest"
    parser.add_argument("--resume", action="store_true", help=help_text)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="default: cpu")
    help_text = "what runs the model on a GPU; default: paddle"
    parser.add_argument("--run_mode", choices=list(RUN_MODES), default="paddle", help=help_text)
    help_text = "fp16 and bf16 on GPUs, bf16 on CPUs that have it; default: fp32"
    parser.add_argument("--precision", choices=["fp32", "fp16", "bf16"], default="fp32", help=help_text)
    parser.add_argument("--cpu_threads", type=positive, help="default: the engine's own choice")


def main(arguments: argparse.Namespace) -> int:
    from ..deploy import Predictor
    from ..deploy.infer import infer
    from ..utils.errors import argument_prefix

    failed = False
    with argument_prefix("--"):
        predictor = Predictor(
            str(arguments.model_dir),
            arguments.device,
            precision=arguments.precision,
            cpu_threads=arguments.cpu_threads,
            trt=RUN_MODES[arguments.run_mode],
        )
        for result in infer(predictor, arguments.input, arguments.output, arguments.resume):
            print(json.dumps(result, ensure_ascii=False), flush=True)
            failed |= "error" in result
    return int(failed)
