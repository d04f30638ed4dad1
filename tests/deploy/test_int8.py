"""``export.int8``: models in 8-bit numbers, as accurate as in float or nearly so, for both engines."""

import json

import numpy as np
import paddle
import pytest
from conftest import ROOT, run_tool
from paddle import nn

import ppcoordconv as pcc
from ppcoordconv.compat import is_paddle_3
from ppcoordconv.config import load_config
from ppcoordconv.data import DATASETS
from ppcoordconv.data.scattered_digits import write_fields
from ppcoordconv.deploy import Predictor, writing
from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.deploy.export_task import calibration_samples, export_task
from ppcoordconv.deploy.int8 import quantised
from ppcoordconv.tasks import build_task, trained_task
from ppcoordconv.utils.errors import UserError

CONFIG = ROOT / "configs" / "digits" / "coordconv.yml"
WEIGHTS = ROOT / "ppcoordconv" / "models" / "weights" / "aistudio_coordconv.pdparams"


@pytest.fixture(scope="module")
def task():
    return trained_task(load_config(CONFIG, []), WEIGHTS)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("model_format", ["legacy", "onnx"])
def test_as_accurate_as_in_float(task, tmp_path, model_format):
    if model_format == "onnx":
        pytest.importorskip("paddle2onnx")
    export_task(task, tmp_path / "float", model_format)
    description = export_task(task, tmp_path / "int8", model_format, int8=32)
    assert description["precision"] == "int8"
    accuracies, outputs = [], []
    for name in ("float", "int8"):
        with Predictor(str(tmp_path / name)) as predictor:
            accuracies.append(evaluate_exported(task, predictor, task.test_samples(), 64)["accuracy"])
            outputs.append(predictor(task.test_samples()[0][0][None]))
    assert accuracies[1] >= accuracies[0] - 0.01
    assert (outputs[0] != outputs[1]).any()
    if model_format == "onnx":
        assert size_of(tmp_path / "int8") < size_of(tmp_path / "float") / 2


def test_the_coordinates_stay_in_float(task):
    network = quantised(task.network, calibration_samples(task, 4))
    seen = []
    (layer, *_) = [layer for layer in network.sublayers() if isinstance(layer, pcc.layers.QuantedGridConv)]
    layer.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[1]))
    network(paddle.zeros([1, 3, 32, 32]))
    grid = seen[0]
    assert (grid == pcc.coord_grid(grid.shape[2:])).all().item()


def test_calibration_samples_are_those_of_training_and_spread(task):
    samples = calibration_samples(task, 3)
    every = task.train_samples(0)
    for got, index in zip(samples, (0, (len(every) - 1) // 2, len(every) - 1)):
        assert (got == every[index][0]).all()


@pytest.mark.parametrize("model_format", ["legacy", "onnx"])
def test_a_model_that_is_far_off_is_thrown_away(task, tmp_path, monkeypatch, model_format):
    if model_format == "onnx":
        pytest.importorskip("paddle2onnx")
    real = {name: getattr(writing, name) for name in ("quantise_onnx", "quantised")}
    for name, quantise in real.items():
        wrong = lambda what, samples, quantise=quantise: quantise(what, samples / 1e4)  # noqa: E731
        monkeypatch.setattr(writing, name, wrong)
    with pytest.raises(UserError, match="the exported model is not right, and was thrown away"):
        export_task(task, tmp_path / "m", model_format, int8=4)
    assert not (tmp_path / "m").exists()


def test_norms_are_folded_before_ranges_are_measured(task):
    network = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), pcc.CoordConv(4, 4, 3), nn.BatchNorm2D(4))
    network.eval()
    made = quantised(network, np.random.default_rng(0).random([4, 3, 8, 8], np.float32))
    assert not any(isinstance(layer, nn.BatchNorm2D) for layer in made.sublayers())
    assert sum(isinstance(layer, nn.BatchNorm2D) for layer in network.sublayers()) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"int8": -1}, "^int8 takes a whole number from 0 to 1048576, got -1"),
        ({"int8": True}, "^int8 takes a whole number"),
        ({"int8": 10000}, r"^int8 takes at most the \d+ training samples there are, got 10000"),
        ({"int8": 4, "dynamic_size": True}, "^int8 is for models of a fixed size, without windows"),
        ({"int8": 4, "window": True}, "^int8 is for models of a fixed size, without windows"),
        ({"int8": 4, "precision": "fp16"}, "^int8 is for models of a fixed size, without windows"),
    ],
)
def test_wrong_options(task, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        export_task(task, tmp_path / "m", "onnx", **options)
    assert not (tmp_path / "m").exists()


def test_the_format_that_takes_none(task, tmp_path):
    if not is_paddle_3():
        pytest.skip("in Paddle 2 it is a pdmodel")
    with pytest.raises(UserError, match="^int8 is for the formats onnx and legacy"):
        export_task(task, tmp_path / "m", "paddle", int8=4)


def test_without_calibration_samples(tmp_path):
    """Weights alone are enough to export in float, but not to measure ranges."""
    config = load_config(CONFIG, ["data.name=image_folder", f"data.path={tmp_path / 'nowhere'}"])
    with_data = trained_task(load_config(CONFIG, []), WEIGHTS)
    task = build_task(config, with_data.export_metadata())
    with pytest.raises(UserError, match="nowhere"):
        export_task(task, tmp_path / "m", "legacy", int8=4)


def test_the_command(tmp_path):
    done = run_tool(
        "export", "-c", CONFIG, "-w", WEIGHTS, "--output_dir", tmp_path / "m", "--format", "legacy",
        "-o", "export.int8=8", cwd=tmp_path,
    )  # fmt: skip
    assert done.status == 0, done.stderr
    assert json.loads((tmp_path / "m" / "inference.yml").read_text())["precision"] == "int8"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    with pytest.raises(UserError, match="was exported in int8, which was checked on CPUs: take device='cpu'"):
        Predictor(str(tmp_path / "m"), device="gpu")
    wrong = run_tool(
        "export", "-c", CONFIG, "-w", WEIGHTS, "--output_dir", tmp_path / "n", "-o", "export.int8=many", cwd=tmp_path
    )
    assert wrong.status == 2
    assert "export.py: export.int8 takes a whole number from 0 to 1048576, got 'many'" in wrong.stderr


def test_numbers_of_8_bits(task):
    """Each weight of a quantised layer is one of 255 multiples of a step."""
    network = quantised(task.network, calibration_samples(task, 4))
    (layer, *_) = [layer for layer in network.sublayers() if isinstance(layer, pcc.layers.QuantedGridConv)]
    weight = layer.weight.numpy()
    assert len(np.unique(weight)) <= 255


def test_without_non_maximum_suppression_in_it(tmp_path):
    write_fields(tmp_path / "fields", DATASETS.build("digits"), (4, 2))
    config = load_config(ROOT / "configs" / "detection" / "digits_coordconv.yml", [f"data.path={tmp_path / 'fields'}"])
    with pytest.raises(UserError, match="int8 is for models without non-maximum suppression: leave it to infer"):
        export_task(build_task(config), tmp_path / "m", "legacy", int8=2)
    config.export["nms"] = False
    assert export_task(build_task(config), tmp_path / "m", "legacy", int8=2)["precision"] == "int8"
