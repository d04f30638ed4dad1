"""``task.score_threshold`` from a config through its export to what infer and serve show."""

import asyncio
import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, run_tool
from PIL import Image
from test_serve import asked

from ppcoordconv.config import load_config
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.description import read_description, write_description
from ppcoordconv.deploy.infer import infer
from ppcoordconv.deploy.serve import create_app
from ppcoordconv.postprocess import SERVED, served_form_of
from ppcoordconv.tasks import build_task
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import save_weights

CONFIG = ROOT / "configs" / "detection" / "digits_coordconv.yml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A detector that was exported with a threshold of 0.8, a field of digits, and an export from before the key."""
    folder = tmp_path_factory.mktemp("threshold")
    made = run_tool("fields", "--output", folder / "fields", "--train", 6, "--test", 6, cwd=folder)
    assert made.status == 0, made.stderr
    changes = ["-o", f"data.path={folder / 'fields'}", "task.score_threshold=0.8"]
    task = build_task(load_config(CONFIG, [*changes[1:], "model.pretrained=true"]))
    save_weights(task.network, folder / "a.safetensors", task.export_metadata())
    made = run_tool("export", "-c", CONFIG, *changes, "-w", "a.safetensors", "--output_dir", "model", cwd=folder)
    assert made.status == 0, made.stderr
    shutil.copytree(folder / "model", folder / "earlier")
    description = read_description(folder / "model")
    assert description.pop("score_threshold") == 0.8
    write_description(folder / "earlier", description)
    return folder


def shown(results):
    return sorted(found["score"] for result in results for found in result["objects"])


def test_infer_shows_what_the_export_says_unless_it_is_told_otherwise(folder):
    models = {name: Predictor(str(folder / name)) for name in ("model", "earlier")}
    pictures = [folder / "fields" / "test"]
    every = shown(infer(models["model"], pictures, threshold=0))
    for name, threshold in (("model", 0.8), ("earlier", 0.3)):
        scores = shown(infer(models[name], pictures))
        assert scores == [score for score in every if score >= threshold]
        assert 0 < len(scores) < len(every)
    assert shown(infer(models["model"], pictures, threshold=0.5)) == [score for score in every if score >= 0.5]


def test_serve_shows_what_infer_does(folder):
    predictor = Predictor(str(folder / "model"))
    picture = sorted((folder / "fields" / "test").iterdir())[0]
    body = json.dumps({"inputs": [np.asarray(Image.open(picture).convert("RGB")).tolist()]}).encode()
    status, answer = asyncio.run(asked(create_app(predictor), "POST", "/predict", body))
    assert status == 200
    assert shown(json.loads(answer)["results"]) == pytest.approx(shown(infer(predictor, [picture])), abs=1e-4)


def test_the_pictures_of_training_show_it(folder):
    tasks = {
        threshold: build_task(
            load_config(CONFIG, [f"data.path={folder / 'fields'}", f"task.score_threshold={threshold}"])
        )
        for threshold in (0.3, 0.1)
    }
    assert [task.export_metadata()["score_threshold"] for task in tasks.values()] == [0.3, 0.1]
    rows = np.float32([[[0, 0.2, 5, 5, 40, 40]]] * 6)
    assert (tasks[0.3].visualize(rows) != tasks[0.1].visualize(rows)).any()
    advice = [task.metrics() for task in tasks.values()]
    for metric in advice:
        metric.update(rows, [np.zeros([6, 1, 4]), np.full([6, 1], -1), np.zeros([6, 1], bool), np.ones(6)])
    assert [bool(metric.advice({}, [])) for metric in advice] == [True, False]


@pytest.mark.parametrize("value", ["1.5", "-0.1", "high", "true", "null", ".nan"])
def test_a_wrong_value_is_named(folder, value):
    with pytest.raises(UserError, match=r"^task\.score_threshold takes a number from 0 to 1, got "):
        build_task(load_config(CONFIG, [f"data.path={folder / 'fields'}", f"task.score_threshold={value}"]))


def test_it_is_for_what_finds_objects():
    assert served_form_of({"served_form": "classification", "score_threshold": 0.5}).score_threshold is None
    assert served_form_of({"served_form": "detection_without_nms", "score_threshold": 0}).score_threshold == 0
    assert SERVED.build("detection").score_threshold == served_form_of({"served_form": "detection"}).score_threshold
