"""Measures weights, or an exported model, on the samples of a config and prints the metrics as JSON."""

import argparse
import json
from pathlib import Path

from . import Parser, add_config_options, add_device_option


def add_arguments(parser: Parser) -> None:
    add_config_options(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-w", "--weights", type=Path, help="a .pdparams file")
    what.add_argument("--model_dir", type=Path, help="a folder that export wrote")
    parser.add_argument("--split", choices=["test", "train"], default="test", help="default: test, what was held out")
    add_device_option(parser)


def main(arguments: argparse.Namespace) -> int:
    from ..config import load_config
    from ..tasks import build_task
    from ..utils.device import select_device

    config = load_config(arguments.config, arguments.override)
    device = select_device(arguments.device)
    task = build_task(config)
    samples = task.test_samples() if arguments.split == "test" else task.train_samples(seed=0)
    if arguments.model_dir:
        from ..deploy import Predictor
        from ..deploy.evaluate import evaluate_exported

        metrics = evaluate_exported(task, Predictor(str(arguments.model_dir), device), samples, config.batch_size)
    else:
        from ..training.trainer import evaluate
        from ..utils.weights import load_weights

        load_weights(task.network, arguments.weights)
        metrics, _ = evaluate(task, samples, config.batch_size)
    if config.task.name == "detection":
        from ..metrics.coco import coco_table
        from ..utils.progress import log_info

        log_info(coco_table(metrics))
    print(json.dumps(metrics))
    return 0
