"""Runs an exported folder over pictures, or points, and prints a JSON object for each, in order."""

import argparse
import json
from pathlib import Path

from . import Parser
from ._predictor import add_predictor_options, make_predictor


def add_arguments(parser: Parser) -> None:
    add_predictor_options(parser)
    help_text = "picture files, or folders of them; for a model that takes points, text files with an x,y a line"
    parser.add_argument("--input", required=True, type=Path, nargs="+", help=help_text)
    help_text = "a folder for the pictures with their results, and all results in results.jsonl"
    parser.add_argument("--output", type=Path, help=help_text)
    help_text = "go on after the results that an earlier call left in --output, and print the rest"
    parser.add_argument("--resume", action="store_true", help=help_text)


def main(arguments: argparse.Namespace) -> int:
    from ..deploy.infer import infer
    from ..utils.errors import argument_prefix

    failed = False
    with argument_prefix("--"):
        predictor = make_predictor(arguments)
        for result in infer(predictor, arguments.input, arguments.output, arguments.resume):
            print(json.dumps(result, ensure_ascii=False), flush=True)
            failed |= "error" in result
    return int(failed)
