"""infer.py over many files: in order, ahead of the model, and on from where it was killed."""

import json
import signal
import threading
import time

import numpy as np
import pytest
from conftest import ROOT, run_tool, start_tool
from PIL import Image

from ppcoordconv.data.not_so_clevr import all_centres, one_hot
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy import infer as infer_module
from ppcoordconv.deploy.infer import BATCH_SIZE, READERS, RESULTS, infer
from ppcoordconv.utils.errors import UserError

MODEL = ROOT / "docs" / "trained" / "regression"
CENTRES = all_centres()[:: 3136 // 300][:300]


@pytest.fixture(scope="module")
def canvases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canvases")
    for i, centre in enumerate(CENTRES):
        Image.fromarray(one_hot(centre)).save(folder / f"{i:03d}.png")
    (folder / "100.png").write_bytes(b"no picture")
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_results_are_in_order_and_written_down(canvases, tmp_path):
    results = list(infer(Predictor(str(MODEL)), [canvases], tmp_path))
    assert [result["input"] for result in results] == [str(canvases / f"{i:03d}.png") for i in range(300)]
    assert [i for i, result in enumerate(results) if "error" in result] == [100]
    found = np.array([[result.get("x", 0), result.get("y", 0)] for result in results])
    assert np.delete(found.round() == CENTRES, 100, axis=0).all()
    assert lines(tmp_path / RESULTS) == results


def test_no_more_is_read_ahead_than_the_readers_need(canvases, monkeypatch):
    read, waiting = [], threading.Lock()
    real = infer_module._read

    def counted(item):
        with waiting:
            read.append(item)
        return real(item)

    monkeypatch.setattr(infer_module, "_read", counted)
    results = infer(Predictor(str(MODEL)), [canvases])
    next(results)
    time.sleep(0.5)
    assert BATCH_SIZE < len(read) <= (READERS + 2) * BATCH_SIZE
    results.close()


def test_killed_and_resumed(canvases, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = ["--model_dir", MODEL, "--input", canvases, "--output"]
    assert run_tool("infer", *arguments, whole, cwd=tmp_path).status == 1
    expected = lines(whole / RESULTS)
    process = start_tool("infer", *arguments, parts, cwd=tmp_path)
    for _ in range(3):
        json.loads(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = lines(parts / RESULTS)
    assert 3 <= len(before) < 300
    assert before == expected[: len(before)]
    with (parts / RESULTS).open("a", encoding="utf-8") as file:
        file.write('{"input": "ha')  # as a line that was being written
    resumed = run_tool("infer", *arguments, parts, "--resume", cwd=tmp_path)
    assert [json.loads(line) for line in resumed.stdout.splitlines()] == expected[len(before) :]
    assert lines(parts / RESULTS) == expected
    assert {path.name for path in parts.glob("*.png")} == {path.name for path in whole.glob("*.png")}
    again = run_tool("infer", *arguments, parts, "--resume", cwd=tmp_path)
    assert (again.stdout, lines(parts / RESULTS)) == ("", expected)


def test_resumed_with_nothing_before_it_begins(canvases, tmp_path):
    results = list(infer(Predictor(str(MODEL)), [canvases / "000.png"], tmp_path / "new", resume=True))
    assert len(results) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"input": "elsewhere.png"}\n', "holds results of other inputs; choose another folder"),
        ("x\n", "does not hold results of infer"),
        ("[]\n", "does not hold results of infer"),
        ('{"input": "elsewhere.png"}\nwhat somebody else wrote', "holds results of other inputs"),
    ],
)
def test_results_that_can_not_be_gone_on_from(canvases, tmp_path, content, words):
    (tmp_path / RESULTS).write_text(content)
    with pytest.raises(UserError, match=words):
        list(infer(Predictor(str(MODEL)), [canvases], tmp_path, resume=True))
    assert (tmp_path / RESULTS).read_text() == content


def test_resume_needs_the_folder(canvases, tmp_path):
    result = run_tool("infer", "--model_dir", MODEL, "--input", canvases, "--resume", cwd=tmp_path)
    assert (result.status, len(result.stderr.splitlines())) == (2, 1)
    assert "--resume needs the output folder" in result.stderr


def test_a_folder_that_can_not_be_written(canvases, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be written"):
        list(infer(Predictor(str(MODEL)), [canvases], tmp_path / "file" / "results"))
