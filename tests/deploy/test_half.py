"""Exports in half precision: what the network computes but for rounding, with coordinates that tell every pixel."""

import numpy as np
import paddle
import pytest
from paddle.static import InputSpec

import ppcoordconv as pcc
from ppcoordconv.config import NamedConfig
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.formats import FORMATS, deploy_form
from ppcoordconv.deploy.runtimes import ENGINES, Settings
from ppcoordconv.tasks import TASKS
from ppcoordconv.utils.errors import UserError

NO_GPU = not paddle.is_compiled_with_cuda() or not paddle.device.cuda.device_count()


@pytest.fixture(scope="module")
def regressor():
    paddle.seed(0)
    model = NamedConfig(name="coordinate_regression_coordconv")
    return TASKS.build("coordinate_regression", model=model, data=NamedConfig(name="not_so_clevr"))


def test_fp16_for_onnx_runtime(regressor, tmp_path):
    pytest.importorskip("paddle2onnx")
    export_task(regressor, tmp_path / "whole", "onnx")
    description = export_task(regressor, tmp_path / "half", "onnx", precision="fp16")
    assert description["precision"] == "fp16"
    assert description["checked"]["relative_error"]["onnxruntime"] <= description["checked"]["tolerance"] == 1e-2
    samples = regressor.test_samples()
    batch = np.stack([samples[i][0] for i in range(5)])
    got, expected = (Predictor(str(tmp_path / name))(batch) for name in ("half", "whole"))
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() <= 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize("width", [[1, 8192], [None, None]])
def test_half_precision_tells_every_pixel(tmp_path, width):
    """At the right end of 8192 pixels float16 has one number for two; what is computed there has one for each."""
    pytest.importorskip("paddle2onnx")
    layer = pcc.CoordConv(1, 1, 1)
    layer.conv.weight.set_value(np.array([0, 2048, 0], "float32").reshape([1, 3, 1, 1]))
    layer.conv.bias.set_value(np.array([-2000], "float32"))
    layer.eval()
    x = np.zeros([2, 1, 1, 8192], np.float32)
    layer(paddle.to_tensor(x))
    spec = InputSpec([None, 1, *width], "float32", "x")
    model, *_ = FORMATS["onnx"](deploy_form(layer, "onnx", "fp16"), [spec], tmp_path)
    run = ENGINES[".onnx"](tmp_path, {"model_file": model, "inputs": [{"name": "x"}]}, Settings()).runner()
    expected = 2048 * (2 * np.arange(8192) / 8191 - 1) - 2000
    assert np.abs(run(x)[0][1, 0, 0] - expected)[-100:].max() <= 0.04
    assert np.abs(expected[-100:] - 2048 * np.float16(2 * np.arange(8192) / 8191 - 1)[-100:] + 2000).max() > 0.2


def test_what_is_refused(regressor, tmp_path):
    with pytest.raises(UserError, match="ONNX Runtime has no convolution in bf16; take fp16"):
        export_task(regressor, tmp_path, "onnx", precision="bf16")
    with pytest.raises(UserError, match="precision takes one of fp32, fp16, bf16, got 'int8'"):
        export_task(regressor, tmp_path, precision="int8")


@pytest.mark.skipif(not NO_GPU, reason="here is a GPU")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_without_a_gpu_nothing_is_handed_over(regressor, tmp_path, precision):
    with pytest.raises(UserError, match=f"a model in {precision} is for GPUs, and here is none to check it on"):
        export_task(regressor, tmp_path / "model", precision=precision)
    assert not (tmp_path / "model").exists()


@pytest.mark.skipif(NO_GPU, reason="no GPU")
@pytest.mark.parametrize("model_format", ["paddle", "legacy"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_on_a_gpu(regressor, tmp_path, model_format, precision):
    description = export_task(regressor, tmp_path, model_format, precision=precision)
    assert description["checked"]["relative_error"]["gpu"] <= description["checked"]["tolerance"]
    with pytest.raises(UserError, match=f"was exported in {precision}, which is for GPUs"):
        Predictor(str(tmp_path))
