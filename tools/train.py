"""Trains what a config describes and writes weights, metrics and a VisualDL log below its output_dir."""

import argparse
import json

from _tool import Parser, add_config_options, add_device_option, run


def main(arguments: argparse.Namespace) -> int:
    from ppcoordconv.config import load_config
    from ppcoordconv.device import select_device
    from ppcoordconv.engine import processes
    from ppcoordconv.engine.seeds import train_seeds
    from ppcoordconv.tasks import build_task

    config = load_config(arguments.config, arguments.override)
    select_device(arguments.device)
    processes.join()
    result = train_seeds(config, build_task, arguments.resume)
    if processes.is_first():
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    parser = Parser(description=__doc__)
    add_config_options(parser)
    parser.add_argument("--resume", metavar="auto|PATH", help="go on from a last.pdopt; auto: output_dir's, if any")
    add_device_option(parser)
    run(main, parser.parse_args())
