"""Runs an exported folder over pictures, or points, and prints a JSON object for each, in order."""

import argparse
import sys
from pathlib import Path

from . import Parser
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
    help_text = "the score, 0 to 1, from which objects are shown; default: 0.3"
    parser.add_argument("--threshold", type=float, help=help_text)
    help_text = "jsonl: a result a line; coco: objects as annotations in COCO's format, at the end; default: jsonl"
    parser.add_argument("--format", choices=["jsonl", "coco"], default="jsonl", help=help_text)


def main(arguments: argparse.Namespace) -> int:
    from ..deploy.infer import as_json, infer
    from ..postprocess import SERVED
    from ..postprocess.detection import as_coco
    from ..utils.errors import ArgumentError, argument_prefix
    from ..utils.progress import log_info

    encoding = sys.stdout.encoding or "utf-8"
    results, failed = [], False
    with argument_prefix("--"):
        is_coco = arguments.format == "coco"
        if is_coco and arguments.resume:
            raise ArgumentError("format", "coco takes all results together; leave out --resume")
        predictor = make_predictor(arguments)
        if is_coco and SERVED.build(predictor.description["served_form"]).score_threshold is None:
            raise ArgumentError("format", "coco is for models that find objects")
        for result in infer(
            predictor, arguments.input, arguments.output, arguments.resume, arguments.recursive, arguments.threshold
        ):
            failed |= "error" in result
            if not is_coco:
                print(as_json(result, encoding), flush=True)
                continue
            results.append(result)
            if "error" in result:
                log_info(result["error"])
    if is_coco:
        print(as_json(as_coco(results, predictor.description["labels"]), encoding))
    return int(failed)
