"""Measures layers, networks and engines side by side: in a checkout, as python tools/benchmark.py."""

import argparse

from . import Parser


def add_arguments(parser: Parser) -> None:
    parser.add_argument("words", nargs=argparse.REMAINDER, help="what tools/benchmark.py takes")


def main(arguments: argparse.Namespace) -> int:
    from ..utils.errors import UserError

    raise UserError("the benchmarks are in a checkout of the project: python tools/benchmark.py --help")
