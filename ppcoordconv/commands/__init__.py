"""The command line: ``ppcoordconv train|eval|export|infer``, a module each, and what they and tools/ share.

A module has ``add_arguments``, which imports nothing of weight, and ``main``, which does the work and returns the exit
status. A user's mistake is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, NoReturn, Optional, Sequence

from .. import __version__

PURPOSE = "CoordConv for PaddlePaddle: networks from a config to a served model."
COMMANDS = ("train", "eval", "export", "infer")


class Parser(argparse.ArgumentParser):
    """argparse, with an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help tells more)\n")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """``ppcoordconv`` with the words after it; returns the exit status, and leaves the process as it was.

    Parameters:
        argv: the words; None: those of this process.
    """
    parser = Parser(prog="ppcoordconv", description=PURPOSE)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        _set_up(commands.add_parser(name, help=_module(name).__doc__), name)
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        parser.print_help(sys.stderr)
        return 2
    return execute(parser, words)


def command(name: str) -> Callable[..., int]:
    """The ``main(argv)`` of one command, for a script of its own."""

    def main(argv: Optional[Sequence[str]] = None) -> int:
        parser = Parser(prog=f"{name}.py")
        _set_up(parser, name)
        return execute(parser, argv)

    return main


def execute(parser: Parser, argv: Optional[Sequence[str]] = None) -> int:
    """Parses the words, calls the ``work`` that the parser has as a default, and returns the exit status."""
    for each in _with_commands(parser):
        each.add_argument("--debug", action="store_true", help="show the traceback of every error")
    try:
        arguments = parser.parse_args(argv)
        return _run(arguments.work, arguments, getattr(arguments, "parser", parser).prog)
    except SystemExit as end:  # of --help, --version and of argparse's errors
        return int(end.code or 0)


def leave(status: int) -> NoReturn:
    """Ends the process."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", 1)) > 1:
        # All is written by now, and in the interpreter's exit one of several processes was seen to wait without end.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def entry_point() -> NoReturn:
    """The console script."""
    leave(main())


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def _set_up(parser: Parser, name: str) -> None:
    module = _module(name)
    parser.description = module.__doc__
    module.add_arguments(parser)
    parser.set_defaults(work=module.main, parser=parser)


def _with_commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of the commands of a parser, of several levels; where it has none, itself."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for each in group.choices.values():
            yield from _with_commands(each)


def _run(work: Callable[[Any], int], arguments: argparse.Namespace, program: str) -> int:
    # Paddle reports its own start at length; only errors are news to somebody who runs a command.
    os.environ.setdefault("GLOG_minloglevel", "2")
    from ..utils.cpu import tune_cpu
    from ..utils.errors import Stopped, UserError
    from ..utils.extras import what_to_install
    from ..utils.progress import flush_deferred

    def fail(message: str, status: int) -> int:
        if arguments.debug:
            traceback.print_exc()
        print(f"{program}: {message}", file=sys.stderr)
        return status

    with warnings.catch_warnings(), _log_deferred():
        warnings.filterwarnings("ignore", module=r"paddle\.")
        tune_cpu()
        try:
            status = work(arguments)
            flush_deferred()
        except UserError as error:
            status = fail(str(error), 2)
        except Stopped as stopped:
            status = fail(str(stopped), stopped.status)
        except ModuleNotFoundError as error:
            needs = what_to_install(error)
            if needs is None:
                raise
            status = fail(needs, 2)
        except BrokenPipeError:
            # Whoever read the results has read enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 0
        except KeyboardInterrupt:
            status = fail("interrupted", 130)
    return status


@contextlib.contextmanager
def _log_deferred() -> Iterator[None]:
    """What the package logs goes to stderr, before the next line that is printed there."""
    from ..utils.progress import defer_info, forget_deferred

    class Deferred(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            defer_info(record.getMessage())

    logger, handler = logging.getLogger("ppcoordconv"), Deferred()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
        forget_deferred()


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
