"""Serves an exported folder over HTTP: pictures, points or arrays in, results as JSON out."""

import argparse
import sys
from dataclasses import fields
from typing import Any, Callable, Dict, Tuple

from . import Parser, positive
from ._predictor import add_predictor_options, make_predictor

# By the flag, a field of serve.Limits: its type, and its help.
LIMITS: Dict[str, Tuple[Callable[[str], Any], str]] = {
    "max_batch": (positive, "inputs that go through the model together"),
    "max_wait_ms": (float, "milliseconds that an input waits for others"),
    "max_waiting": (positive, "inputs that may wait; a request beyond is answered 429"),
    "max_body_mb": (float, "MiB of a request; a larger one is answered 413"),
    "max_megapixels": (float, "million pixels of a picture; a larger one is answered 413"),
    "timeout": (float, "seconds for a request to arrive, and again to be answered"),
}


def add_arguments(parser: Parser) -> None:
    add_predictor_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: from other machines too; default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one; default: 8000")
    help_text = "batches that run at once; default: as many as the processors"
    parser.add_argument("--max_concurrency", type=positive, help=help_text)
    for name, (kind, help_text) in LIMITS.items():
        parser.add_argument(f"--{name}", type=kind, help=help_text)


def main(arguments: argparse.Namespace) -> int:
    from ..deploy.serve import Limits, serve
    from ..utils.errors import argument_prefix

    given = {field.name: getattr(arguments, field.name) for field in fields(Limits)}
    with argument_prefix("--"):
        limits = Limits(**{name: value for name, value in given.items() if value is not None})
        with make_predictor(arguments, max_concurrency=arguments.max_concurrency) as predictor:
            serve(
                predictor, limits, arguments.host, arguments.port, lambda line: print(line, file=sys.stderr, flush=True)
            )
    return 0
