"""The command line: ``ppcoordconv train|eval|export|infer``, a module each, and what they and tools/ share.

A module has ``add_arguments``, which imports nothing of weight, and ``main``, which does the work and returns the exit
status. A user's mistake is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, Callable, NoReturn

from .. import __version__

PURPOSE = "CoordConv for PaddlePaddle: networks from a config to a served model."
COMMANDS = ("train", "eval", "export", "infer")


class Parser(argparse.ArgumentParser):
    """argparse, with an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help tells more)\n")


def main() -> NoReturn:
    """``ppcoordconv`` with the words after it."""
    parser = Parser(prog="ppcoordconv", description=PURPOSE)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        _set_up(commands.add_parser(name, help=_module(name).__doc__), name)
    if not sys.argv[1:]:
        parser.print_help(sys.stderr)
        sys.exit(2)
    _run(parser.parse_args())


def run_alone(name: str) -> NoReturn:
    """One command, from a script of its own."""
    parser = Parser()
    _set_up(parser, name)
    _run(parser.parse_args())


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def _set_up(parser: Parser, name: str) -> None:
    module = _module(name)
    parser.description = module.__doc__
    module.add_arguments(parser)
    parser.set_defaults(main=module.main, parser=parser)


def _run(arguments: argparse.Namespace) -> NoReturn:
    run(arguments.main, arguments, arguments.parser.prog)


def run(main: Callable[[Any], int], arguments: argparse.Namespace, program: str = "") -> NoReturn:
    """Tunes the CPU, calls ``main`` and exits with what it returns."""
    # Paddle reports its own start at length; only errors are news to somebody who runs a command.
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", module=r"paddle\.")
    from ..utils.cpu import tune_cpu
    from ..utils.errors import Stopped, UserError
    from ..utils.extras import what_to_install
    from ..utils.progress import defer_info, flush_deferred

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            defer_info(record.getMessage())

    def fail(message: str, status: int) -> int:
        print(f"{program or Path(sys.argv[0]).name}: {message}", file=sys.stderr)
        return status

    logger = logging.getLogger("ppcoordconv")
    logger.addHandler(Said())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    tune_cpu()
    try:
        status = main(arguments)
        flush_deferred()
    except UserError as error:
        status = fail(str(error), 2)
    except Stopped as stopped:
        status = fail(str(stopped), stopped.status)
    except ModuleNotFoundError as error:
        needs = what_to_install(error)
        if needs is None:
            raise
        print(f"{program or Path(sys.argv[0]).name} {needs}", file=sys.stderr)
        status = 2
    except BrokenPipeError:
        # Whoever read the results has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        status = fail("interrupted", 130)
    _leave(status)


def _leave(status: int) -> NoReturn:
    if int(os.environ.get("PADDLE_TRAINERS_NUM", 1)) > 1:
        # All is written by now, and in the interpreter's exit one of several processes was seen to wait without end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", required=True, type=Path, help="a config file, as configs/digits/conv.yml")
    help_text = "values that replace the config's: epochs=5 optimizer.learning_rate=1e-3"
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=help_text)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    help_text = "default: auto, a GPU where there is one"
    parser.add_argument("--device", choices=["auto", "cpu", "gpu"], default="auto", help=help_text)


def positive(text: str) -> int:
    """An argument's type."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number of at least 1, got {text}")
    return number
