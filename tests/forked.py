"""Processes of their own that begin with Paddle imported: forked from a server that has imported it once.

A process that imports Paddle itself takes seconds; these take a tenth of one. The server has run nothing of Paddle, so
that a fork of it is as good as new.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
import threading
import traceback
from multiprocessing import forkserver
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional

ROOT = Path(__file__).resolve().parents[1]
IMPORTED = ["forked", "ppcoordconv.deploy.check", "ppcoordconv.layers", "ppcoordconv.models"]
_context = multiprocessing.get_context("forkserver")
_starting = threading.Lock()


class Forked:
    """A process that calls a function; what it prints goes to files, as one that nobody reads must not wait."""

    def __init__(self, function: Callable[..., Any], *arguments: object, cwd: Path = ROOT) -> None:
        with _starting:
            _start_server()
        self._folder = tempfile.TemporaryDirectory()
        files = [str(Path(self._folder.name) / name) for name in ("stdout", "stderr")]
        for file in files:
            Path(file).touch()
        order = (function, arguments, str(cwd), dict(os.environ), list(sys.path), files)
        self._process = _context.Process(target=_run, args=order)
        with _starting:
            # Else it would run the main module once more, which may be a program that runpy runs in this process.
            main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
            try:
                self._process.start()
            finally:
                sys.modules["__main__"] = main

    @property
    def exitcode(self) -> Optional[int]:
        """None: it runs; else its status, negative the signal that ended it."""
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def finish(self) -> CompletedProcess:
        self._process.join()
        said = [(Path(self._folder.name) / name).read_text(errors="replace") for name in ("stdout", "stderr")]
        self._folder.cleanup()
        return CompletedProcess([], self._process.exitcode, *said)


def run_module(name: str, *words: str) -> None:
    """``python -m name words``, to be called in a process of its own."""
    sys.argv = [name, *words]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def grown_by(run: Callable[[], Any]) -> float:
    """By how many MiB this process grows at most while it calls a function."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_mib()
    run()
    return _peak_mib() - before


def _peak_mib() -> float:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def _start_server() -> None:
    """In it, PYTHONPATH is what finds the package: on older Pythons it gets no other path."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    try:
        _context.set_forkserver_preload(IMPORTED)
        forkserver.ensure_running()
    finally:
        # A command that ends meanwhile puts the variables back itself.
        os.environ.pop("PYTHONPATH", None)
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _run(
    function: Callable[..., Any],
    arguments: List[object],
    cwd: str,
    environment: Dict[str, str],
    path: List[str],
    files: List[str],
) -> None:
    for stream, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[:] = path
    try:
        status = function(*arguments)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.exit(status)
