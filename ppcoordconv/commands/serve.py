"""Serves an exported folder over HTTP: pictures, points or arrays in, results as JSON out."""

import argparse
from dataclasses import fields

from ..utils.limits import Limits
from . import Parser, positive
from ._predictor import add_predictor_options, make_predictor


def add_arguments(parser: Parser) -> None:
    add_predictor_options(parser)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: from other machines too; default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one; default: 8000")
    help_text = "batches that run at once; default: as many as the processors"
    parser.add_argument("--max_concurrency", type=positive, help=help_text)
    for limit in fields(Limits):
        kind = positive if isinstance(limit.default, int) else float
        parser.add_argument(f"--{limit.name}", type=kind, default=limit.default, help=limit.metadata["help"])


def main(arguments: argparse.Namespace) -> int:
    from ..deploy.server import serve
    from ..utils.errors import argument_prefix
    from ..utils.progress import log_info

    with argument_prefix("--"):
        limits = Limits(**{limit.name: getattr(arguments, limit.name) for limit in fields(Limits)})
        with make_predictor(arguments, max_concurrency=arguments.max_concurrency) as predictor:
            serve(predictor, limits, arguments.host, arguments.port, log_info)
    return 0
