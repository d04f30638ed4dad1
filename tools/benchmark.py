"""Measures, side by side in one run: `layer` compares CoordConv with nn.Conv2D and with concatenation."""

import argparse
import json

from _tool import Parser, add_device_option, run


def main(arguments: argparse.Namespace) -> int:
    from ppcoordconv.benchmarks.layer import as_table, measure
    from ppcoordconv.device import select_device

    result = measure(select_device(arguments.device), arguments.amp, arguments.repeats)
    print(json.dumps(result) if arguments.json else as_table(result))
    return 0


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number of at least 1, got {text}")
    return number


if __name__ == "__main__":
    parser = Parser(description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    layer = commands.add_parser("layer", help="ratios of forward, training step and peak memory")
    layer.add_argument("--json", action="store_true", help="print everything that was measured, as JSON")
    layer.add_argument("--amp", choices=["O1", "O2"], help="in mixed precision, float16")
    layer.add_argument("--repeats", type=positive, default=15, help="how often each is timed; default: 15")
    add_device_option(layer)
    run(main, parser.parse_args())
