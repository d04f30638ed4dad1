"""What the tests share: the command lines, and both small networks trained on the digits, once."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, Iterator, List

import hypothesis
import pytest
from forked import Forked, run_module

from ppcoordconv.utils.cpu import tune_cpu
from ppcoordconv.utils.progress import drop_deferred
from ppcoordconv.utils.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
# The package is found as a stranger's checkout has it: by the tools themselves.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
# What a command does before its process imports Paddle, for all that run in this one.
os.environ.setdefault("GLOG_minloglevel", "2")
tune_cpu()
# No test is timed.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, for tests that wait for a process or a time limit."""
    return (os.cpu_count() or 1) + 1


def examples(count: int) -> int:
    """How many examples hypothesis tries; EXAMPLES=0.1 in the environment makes it a tenth."""
    return max(1, round(count * float(os.environ.get("EXAMPLES", 1))))


def package_names(registry: Registry) -> List[str]:
    """What the package itself has registered; tests register things of their own."""
    return [name for name in registry.names() if registry.find(name).__module__.startswith("ppcoordconv.")]


def own_models() -> List[str]:
    """The package's models but for the classifiers of paddle.vision, which are many: tests/models/test_vision.py."""
    from ppcoordconv.models import MODELS
    from ppcoordconv.models.vision import NAMES

    return [name for name in package_names(MODELS) if name not in NAMES]


# Between them they have every kind of operator: the others add, multiply and divide.
COORDS_OF_ALL_OPERATORS = ("paddle", "solo", "wizaron", "thelper", "monai")


def different_coords() -> List[str]:
    """Of the conventions that are the same under several names, one; with fewer examples, those of all operators."""
    from ppcoordconv.coords import CONVENTIONS

    if examples(100) < 100:
        return list(COORDS_OF_ALL_OPERATORS)
    return list({convention: name for name, convention in CONVENTIONS.items()}.values())


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("this user can't mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def put_environment(folder: Path, requirements: Path) -> None:
    """The environment of this Python in a folder of another name, as tools/setup.sh leaves one behind."""
    folder.mkdir()
    for item in Path(sys.prefix).iterdir():
        if item.name != "installed-requirements.txt":
            (folder / item.name).symlink_to(item)
    shutil.copy(requirements, folder / "installed-requirements.txt")


def start_tool(name: str, *arguments: object, cwd: Path, **options: object) -> subprocess.Popen:
    """In a process of its own, where that is the point: it is killed, or what it prints is read while it runs."""
    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    return subprocess.Popen(command, cwd=cwd, **{**pipes, **options})


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def run_tool(name: str, *arguments: object, cwd: Path) -> SimpleNamespace:
    """In this process."""
    return call(importlib.import_module(name).main, *arguments, cwd=cwd)


def commands_of(page: str) -> List[List[str]]:
    """Those of a page of docs/ that begin with ``python tools/``: the script and its arguments."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^python (tools/.*)$", text, re.MULTILINE)]


def run_page(page: str, cwd: Path, shorter: List[str]) -> str:
    """Runs a page's commands one after the other, a training with further options; returns what they say."""
    (cwd / "configs").symlink_to(ROOT / "configs")
    said = ""
    for script, *words in commands_of(page):
        done = run_tool(Path(script).stem, *words, *(shorter if script == "tools/train.py" else []), cwd=cwd)
        assert done.status == 0, (words, done.stderr)
        said += done.stderr
    return said


def call(main: Callable[[List[str]], int], *arguments: object, cwd: Path) -> SimpleNamespace:
    """What a ``main`` returns, and what it and the libraries below it print."""
    result, before = SimpleNamespace(), Path.cwd()
    os.chdir(cwd)
    try:
        with _captured(1, "stdout", result), _captured(2, "stderr", result):
            result.status = main([str(argument) for argument in arguments])
    finally:
        os.chdir(before)
    return result


@contextlib.contextmanager
def _captured(descriptor: int, name: str, result: SimpleNamespace) -> Iterator[None]:
    stream, kept = getattr(sys, name), os.dup(descriptor)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), descriptor)
        setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        try:
            yield
        finally:
            getattr(sys, name).close()
            setattr(sys, name, stream)
            os.dup2(kept, descriptor)
            os.close(kept)
            file.seek(0)
            setattr(result, name, file.read().decode())


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT does what it does in a shell's foreground; in its background it may be ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


