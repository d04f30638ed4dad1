"""What a run was made with, beside its weights."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np
import paddle

from .. import __version__
from . import dist


def environment() -> Dict[str, Any]:
    """Versions, device, number of processes, the git commit where there is one, and the command line."""
    return {
        "ppcoordconv": __version__,
        "paddle": paddle.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": paddle.device.get_device(),
        "processes": dist.count(),
        "git": _git_commit(),
        "command": sys.argv,
    }


def _git_commit() -> Optional[str]:
    """The commit of this package's own repository, with "+changes" where files differ from it."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
