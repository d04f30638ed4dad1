"""The command ppcoordconv: what it says of itself and of mistakes, and that it begins at once."""

import json
import logging
import os
import subprocess
import sys
import warnings

import pytest
from conftest import ROOT, call, run_tool

import ppcoordconv as pcc
from ppcoordconv.commands import COMMANDS, Parser, main, run
from ppcoordconv.commands import infer as infer_command
from ppcoordconv.commands import train as train_command
from ppcoordconv.utils.errors import Stopped


def ppcoordconv(*words):
    return call(main, *words, cwd=ROOT)


def test_version():
    done = ppcoordconv("--version")
    assert (done.status, done.stdout) == (0, f"ppcoordconv {pcc.__version__}\n")


def test_as_a_module_it_is_the_process_that_leaves_with_the_status():
    done = subprocess.run([sys.executable, "-m", "ppcoordconv", "trian"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ppcoordconv("trian").stderr


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
        (
            ["benchmark", "layer"],
            "ppcoordconv benchmark: the benchmarks are in a checkout of the project: ",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(words, message):
    done = ppcoordconv(*words)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("place", [0, 3])
def test_debug_shows_where_a_mistake_was_found(place):
    words = ["train", "-c", "nowhere.yml"]
    words.insert(place, "--debug")
    done = ppcoordconv(*words)
    assert (done.status, done.stdout) == (2, "")
    first, *_, last = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last.startswith("ppcoordconv train: there is no config file nowhere.yml.")


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_a_programmers_error_is_raised(monkeypatch, debug):
    def broken(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(infer_command, "main", broken)
    with pytest.raises(ZeroDivisionError):
        ppcoordconv("infer", "--model_dir", "x", "--input", "x", *debug)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Stopped("stopped by SIGTERM", 143), 143, "ppcoordconv train: stopped by SIGTERM\n"),
        (KeyboardInterrupt(), 130, "ppcoordconv train: interrupted\n"),
        (BrokenPipeError(), 0, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_the_status_of_what_ends_a_command(monkeypatch, error, status, said):
    def ended(arguments):
        raise error

    monkeypatch.setattr(train_command, "main", ended)
    done = ppcoordconv("train", "-c", "x.yml")
    assert (done.status, done.stderr) == (status, said)


def test_a_call_leaves_nothing_behind(monkeypatch):
    def state():
        logger = logging.getLogger("ppcoordconv")
        return dict(os.environ), logger.handlers[:], logger.level, logger.propagate, warnings.filters[:]

    def changes(arguments):
        os.environ["PPCC_LEFT"] = "1"
        del os.environ["PPCC_GIVEN"]
        assert len(logging.getLogger("ppcoordconv").handlers) == len(before[1]) + 1
        return 7

    monkeypatch.setenv("PPCC_GIVEN", "1")
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    monkeypatch.setattr(train_command, "main", changes)
    before = state()
    for _ in range(3):
        assert ppcoordconv("train", "-c", "x.yml").status == 7
        assert state() == before


def test_what_an_engine_prints_is_no_result(tmp_path):
    """Paddle's print to the descriptor, past Python."""

    def work(arguments):
        print("result")
        os.write(1, b"ReduceMeanCheckIfOneDNNSupport\n")
        print("and the last")
        return 0

    done = call(lambda words: run(Parser(), words, work), cwd=tmp_path)
    assert (done.status, done.stdout) == (0, "result\nand the last\n")
    assert "ReduceMeanCheckIfOneDNNSupport\n" in done.stderr


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "benchmark"])
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
