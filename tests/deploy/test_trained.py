"""The trained networks that lie in the repository are served at once, and right."""

import json

import numpy as np
import pytest
from conftest import ROOT, run_tool

from ppcoordconv.config import load_config
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.models import zoo
from ppcoordconv.tasks import build_task
from ppcoordconv.training.evaluation import evaluate
from ppcoordconv.utils.weights import load_weights

TRAINED = ROOT / "docs" / "trained"
NAMES = ("classification", "regression", "rendering")


@pytest.mark.parametrize("name", NAMES)
def test_they_are_right_on_the_quadrant_that_was_held_out(name):
    task = build_task(load_config(ROOT / "configs" / "not_so_clevr" / f"{name}_coordconv_quadrant.yml", []))
    samples = task.test_samples()
    exported = evaluate_exported(task, Predictor(str(TRAINED / name)), samples, 32)
    load_weights(task.network, zoo.weights_path(f"coordinate_{name}_coordconv"))
    metrics, _ = evaluate(task, samples, 32)
    assert exported[task.metric] == metrics[task.metric] == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_infer_runs_from_them(tmp_path, name):
    (tmp_path / "points.csv").write_text("40,17\n")
    source = TRAINED / "pixel_40_17.png" if name == "regression" else "points.csv"
    result = run_tool("infer", "--model_dir", TRAINED / name, "--input", source, "--output", "out", cwd=tmp_path)
    assert result.status == 0, result.stderr
    found = json.loads(result.stdout)
    assert np.round([found["x"], found["y"]]).tolist() == [40, 17]
    assert len(list((tmp_path / "out").glob("*.png"))) == 1
