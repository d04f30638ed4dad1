"""Measures weights on the held-out samples and prints the metrics as JSON."""

import argparse
import json
from pathlib import Path

from _tool import Parser, add_config_options, add_device_option, run


def main(arguments: argparse.Namespace) -> int:
    from ppcoordconv.config import load_config
    from ppcoordconv.device import select_device
    from ppcoordconv.engine.checkpoints import load_weights
    from ppcoordconv.engine.trainer import evaluate
    from ppcoordconv.tasks import build_task

    config = load_config(arguments.config, arguments.override)
    select_device(arguments.device)
    task = build_task(config)
    load_weights(task.network, arguments.weights)
    metrics, _ = evaluate(task, config.batch_size)
    print(json.dumps(metrics))
    return 0


if __name__ == "__main__":
    parser = Parser(description=__doc__)
    add_config_options(parser)
    parser.add_argument("-w", "--weights", required=True, type=Path, help="a .pdparams file")
    add_device_option(parser)
    run(main, parser.parse_args())
