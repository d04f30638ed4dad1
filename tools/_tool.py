"""What the command lines share: the package on the path, a quiet Paddle, a mistake in one line and exit status 2."""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# Paddle reports its own start at length; only errors are news to somebody who runs a tool.
os.environ.setdefault("GLOG_minloglevel", "2")
warnings.filterwarnings("ignore", module=r"paddle\.")


class Parser(argparse.ArgumentParser):
    """argparse, with an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help tells more)\n")


def run(main: Callable[[Any], int], arguments: argparse.Namespace) -> NoReturn:
    """Tunes the CPU, calls ``main`` and exits with what it returns."""
    from ppcoordconv import tune_cpu
    from ppcoordconv.errors import Stopped, UserError
    from ppcoordconv.progress import say_later, say_what_is_left

    class Said(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say_later(record.getMessage())

    logger = logging.getLogger("ppcoordconv")
    logger.addHandler(Said())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    tune_cpu()
    try:
        status = main(arguments)
        say_what_is_left()
        sys.exit(status)
    except UserError as error:
        sys.exit(_fail(str(error), 2))
    except Stopped as stopped:
        sys.exit(_fail(str(stopped), stopped.status))
    except BrokenPipeError:
        # Whoever read the results has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted", 130))


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


def tools_side_by_side(commands: Dict[str, List[str]]) -> Dict[str, str]:
    """Runs a tool for each network at once, a core for each; passes on what they say, returns what they print."""
    from ppcoordconv.errors import UserError

    processes, threads, printed = {}, [], {}
    for name, (tool, *rest) in commands.items():
        print(f"$ python tools/{tool}.py {' '.join(rest)}", file=sys.stderr)
        command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *rest]
        one_core = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=one_core, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        threads.append(threading.Thread(target=_pass_on, args=(process.stderr, name)))
        threads.append(threading.Thread(target=lambda p=process, n=name: printed.update({n: p.stdout.read()})))
        processes[name] = process
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, process in processes.items():
        if process.wait():
            raise UserError(f"the command for {name} above ended with status {process.returncode}")
    return printed


def _pass_on(lines: List[str], name: str) -> None:
    for line in lines:
        print(f"{name:>9} | {line}", end="", file=sys.stderr)


def _fail(message: str, status: int) -> int:
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    return status
