"""Measures side by side, in one run, what one of the commands below names."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Sequence

from _tool import Parser, add_device_option, leave, positive, run

HELP = {
    "layer": "ratios of forward, training step and peak memory",
    "windows": "CoordConv in a window, one for the batch or one for each sample, beside the same call without",
    "tuning": "a training step with the CPU tuning and without",
    "inference": "exported networks beside those with plain convolutions and with concatenation, in every engine",
    "int8": "exported networks in int8 beside float, in both engines",
    "necks": "PP-YOLO's neck beside PaddleDetection's, which must be installed: in training, and exported",
    "files": "infer over PNG files: what of reading them the model hides, and memory",
    "loading": "reading JPEGs of 2 megapixels for training, by two worker processes beside one thread",
    "load": "the web service with many clients, batching and not, beside one request at a time",
    "train": "training beside PyTorch, which is installed below output/ for it; the engine's share; processes",
}


def work(arguments: argparse.Namespace) -> int:
    benchmark = importlib.import_module(f"benchmarks.{arguments.what}")
    result = benchmark.measure(*PARAMETERS[arguments.what](arguments))
    print(json.dumps(result) if arguments.json else benchmark.as_table(result))
    return 0


def _device(name: str) -> str:
    from ppcoordconv.utils.device import select_device

    return select_device(name)


# What each benchmark's measure takes.
PARAMETERS = {
    "layer": lambda arguments: (_device(arguments.device), arguments.amp, arguments.repeats),
    "windows": lambda arguments: (arguments.repeats,),
    "tuning": lambda arguments: (arguments.repeats,),
    "train": lambda arguments: (arguments.repeats, Path("output") / "torch"),
    "inference": lambda arguments: (arguments.repeats,),
    "int8": lambda arguments: (arguments.repeats,),
    "necks": lambda arguments: (arguments.repeats,),
    "files": lambda arguments: (arguments.count,),
    "loading": lambda arguments: (arguments.repeats, arguments.count),
    "load": lambda arguments: (arguments.clients, arguments.seconds),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="benchmark.py", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for name, help_text in HELP.items():
        command = commands.add_parser(name, help=help_text)
        command.add_argument("--json", action="store_true", help="print everything that was measured, as JSON")
        if name not in ("files", "load"):
            command.add_argument("--repeats", type=positive, default=15, help="how often each is timed; default: 15")
    commands.choices["layer"].add_argument("--amp", choices=["O1", "O2"], help="in mixed precision, float16")
    commands.choices["files"].add_argument("--count", type=positive, default=10_000, help="default: 10000")
    commands.choices["loading"].add_argument("--count", type=positive, default=256, help="pictures; default: 256")
    commands.choices["load"].add_argument("--clients", type=positive, default=64, help="default: 64")
    commands.choices["load"].add_argument("--seconds", type=positive, default=300, help="of each mode; default: 300")
    add_device_option(commands.choices["layer"])
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
