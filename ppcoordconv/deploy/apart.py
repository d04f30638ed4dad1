"""Modules of this package in processes of their own, which may crash, and which end with this one."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

# A variable with the process that started this one.
PARENT = "PPCC_PARENT"
# prctl's, on Linux.
PR_SET_PDEATHSIG = 1


class Apart:
    """A process that runs a module of this package, found where this one is."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.{module}", *arguments],
            cwd=Path(__file__).parents[2],
            env={**os.environ, PARENT: str(os.getpid())},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def finish(self) -> subprocess.CompletedProcess:
        """Waits for its end; returns its status and what it printed."""
        stdout, stderr = (text.decode(errors="replace") for text in self._process.communicate())
        return subprocess.CompletedProcess(self._process.args, self._process.returncode, stdout, stderr)

    def kill(self) -> None:
        """Ends it, if it has not ended."""
        self._process.kill()
        self._process.wait()


def end_with_parent() -> None:
    """In such a process, first: ends it when the one that started it is gone, however that ended; on Linux."""
    if sys.platform == "linux" and PARENT in os.environ:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(os.environ[PARENT]):  # it was gone before
            sys.exit(1)
