"""The command ppcoordconv: what it says of itself and of mistakes, and that it begins at once."""

import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from conftest import ROOT, run_in_process, run_tool

import ppcoordconv as pcc
from ppcoordconv import commands
from ppcoordconv.commands import COMMANDS


def ppcoordconv(*words, cwd=ROOT):
    return run_in_process(commands.main, *words, cwd=cwd)


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "ppcoordconv", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"ppcoordconv {pcc.__version__}\n")


def test_main_returns_and_leaves_the_process_as_it_was(tmp_path):
    logger = logging.getLogger("ppcoordconv")
    before = logger.level, logger.propagate, list(logger.handlers), list(warnings.filters), dict(os.environ), Path.cwd()
    for _ in range(2):
        assert ppcoordconv("infer", "--model_dir", "nowhere", "--input", "x", cwd=tmp_path).status == 2
    after = logger.level, logger.propagate, list(logger.handlers), list(warnings.filters), dict(os.environ), Path.cwd()
    assert after == before


@pytest.mark.parametrize("words", [["--debug"], []])
def test_debug_shows_the_traceback_of_a_users_mistake(words):
    done = ppcoordconv("train", "-c", "nowhere.yml", *words)
    assert done.status == 2
    assert ("Traceback" in done.stderr) == bool(words)
    assert done.stderr.splitlines()[-1].startswith("ppcoordconv train: there is no config file nowhere.yml")


def test_a_bug_keeps_its_traceback(monkeypatch):
    from ppcoordconv import tasks

    def buggy(config):
        return None + 1

    monkeypatch.setattr(tasks, "build_task", buggy)
    with pytest.raises(TypeError, match="NoneType"):
        ppcoordconv("train", "-c", "configs/digits/conv.yml")


def test_version():
    done = ppcoordconv("--version")
    assert (done.status, done.stdout) == (0, f"ppcoordconv {pcc.__version__}\n")


@pytest.mark.parametrize(("words", "status"), [([], 2), (["--help"], 0)])
def test_alone_it_tells_the_commands(words, status):
    done = ppcoordconv(*words)
    assert done.status == status
    said = done.stderr if status else done.stdout
    assert said.startswith("usage: ppcoordconv ")
    assert [name for name in COMMANDS if f"\n    {name}" in said] == list(COMMANDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "ppcoordconv: argument COMMAND: invalid choice: 'trian' (choose from "),
        (["train"], "ppcoordconv train: the following arguments are required: -c/--config (--help tells more)"),
        (["train", "-c", "nowhere.yml"], "ppcoordconv train: there is no config file nowhere.yml. With the package"),
        (["infer", "--model_dir", "x", "--input", "x", "--resume"], "ppcoordconv infer: --resume needs the --output"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, message):
    done = ppcoordconv(*words)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_tool_of_a_checkout_is_the_same_command(name):
    of_tool, of_command = run_tool(name, "--help", cwd=ROOT).stdout, ppcoordconv(name, "--help").stdout
    assert of_tool.startswith(f"usage: {name}.py ")
    # Apart from its name, and where lines break for that.
    assert of_tool.replace(f"{name}.py", f"ppcoordconv {name}").split() == of_command.split()


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], ["paddle", "numpy", "yaml"]),
        (["train", "--help"], ["paddle", "numpy", "yaml"]),
        (
            ["infer", "--model_dir", "nowhere", "--input", "x"],
            [f"ppcoordconv.{r}" for r in ("training", "models", "tasks")],
        ),
    ],
)
def test_it_loads_what_it_needs(words, unwanted):
    code = "import atexit, json, sys; from ppcoordconv.commands import main\n"
    code += "atexit.register(lambda: print('\\n' + json.dumps(list(sys.modules)))); main()"
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "ppcoordconv.commands.infer" in loaded
    assert not set(unwanted) & set(loaded)
