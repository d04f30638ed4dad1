"""What the tools of a checkout share: the package on the path, and several at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

try:
    from ppcoordconv.commands import (
        Parser,
        add_config_options,
        add_device_option,
        leave,
        positive,
        run,
        run_alone,
    )
except ModuleNotFoundError as error:
    if find_spec("paddle"):
        raise
    print(f"{Path(sys.argv[0]).name}: {error}. In a clone, make sets up .venv: . .venv/bin/activate", file=sys.stderr)
    sys.exit(2)

__all__ = [
    "ROOT",
    "Parser",
    "add_config_options",
    "add_device_option",
    "leave",
    "positive",
    "run",
    "run_alone",
    "tools_side_by_side",
]


def tools_side_by_side(commands: Dict[str, List[str]]) -> Dict[str, str]:
    """Runs a tool for each network at once, a core for each; passes on what they say, returns what they print."""
    from ppcoordconv.utils.errors import UserError

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
