"""What the tests share: the command lines as processes, and both small networks trained on the digits, once."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, List

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The package is found as a stranger's checkout has it: by the tools themselves.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def examples(count: int) -> int:
    """How many examples hypothesis tries; EXAMPLES=0.1 in the environment makes it a tenth."""
    return max(1, round(count * float(os.environ.get("EXAMPLES", 1))))


def put_environment(folder: Path, requirements: Path) -> None:
    """The environment of this Python in a folder of another name, as tools/setup.sh leaves one behind."""
    folder.mkdir()
    for item in Path(sys.prefix).iterdir():
        if item.name != "installed-requirements.txt":
            (folder / item.name).symlink_to(item)
    shutil.copy(requirements, folder / "installed-requirements.txt")


def start_tool(name: str, *arguments: object, cwd: Path, **options: object) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    return subprocess.Popen(command, cwd=cwd, **{**pipes, **options})


def run_tool(name: str, *arguments: object, cwd: Path) -> SimpleNamespace:
    """A tool of the checkout, in this process: its exit status and what it prints."""
    return run_in_process(importlib.import_module(name).main, *arguments, cwd=cwd)


def run_in_process(main: Callable[[List[str]], int], *arguments: object, cwd: Path) -> SimpleNamespace:
    """A ``main(argv)``, in a directory: its exit status, what it prints and what it says."""
    before = Path.cwd(), dict(os.environ)
    os.chdir(cwd)
    # The threads and the memory of this process are not the command's to set.
    os.environ["PPCC_TUNE_CPU"] = "0"
    try:
        with contextlib.redirect_stdout(io.StringIO()) as stdout, contextlib.redirect_stderr(io.StringIO()) as stderr:
            status = main([str(argument) for argument in arguments])
    finally:
        os.chdir(before[0])
        os.environ.clear()
        os.environ.update(before[1])
    return SimpleNamespace(status=status, stdout=stdout.getvalue(), stderr=stderr.getvalue())


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, SimpleNamespace]:
    """Both networks of ``configs/digits``, trained in full, exported, and their held-out digits as files."""
    folder = tmp_path_factory.mktemp("trained")
    configs = {name: ROOT / "configs" / "digits" / f"{name}.yml" for name in ("coordconv", "conv")}
    # Two at a time, each with a core.
    one_core = {**ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    _finish({name: start_tool("train", "-c", config, cwd=folder, env=one_core) for name, config in configs.items()})
    runs = {name: SimpleNamespace(config=config, output=folder / "output" / name) for name, config in configs.items()}
    exports = {}
    for name, run in runs.items():
        run.metrics = json.loads((run.output / "metrics.json").read_text())
        run.weights = run.output / "best.pdparams"
        run.inference = run.output / "inference"
        exports[name] = start_tool(
            "export", "-c", run.config, "-w", run.weights, "--output_dir", run.inference, cwd=folder
        )
    _finish(exports)
    return runs


def _finish(processes: Dict[str, subprocess.Popen]) -> None:
    for process in processes.values():
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
