"""Runs an exported folder over pictures, or points, and prints a JSON object for each, in order."""

import argparse
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

from . import Parser, stop_on_sigterm
from ._predictor import add_predictor_options, make_predictor


def add_arguments(parser: Parser) -> None:
    add_predictor_options(parser)
    help_text = "picture files, or folders of them; for a model that takes points, text files with an x,y a line"
    parser.add_argument("--input", required=True, type=Path, nargs="+", help=help_text)
    parser.add_argument("--recursive", action="store_true", help="take the pictures in folders of the folders, too")
    help_text = "a folder for the pictures with their results, and all results in results.jsonl"
    parser.add_argument("--output", type=Path, help=help_text)
    help_text = "go on after the results that an earlier call left in --output, and print the rest"
    parser.add_argument("--resume", action="store_true", help=help_text)
    help_text = "the score, 0 to 1, from which objects are shown; default: task.score_threshold of the export, 0.3"
    parser.add_argument("--threshold", type=float, help=help_text)
    help_text = "cut pictures into squares of so many pixels, for what finds boxes, or a class for each pixel"
    parser.add_argument("--tile", type=int, metavar="PIXELS", help=help_text)
    help_text = "how many pixels two tiles share; default: a quarter of --tile"
    parser.add_argument("--overlap", type=int, metavar="PIXELS", help=help_text)
    help_text = "jsonl: a result a line; coco: objects as annotations in COCO's format, at the end; default: jsonl"
    parser.add_argument("--format", choices=["jsonl", "coco"], default="jsonl", help=help_text)


def main(arguments: argparse.Namespace) -> int:
    from ..deploy.annotations import as_coco
    from ..deploy.infer import as_json, infer
    from ..utils.errors import ArgumentError, argument_prefix
    from ..utils.progress import log_info

    stop_on_sigterm()
    encoding = sys.stdout.encoding or "utf-8"
    errors: List[str] = []

    def results() -> Iterator[Dict[str, Any]]:
        for result in infer(
            predictor,
            arguments.input,
            arguments.output,
            arguments.resume,
            arguments.recursive,
            arguments.threshold,
            arguments.tile,
            arguments.overlap,
        ):
            if "error" in result:
                errors.append(result["error"])
            yield result

    with argument_prefix("--"):
        if arguments.format == "coco" and arguments.resume:
            raise ArgumentError("format", "coco takes all results together; leave out --resume")
        predictor = make_predictor(arguments)
        if arguments.format == "coco":
            print(as_json(as_coco(results(), predictor.description), encoding))
            for error in errors:
                log_info(error)
        else:
            for result in results():
                print(as_json(result, encoding), flush=True)
    return int(bool(errors))
