"""``export.window``: an exported model that takes where in a whole its inputs lie."""

import json

import numpy as np
import paddle
import pytest
from conftest import COORDS_OF_ALL_OPERATORS, ROOT, different_coords, run_tool
from paddle import nn

import ppcoordconv as pcc
from ppcoordconv.config import load_config
from ppcoordconv.deploy import Predictor, export
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.tasks import build_task
from ppcoordconv.utils.errors import UserError

CONFIG = ROOT / "configs" / "digits" / "coordconv.yml"
BOXES = np.array([[0, 0, 32, 32], [40, 8, 56, 72], [-9, 5, 90, 30]])


@pytest.fixture(scope="module")
def task():
    paddle.seed(0)
    task = build_task(load_config(CONFIG, ["model.with_r=true"]))
    for layer in task.network.sublayers():
        if isinstance(layer, pcc.CoordConv):
            layer.conv.weight.set_value(layer.conv.weight + 0.1 * paddle.randn(layer.conv.weight.shape))
    task.network.eval()
    return task


def in_window(network, x, boxes, size):
    with paddle.no_grad(), pcc.window(boxes, size):
        return network(paddle.to_tensor(x)).numpy()


@pytest.mark.parametrize("model_format", ["paddle", "legacy", "onnx"])
def test_it_is_checked_and_takes_windows(task, tmp_path, model_format):
    if model_format == "onnx":
        pytest.importorskip("paddle2onnx")
    description = export_task(task, tmp_path / "m", model_format, window=True)
    assert description["window"] is True
    x = np.random.default_rng(0).random([3, 3, 32, 32]).astype("float32")
    with Predictor(str(tmp_path / "m")) as predictor:
        for boxes, size in [(BOXES, (80, 100)), (BOXES[1], (80, 100)), (BOXES, [[80, 100], [90, 90], [50, 60]])]:
            expected = in_window(task.network, x, boxes, size)
            got = predictor(x, window=(boxes, size))
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        expected = task.network(paddle.to_tensor(x)).numpy()
        np.testing.assert_allclose(predictor(x), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        for boxes in (BOXES[0], BOXES[:0]):
            assert predictor(x[:0], window=(boxes, (80, 100))).shape == (0, 10)


class Maps(nn.Layer):
    def __init__(self, names):
        super().__init__()
        self.layers = nn.LayerList(
            [pcc.CoordConv(3, 2, 3, padding=1, stride=2, coords=coords, with_r=True) for coords in names]
        )

    def forward(self, x):
        return paddle.concat([layer(x) for layer in self.layers], axis=1)


@pytest.mark.parametrize("model_format", ["paddle", "legacy", "onnx"])
def test_every_convention_at_any_size(tmp_path, model_format):
    if model_format == "onnx":
        pytest.importorskip("paddle2onnx")
    # Paddle 2's graphs, and what is made of them, take seconds for each layer whose size is free.
    network = Maps(different_coords() if model_format == "paddle" else COORDS_OF_ALL_OPERATORS)
    example = paddle.rand([3, 3, 12, 12])
    export(network, tmp_path / "m", example, format=model_format, dynamic_size=True, window=True)
    predictor = Predictor(str(tmp_path / "m"))
    for shape in ([3, 3, 10, 14], [3, 3, 8, 6]):
        x = np.random.default_rng(0).random(shape).astype("float32")
        expected = in_window(network, x, BOXES, (80, 100))
        got = predictor(x, window=(BOXES, (80, 100)))
        for a, b in zip(np.split(got, len(network.layers), axis=1), np.split(expected, len(network.layers), axis=1)):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_the_command(tmp_path):
    pcc_weights = tmp_path / "w.pdparams"
    task = build_task(load_config(CONFIG, []))
    paddle.save(task.network.state_dict(), str(pcc_weights))
    command = ["export", "-c", CONFIG, "-w", pcc_weights, "--output_dir", tmp_path / "m", "-o"]
    done = run_tool(*command, "export.window=true", cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert json.loads((tmp_path / "m" / "inference.yml").read_text())["window"] is True
    wrong = run_tool(*command, "export.window=yes please", cwd=tmp_path)
    assert wrong.status == 2
    assert "export.window takes true or false, got 'yes please'" in wrong.stderr


def test_what_takes_no_windows(task, tmp_path):
    export_task(task, tmp_path / "without")
    with pytest.raises(UserError, match="exported without windows; export it again with export.window=true"):
        Predictor(str(tmp_path / "without"))(np.zeros([1, 3, 32, 32]), window=(BOXES[0], (80, 100)))
    plain = build_task(load_config(CONFIG.with_name("conv.yml"), []))
    with pytest.raises(UserError, match="window is for networks with CoordConv, and this one has none"):
        export_task(plain, tmp_path / "plain", window=True)
    points = build_task(load_config(ROOT / "configs" / "not_so_clevr" / "classification_coordconv_uniform.yml", []))
    with pytest.raises(UserError, match=r"window is for networks that take maps \[C, H, W\], and this one takes \[2\]"):
        export_task(points, tmp_path / "points", window=True)
    assert not (tmp_path / "plain").exists()


@pytest.mark.parametrize(
    ("window", "error", "words"),
    [
        ((BOXES[:2], (80, 100)), ValueError, r"expected boxes of \[4\] or \[3, 4\] for this batch, got \[2, 4\]"),
        (([0, 4], [8]), ValueError, r"expected boxes of \[4\] or \[3, 4\] for this batch, got \[1, 2\]"),
        (([0, 0, 0, 4], (8, 8)), ValueError, "every end beyond its beginning"),
        (([0, 0, 4, 4], (8, 0)), ValueError, "image_size: expected lengths above 0"),
        ((["a"] * 4, (8, 8)), TypeError, "boxes: expected numbers"),
        ([0, 0, 4, 4], TypeError, r"window: expected \(boxes, image_size\), got \[0, 0, 4, 4\]"),
        ((), TypeError, r"window: expected \(boxes, image_size\), got \(\)"),
        (BOXES, TypeError, r"window: expected \(boxes, image_size\), got array"),
    ],
)  # fmt: skip
def test_wrong_windows(task, tmp_path_factory, window, error, words):
    folder = tmp_path_factory.getbasetemp() / "windows"
    if not folder.exists():
        export_task(task, folder, window=True)
    with Predictor(str(folder)) as predictor, pytest.raises(error, match=words):
        predictor(np.zeros([3, 3, 32, 32]), window=window)


@pytest.mark.parametrize(
    ("coords", "model_format"),
    [(["paddle", "learnt(2, 4)"], "paddle"), ("learnt(2, 4)", "legacy"), (["paddle", "learnt(2, 4)"], "onnx")],
)
def test_learnt_coordinates(tmp_path, coords, model_format):
    if model_format == "onnx":
        pytest.importorskip("paddle2onnx")
    config = load_config(CONFIG, [])
    config.model.coords = coords
    task = build_task(config)
    export_task(task, tmp_path / "m", model_format, window=True)
    x = np.random.default_rng(0).random([3, 3, 32, 32]).astype("float32")
    with Predictor(str(tmp_path / "m")) as predictor:
        got = predictor(x, window=(BOXES, (80, 100)))
    expected = in_window(task.network, x, BOXES, (80, 100))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    if model_format == "legacy":
        assert export_task(task, tmp_path / "q", model_format, int8=4)["precision"] == "int8"