# Where the version of Paddle matters. CI runs these on each supported version, the others on one.
DEPENDS_ON_PADDLE = (
    "contrib",
    "convert",
    "deploy",
    "layers",
    "models",
    "tasks",
    "test_coords.py",
    "test_encodings.py",
    "test_functional.py",
    "test_given_coords.py",
    "test_grids.py",
    "test_learnt.py",
    "test_offset.py",
    "test_relative.py",
    "test_tiling.py",
    "test_windows.py",
    "test_works_with.py",
    "training",
)
# Workers take a file at a time; with these first, none is left with minutes to go when the others are done.
LONGEST_FIRST = ("training", "deploy", "test_readme.py", "tools", "test_package.py", "models")


def pytest_runtest_teardown() -> None:
    """What one test's data have to say is no news in the next."""
    drop_deferred()


def pytest_addoption(parser: pytest.Parser) -> None:
    help_text = "how long each test of tests/fuzz tries cases; default: 1"
    parser.addoption("--fuzz_seconds", type=float, default=1.0, help=help_text)


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    tops = {}
    for item in items:
        top = item.path.relative_to(ROOT).parts[1] if item.path.is_relative_to(ROOT / "tests") else ""
        tops[item] = LONGEST_FIRST.index(top) if top in LONGEST_FIRST else len(LONGEST_FIRST)
        if top in DEPENDS_ON_PADDLE and item.get_closest_marker("any_paddle") is None:
            item.add_marker("paddle_version")
    items.sort(key=tops.__getitem__)


@pytest.fixture(scope="session", autouse=True)
def _exports_are_checked_in_forked_processes() -> Iterator[None]:
    """They still are processes of their own, which may crash; a test with a stand-in for Python starts that."""
    from ppcoordconv.deploy import formats, verification
    from ppcoordconv.deploy.apart import Apart

    python = sys.executable

    def fork(module: str, *arguments: str) -> object:
        if sys.executable != python:
            return Apart(module, *arguments)
        return Forked(run_module, f"ppcoordconv.deploy.{module}", *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "Apart", fork)
        patch.setattr(verification, "Apart", fork)
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all workers of this run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder with what ``make`` puts there; of several workers the first makes it, and the others wait."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.with_suffix(".done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            folder.with_suffix(".done").touch()
    return folder


@pytest.fixture(scope="session")
def trained(shared_folder: Path) -> Dict[str, SimpleNamespace]:
    """Both networks of ``configs/digits``, trained for a quarter of the epochs, and exported."""
    configs = {name: ROOT / "configs" / "digits" / f"{name}.yml" for name in ("coordconv", "conv")}

    def make(folder: Path) -> None:
        for name, config in configs.items():
            run = f"output/{name}"
            for words in (
                ["train", "-c", config, "-o", "epochs=3"],
                ["export", "-c", config, "-w", f"{run}/best.pdparams", "--output_dir", f"{run}/inference"],
            ):
                done = run_tool(*words, cwd=folder)
                assert done.status == 0, done.stderr

    runs = {}
    for name, config in configs.items():
        output = once(shared_folder / "trained", make) / "output" / name
        weights, inference = output / "best.pdparams", output / "inference"
        metrics = json.loads((output / "metrics.json").read_text())
        runs[name] = SimpleNamespace(
            config=config, output=output, weights=weights, inference=inference, metrics=metrics
        )
    return runs
