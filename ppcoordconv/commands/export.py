"""Writes an inference model from weights, checked against the network before it is handed over."""

import argparse
import json
from pathlib import Path

from . import Parser, add_config_options, stop_on_sigterm


def add_arguments(parser: Parser) -> None:
    add_config_options(parser)
    parser.add_argument("-w", "--weights", required=True, type=Path, help="a .pdparams or .safetensors file")
    parser.add_argument("--output_dir", required=True, type=Path, help="the folder to write")
    help_text = "paddle: this Paddle version's own; legacy: a pdmodel that Paddle 2.6 and 3 both read; onnx: ONNX"
    parser.add_argument("--format", choices=["paddle", "legacy", "onnx"], default="paddle", help=help_text)
    help_text = "for maps of any height and width, where the network allows it; default: the size it was trained on"
    parser.add_argument("--dynamic_size", action="store_true", help=help_text)
    help_text = (
        "fp16 and bf16 are for GPUs, where they are checked; fp16 as ONNX is checked on the CPU too; default: fp32"
    )
    parser.add_argument("--precision", choices=["fp32", "fp16", "bf16"], default="fp32", help=help_text)


def main(arguments: argparse.Namespace) -> int:
    from ..config import EXPORT_OPTIONS, load_config
    from ..deploy.export_task import export_task
    from ..tasks import trained_task
    from ..utils.device import select_device
    from ..utils.errors import argument_prefix

    stop_on_sigterm()
    config = load_config(arguments.config, arguments.override)
    # CPU builds of Paddle refuse to trace convolutions in half precision.
    select_device("cpu" if arguments.precision == "fp32" else "auto")
    task = trained_task(config, arguments.weights)
    options = {"format": arguments.format, "dynamic_size": arguments.dynamic_size, "precision": arguments.precision}
    own = {key: value for key, value in config.export.items() if key in EXPORT_OPTIONS}
    with argument_prefix("--"), argument_prefix("export.", own):
        description = export_task(task, arguments.output_dir, **options, **own)
    print(json.dumps({"output_dir": str(arguments.output_dir), "checked": description["checked"]}))
    return 0
