"""Trains what a config describes and writes weights, metrics and a VisualDL log below its output_dir."""

import argparse
import json

from . import Parser, add_config_options, add_device_option


def add_arguments(parser: Parser) -> None:
    add_config_options(parser)
    parser.add_argument("--resume", metavar="auto|PATH", help="go on from a last.pdopt; auto: output_dir's, if any")
    add_device_option(parser)


def main(arguments: argparse.Namespace) -> int:
    from ..config import load_config
    from ..device import select_device
    from ..engine import processes
    from ..engine.seeds import train_seeds
    from ..tasks import build_task

    config = load_config(arguments.config, arguments.override)
    select_device(arguments.device)
    processes.join()
    result = train_seeds(config, build_task, arguments.resume)
    if processes.is_first():
        print(json.dumps(result))
    return 0
