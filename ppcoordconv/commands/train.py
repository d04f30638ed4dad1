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
    from ..tasks import build_task
    from ..training import dist
    from ..training.seeds import train_seeds
    from ..utils.device import select_device

    config = load_config(arguments.config, arguments.override)
    select_device(arguments.device)
    dist.init()
    result = train_seeds(config, build_task, arguments.resume)
    if dist.is_main_process():
        print(json.dumps(result))
    return 0
