"""Modules of this package in processes of their own, which may crash, and which end with this one."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from pathlib import Path

# prctl's, on Linux.
_PR_SET_PDEATHSIG = 1


class run_apart:  # noqa: N801 - called as a function
    """Starts a module of this package, found where this one is."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"{__package__}.{module}", *arguments]
        self._process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE
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
    """Has the kernel end this process when the one that started it is gone, however that ended; on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
