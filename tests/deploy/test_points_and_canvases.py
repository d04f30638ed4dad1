"""Models that take points, or a canvas, are exported, measured and served like those that take pictures."""

import numpy as np
import paddle
import pytest
from conftest import ROOT
from PIL import Image

from ppcoordconv.config import NamedConfig
from ppcoordconv.data.not_so_clevr import one_hot
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import infer
from ppcoordconv.tasks import TASKS
from ppcoordconv.tasks.coordinates import as_picture
from ppcoordconv.training.evaluation import evaluate

NETWORKS = {
    "coordinate_classification_coordconv": "coordinate_classification",
    "coordinate_deconvolution": "coordinate_rendering",
    "coordinate_rendering_coordconv": "coordinate_rendering",
    "coordinate_regression_coordconv": "coordinate_regression",
    "coordinate_regression_conv_pooled": "coordinate_regression",
    "coordinate_regression_conv_strided": "coordinate_regression",
}


def build(name):
    paddle.seed(0)
    return TASKS.build(NETWORKS[name], model=NamedConfig(name=name), data=NamedConfig(name="not_so_clevr"))


@pytest.mark.parametrize(
    ("name", "model_format"), [*((name, "legacy") for name in NETWORKS), ("coordinate_rendering_coordconv", "paddle")]
)
def test_every_network_is_exported_right(tmp_path, name, model_format):
    checked = export_task(build(name), tmp_path, model_format)["checked"]
    assert checked["relative_error"]["onednn" if checked["onednn"] else "no_onednn"] <= 1e-5
    for path in tmp_path.iterdir():
        # Paddle writes into graphs where in the program each operator was made.
        assert b"site-packages" not in path.read_bytes()
        assert str(ROOT).encode() not in path.read_bytes()


def test_an_exported_models_metrics_are_its_networks(tmp_path):
    task = build("coordinate_regression_coordconv")
    export_task(task, tmp_path)
    samples = task.test_samples()
    expected, _ = evaluate(task, samples, 32)
    got = evaluate_exported(task, Predictor(str(tmp_path)), samples, 50)
    assert got == {key: pytest.approx(value, rel=1e-4) for key, value in expected.items() if key != "loss"}


def test_points_in_results_out(tmp_path):
    task = build("coordinate_classification_coordconv")
    export_task(task, tmp_path / "model")
    (tmp_path / "a.csv").write_text("40,17\nhere\n4,59")
    out = tmp_path / "out"
    inputs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    first, wrong, last, missing = infer(Predictor(str(tmp_path / "model")), inputs, out)
    points = np.stack([task.preprocess(np.array(point)) for point in ([40, 17], [4, 59])])
    best = task.network(paddle.to_tensor(points)).argmax(axis=1).numpy()
    assert [(r["x"], r["y"]) for r in (first, last)] == [(i % 64, i // 64) for i in best]
    assert [r["input"].split(":")[1:] for r in (first, wrong, last, missing)] == [["1"], ["2"], ["3"], []]
    assert wrong["error"] == "a point is two numbers, as 40,17, got 'here'"
    assert "there is no file" in missing["error"]
    assert {path.name for path in out.glob("*.png")} == {"a_1.png", "a_3.png"}


def test_a_rendered_square_is_drawn(tmp_path):
    export_task(build("coordinate_deconvolution"), tmp_path / "model")
    (tmp_path / "a.csv").write_text("40,17\n")
    (result,) = infer(Predictor(str(tmp_path / "model")), [tmp_path / "a.csv"], tmp_path / "out")
    picture = np.asarray(Image.open(tmp_path / "out" / "a_1.png"))
    assert (picture[:256] == [0, 0, 255]).all(axis=2).sum() == 16 * result["pixels"]


def test_a_canvas_as_a_picture_file(tmp_path):
    task = build("coordinate_regression_coordconv")
    export_task(task, tmp_path / "model")
    Image.fromarray(as_picture(one_hot(np.array([40, 17])))).save(tmp_path / "canvas.png")
    (result,) = infer(Predictor(str(tmp_path / "model")), [tmp_path / "canvas.png"], tmp_path / "out")
    x, y = 64 * task.network(paddle.to_tensor(task.sample(np.array([40, 17]))[0][None])).numpy()[0]
    assert (result["x"], result["y"]) == (pytest.approx(x, abs=1e-2), pytest.approx(y, abs=1e-2))
    assert (tmp_path / "out" / "canvas.png").exists()
