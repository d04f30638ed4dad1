"""Writes a field of digits: handwritten digits scattered over pictures, as a COCO data set of boxes or of masks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Sequence

from _tool import Parser, leave, positive, run


def work(arguments: argparse.Namespace) -> int:
    from ppcoordconv.data import DATASETS
    from ppcoordconv.data.scattered_digits import mnist, write_fields
    from ppcoordconv.utils.errors import UserError

    if arguments.canvas < 48:
        raise UserError(f"--canvas takes at least 48 pixels, got {arguments.canvas}")
    digits = mnist(arguments.mnist) if arguments.mnist else DATASETS.build("digits")
    write_fields(
        arguments.output,
        digits,
        (arguments.train, arguments.test),
        arguments.canvas,
        arguments.digits,
        arguments.by_position,
        arguments.masks,
        arguments.copies,
        arguments.seed,
    )
    print(arguments.output)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="fields.py", description=__doc__)
    parser.add_argument("--output", required=True, type=Path, help="the folder to write")
    parser.add_argument("--train", type=positive, default=9000, help="training pictures; default: 9000")
    parser.add_argument("--test", type=positive, default=1000, help="test pictures; default: 1000")
    parser.add_argument("--canvas", type=positive, default=64, help="their side, in pixels; default: 64")
    parser.add_argument("--digits", type=positive, default=5, help="digits on each; default: 5")
    help_text = "classes are left and right, where on the canvas a digit lies, not which one it is"
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument("--by_position", action="store_true", help=help_text)
    help_text = "with the ink of each digit as run lengths, for instance segmentation"
    parser.add_argument("--masks", action="store_true", help=help_text)
    help_text = "all digits of a picture are the same one, of one class: they differ in their place alone"
    classes.add_argument("--copies", action="store_true", help=help_text)
    parser.add_argument("--mnist", type=Path, help="a folder with MNIST's files; default: scikit-learn's digits")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
