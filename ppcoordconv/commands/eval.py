"""Measures weights, or an exported model, on the samples of a config and prints the metrics as JSON."""

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from . import Parser, add_config_options, add_device_option

if TYPE_CHECKING:
    from ..tasks import Samples, Task


def add_arguments(parser: Parser) -> None:
    add_config_options(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-w", "--weights", type=Path, help="a .pdparams or .safetensors file")
    what.add_argument("--model_dir", type=Path, help="a folder that export wrote")
    parser.add_argument("--split", choices=["test", "train"], default="test", help="default: test, what was held out")
    help_text = "a folder for report.json and pictures, as of which classes are taken for which"
    parser.add_argument("--output", type=Path, help=help_text)
    add_device_option(parser)


def main(arguments: argparse.Namespace) -> int:
    from ..config import load_config
    from ..deploy import Predictor
    from ..deploy.evaluate import evaluate_exported
    from ..tasks import build_task, trained_task
    from ..training.evaluation import evaluate
    from ..training.report import write_report
    from ..utils.device import select_device
    from ..utils.errors import UserError, argument_prefix
    from ..utils.progress import log_info

    config = load_config(arguments.config, arguments.override)
    device = select_device(arguments.device)
    if arguments.model_dir:
        with argument_prefix("--"):
            predictor = Predictor(str(arguments.model_dir), device)
        task = build_task(config.without_weights(), predictor.description)
        metric = task.metrics()
        metrics = evaluate_exported(task, predictor, _samples(task, arguments.split), config.batch_size, metric)
    else:
        task = trained_task(config, arguments.weights)
        metric = task.metrics()
        metrics, _ = evaluate(task, _samples(task, arguments.split), config.batch_size, metric=metric)
    if not all(map(math.isfinite, metrics.values())):
        raise UserError(f"the outputs of {arguments.weights or arguments.model_dir} are infinite or nan: {metrics}")
    if table := metric.table(metrics):
        log_info(table)
    print(json.dumps(metrics))
    if arguments.output:
        labels = task.export_metadata()["labels"]
        report, pictures = metric.report(labels), metric.pictures(labels)
        if report or pictures:
            write_report(arguments.output, report, pictures)
        else:
            log_info(
                f"the task {config.task.name!r} reports nothing beside its metrics; {arguments.output} is not written"
            )
    return 0


def _samples(task: "Task", split: str) -> "Samples":
    return task.test_samples() if split == "test" else task.train_samples(seed=0)
