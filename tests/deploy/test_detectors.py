"""A detector from training to a served model: exported in every format, with the boxes on the pictures it is given."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, once, run_tool
from PIL import Image

from ppcoordconv.config import load_config
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.tasks import build_task
from ppcoordconv.training.evaluation import evaluate
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import load_weights

CONFIG = ROOT / "configs" / "detection" / "digits_coordconv.yml"


@pytest.fixture(scope="module")
def run(shared_folder):
    """A detector that has begun to learn, on a few pictures that it is tested on too."""
    return once(shared_folder / "detector", make_run)


def make_run(folder):
    made = run_tool("fields", "--output", folder / "fields", "--train", 24, "--test", 8, cwd=folder)
    assert made.status == 0, made.stderr
    shutil.rmtree(folder / "fields" / "test")
    shutil.copytree(folder / "fields" / "train", folder / "fields" / "test")
    shutil.copy(folder / "fields" / "train.json", folder / "fields" / "test.json")
    changes = [f"data.path={folder / 'fields'}", "epochs=20", "optimizer.learning_rate=0.008", "batch_size=4"]
    trained = run_tool("train", "-c", CONFIG, "-o", *changes, "output_dir=run", cwd=folder)
    assert trained.status == 0, trained.stderr
    assert json.loads(trained.stdout)["last"]["ap50"] > 0.5


def task_of(run, *changes):
    task = build_task(load_config(run / "run" / "config.yml", list(changes)))
    load_weights(task.network, run / "run" / "last.pdparams")
    return task


@pytest.mark.parametrize("nms", ["true", "false"])
@pytest.mark.parametrize("model_format", ["paddle", "legacy", "onnx"])
def test_every_form_measures_what_the_weights_do(run, tmp_path, model_format, nms):
    if model_format == "onnx":
        pytest.importorskip("paddle2onnx")
    task = task_of(run, f"export.nms={nms}")
    if model_format == "onnx" and nms == "true":
        with pytest.raises(UserError, match="can't convert matrix NMS: with nms=False"):
            export_task(task, tmp_path, model_format)
        return
    export_task(task, tmp_path, model_format)
    weights, _ = evaluate(task, task.test_samples(), 8)
    del weights["loss"]
    predictor = Predictor(str(tmp_path))
    assert evaluate_exported(task, predictor, task.test_samples(), 8) == pytest.approx(weights, abs=1e-3)
    other = task_of(run, f"export.nms={'false' if nms == 'true' else 'true'}")
    with pytest.raises(UserError, match="the exported model's served form is 'detection"):
        evaluate_exported(other, predictor, task.test_samples(), 8)


def test_the_tools_in_turn(run):
    config, weights = run / "run" / "config.yml", run / "run" / "last.pdparams"
    exported = run_tool("export", "-c", config, "-w", weights, "--output_dir", "model", cwd=run)
    assert exported.status == 0, exported.stderr
    evaluated = run_tool("eval", "-c", config, "--model_dir", "model", cwd=run)
    metrics = json.loads(evaluated.stdout)
    assert metrics["ap"] == pytest.approx(run_metrics(run)["ap"], abs=1e-3)
    assert task_of(run).metrics().table(metrics) in evaluated.stderr
    served = run_tool("infer", "--model_dir", "model", "--input", run / "fields" / "test", cwd=run)
    assert len(served.stdout.splitlines()) == 24


def run_metrics(run):
    return json.loads((run / "run" / "metrics.json").read_text())["last"]


@pytest.mark.parametrize("nms", ["true", "false"])
def test_infer_gives_boxes_on_the_picture(run, tmp_path, nms):
    """A field, and the same at twice its size and on a wider canvas, with twice the boxes."""
    task = task_of(run, f"export.nms={nms}")
    export_task(task, tmp_path / "model")
    field = np.asarray(Image.open(run / "fields" / "train" / "00001.png"))
    Image.fromarray(field).save(tmp_path / "a.png")
    wide = np.zeros([128, 128, 3], np.uint8)
    wide[:] = np.asarray(Image.fromarray(field).resize((128, 128), Image.Resampling.NEAREST))
    Image.fromarray(wide).save(tmp_path / "b.png")
    result = run_tool("infer", "--model_dir", "model", "--input", "a.png", "b.png", "--output", "drawn", cwd=tmp_path)
    assert result.status == 0, result.stderr
    first, second = (json.loads(line)["objects"] for line in result.stdout.splitlines())
    assert len(first) >= 3
    truth = json.loads((run / "fields" / "train.json").read_text())
    (image,) = (image["id"] for image in truth["images"] if image["file_name"] == "00001.png")
    digits = [annotation for annotation in truth["annotations"] if annotation["image_id"] == image]
    corners = [np.array(digit["bbox"]) + [0, 0, *digit["bbox"][:2]] for digit in digits]
    for found in first[:2]:
        # It has not yet learnt which digit is which, but where they are.
        assert found["label"] == str(found["class_id"])
        assert min(np.abs(edges - found["box"]).max() for edges in corners) < 3
        apart = [np.abs(np.array(other["box"]) - 2 * np.array(found["box"])).max() for other in second]
        assert min(apart) < 5
    assert all(0 <= edge <= 64 for found in first for edge in found["box"])
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "a.png"))
    assert drawn.shape == (256, 256, 3)
    assert (drawn.max(axis=2) != drawn.min(axis=2)).any()  # colours on a grey field


def test_any_size_is_served(run, tmp_path):
    export_task(task_of(run), tmp_path, dynamic_size=True)
    predictor = Predictor(str(tmp_path))
    for shape in ([2, 3, 64, 64], [1, 3, 96, 32], [0, 3, 64, 64]):
        assert predictor(np.zeros(shape, np.float32)).shape == (shape[0], 100, 6)
