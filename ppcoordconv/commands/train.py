"""Trains what a config describes and writes weights, metrics and a VisualDL log below its output_dir."""

import argparse
import json

from . import Parser, add_config_options, add_device_option


def add_arguments(parser: Parser) -> None:
    add_config_options(parser)
    parser.add_argument("--resume", metavar="auto|PATH", help="go on from a last.pdopt; auto: output_dir's, if any")
    help_text = "go on although task, model, data, seed or the optimizer's kind are not those of the state"
    parser.add_argument("--resume_anyway", action="store_true", help=help_text)
    add_device_option(parser)


def main(arguments: argparse.Namespace) -> int:
    from ..config import load_config
    from ..tasks import build_task
    from ..training import dist
    from ..training.seeds import train_seeds
    from ..utils.device import select_device
    from ..utils.errors import Stopped, argument_prefix

    config = load_config(arguments.config, arguments.override)
    select_device(arguments.device)
    dist.init()
    try:
        with argument_prefix("--"):
            result = train_seeds(config, build_task, arguments.resume, arguments.resume_anyway)
    except Stopped as stopped:
        raise Stopped(f"{stopped}, --resume auto goes on from it", stopped.status) from stopped
    if dist.is_main_process():
        print(json.dumps(result))
    return 0
