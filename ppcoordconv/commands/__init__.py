"""The command line: ``ppcoordconv train|eval|export|infer|serve``, a module each, and what they and tools/ share.

A module has ``add_arguments``, which imports nothing of weight, and ``main``, which does the work and returns the exit
status. A user's mistake is one line on stderr and exit status 2; a programmer's keeps its traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, NoReturn, Sequence

from .. import __version__
from ._streams import open_streams, results_alone_on_stdout

PURPOSE = "CoordConv for PaddlePaddle: networks from a config to a served model."
COMMANDS = ("check", "train", "eval", "export", "infer", "serve", "benchmark")


class Parser(argparse.ArgumentParser):
    """argparse, with an error in one line and options that all commands have."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Suppressed, so that a command's default doesn't replace what was said before its name.
        help_text = "show the traceback of every error"
        self.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=help_text)
        help_text = "a module of yours, as my_package.my_module, with models, datasets, tasks or served forms"
        options = {"dest": "modules", "action": "append", "default": argparse.SUPPRESS, "metavar": "MODULE"}
        self.add_argument("--import", help=help_text, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help tells more)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """``ppcoordconv`` with the words after it, by default the process's own.

    Returns:
        The exit status. An error that is no user's mistake is raised.
    """
    words = sys.argv[1:] if argv is None else argv
    parser = Parser(prog="ppcoordconv", description=PURPOSE)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        _set_up(commands.add_parser(name, help=_module(name).__doc__), name)
    if not words:
        parser.print_help(sys.stderr)
        return 2
    return run(parser, words)


def run_alone(name: str, argv: Sequence[str] | None = None) -> int:
    """One command, from a script of its own."""
    parser = Parser(prog=f"{name}.py")
    _set_up(parser, name)
    return run(parser, argv)


def leave(status: int) -> NoReturn:
    """Ends the process: for the scripts that call a ``main``."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # whoever read the results has read enough then
            print(f"stdout can't be written: {error.strerror}", file=sys.stderr)
            status = status or 1
        # The interpreter flushes once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if int(os.environ.get("PADDLE_TRAINERS_NUM", 1)) > 1:
        # All is written by now, and in the interpreter's exit one of several processes was seen to wait without end.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


def _set_up(parser: Parser, name: str) -> None:
    module = _module(name)
    parser.description = module.__doc__
    module.add_arguments(parser)
    parser.set_defaults(main=module.main, parser=parser)


def run(parser: Parser, argv: Sequence[str] | None, main: Callable[[Any], int] | None = None) -> int:
    """Parses the words, tunes the CPU and calls ``main``, or the one that the parser has for the words."""
    open_streams()
    try:
        arguments = parser.parse_args(argv)
        with _process_as_it_was():
            from ..utils.cpu import tune_cpu

            tune_cpu()
            return _status(main or arguments.main, arguments, getattr(arguments, "parser", parser).prog)
    except SystemExit as exit:  # argparse's, after --help or a mistake
        return int(exit.code or 0)


def _status(main: Callable[[Any], int], arguments: argparse.Namespace, program: str) -> int:
    from ..utils.errors import Stopped, UserError
    from ..utils.extras import what_to_install
    from ..utils.progress import flush_deferred

    def fail(message: object, status: int) -> int:
        if hasattr(arguments, "debug"):
            traceback.print_exc()
        print(f"{program}: {message}", file=sys.stderr)
        return status

    try:
        with results_alone_on_stdout():
            _import(getattr(arguments, "modules", []))
            status = main(arguments)
        flush_deferred()
        return status
    except UserError as error:
        return fail(error, 2)
    except Stopped as stopped:
        return fail(stopped, stopped.status)
    except ModuleNotFoundError as error:
        needs = what_to_install(error)
        if needs is None:
            raise
        return fail(needs, 2)
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except BrokenPipeError:
        return 0
    except OSError as error:
        # Of what is printed; a file has a name.
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) or error.filename is not None:
            raise
        return fail(f"stdout can't be written: {error.strerror}", 1)


def _import(modules: Sequence[str]) -> None:
    """Modules of the user's, looked for in the current folder first; what they register is found by its name then."""
    from ..utils.errors import UserError

    if modules and os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds texts
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    for module in modules:
        takes = f"--import takes a module that can be imported, as my_package.my_module, got {module!r}"
        if not all(map(str.isidentifier, module.split("."))):
            raise UserError(takes)
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            # One that is missing in the user's module is for its author to see.
            if not f"{module}.".startswith(f"{error.name}."):
                raise
            raise UserError(f"{takes}: {error}") from error


def stop_on_sigterm() -> None:
    """Lets SIGTERM end the work as Ctrl-C does: files that are half written and processes that were started go, too.

    To be called once Paddle is imported, which takes the signal for itself.
    """
    from ..utils.errors import Stopped

    def stop(number: int, frame: object) -> NoReturn:
        raise Stopped("ended by SIGTERM", 128 + number)

    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, stop)


@contextlib.contextmanager
def _process_as_it_was() -> Iterator[None]:
    """What a command changes in its process and another may not expect: variables, the path, the logger, SIGTERM."""
    from ..utils.progress import defer_info, drop_deferred

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            defer_info(record.getMessage())

    logger, handler = logging.getLogger("ppcoordconv"), Said()
    level, propagate, variables = logger.level, logger.propagate, dict(os.environ)
    path = list(sys.path)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        # Paddle reports its own start at length; only errors are news to somebody who runs a command.
        os.environ.setdefault("GLOG_minloglevel", "2")
        warnings.filterwarnings("ignore", module=r"paddle\.")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
            sys.path[:] = path
            drop_deferred()
            if on_sigterm is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_sigterm)
            for name in set(os.environ) - set(variables):
                del os.environ[name]
            os.environ.update(variables)


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
