"""Engines and their settings: what each makes of Paddle's Config, what is refused, threads, ONNX, free sizes."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest
from conftest import ROOT
from paddle import inference

from ppcoordconv.config import NamedConfig
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy import runtimes as engines
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.runtimes import Settings, paddle_config
from ppcoordconv.tasks import TASKS
from ppcoordconv.utils.errors import UserError

CUDA_BUILD = pytest.mark.skipif(not paddle.is_compiled_with_cuda(), reason="a build of Paddle for CPUs")
NO_GPU = not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0)


def task(model="coordinate_regression_coordconv", name="coordinate_regression"):
    paddle.seed(0)
    return TASKS.build(name, model=NamedConfig(name=model), data=NamedConfig(name="not_so_clevr"))


@pytest.fixture(scope="module")
def regressor():
    return task()


@pytest.fixture(scope="module", params=["paddle", "legacy", "onnx"])
def any_size(request, regressor, tmp_path_factory):
    if request.param == "onnx":
        pytest.importorskip("paddle2onnx")
    folder = tmp_path_factory.mktemp(request.param)
    export_task(regressor, folder, request.param, dynamic_size=True)
    return folder


def canvases(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def outputs(network, batch):
    network.eval()
    with paddle.no_grad():
        return network(paddle.to_tensor(batch)).numpy()


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (5, 1, 64, 64), (2, 1, 33, 71), (3, 1, 7, 5), (0, 1, 9, 9)])
def test_a_model_of_any_size(regressor, any_size, shape):
    batch = canvases(*shape)
    got = Predictor(str(any_size))(batch)
    assert got.shape == (len(batch), 2)
    if len(batch):
        expected = outputs(regressor.network, batch)
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 3, 64, 64), (1, 1, 64)])
def test_a_model_of_any_size_takes_maps_of_its_channels(any_size, shape):
    with pytest.raises(UserError, match=r"takes a batch of shape \['N', 1, None, None\]"):
        Predictor(str(any_size))(canvases(*shape))


def test_any_number_of_threads_share_a_predictor(any_size):
    predictor = Predictor(str(any_size), cpu_threads=1)
    batches = [canvases(1 + i % 4, 1, 20 + i, 64) for i in range(24)]
    alone = [predictor(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for got, expected in zip(pool.map(predictor, batches), alone):
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_threads_that_come_after_others_have_ended_share_a_predictor():
    predictor = Predictor(str(ROOT / "docs" / "trained" / "rendering"), cpu_threads=1)
    points = np.zeros([2, 2], np.float32)
    alone = predictor(points)
    for _ in range(3):
        # A pool ends its threads.
        with ThreadPoolExecutor(2) as pool:
            for got in pool.map(predictor, [points] * 4):
                np.testing.assert_allclose(got, alone, rtol=1e-5, atol=1e-6)


def test_the_network_is_left_as_it_was(tmp_path):
    strided = task("coordinate_regression_conv_strided")
    before = {name: value.numpy().copy() for name, value in strided.network.state_dict().items()}
    export_task(strided, tmp_path)
    assert all(np.array_equal(value.numpy(), before[name]) for name, value in strided.network.state_dict().items())
    model = next(path for path in tmp_path.iterdir() if path.suffix in (".json", ".pdmodel"))
    assert b"batch_norm" not in model.read_bytes()


def test_a_network_that_needs_its_size_is_named(tmp_path):
    pooled = task("coordinate_regression_conv_pooled")
    with pytest.raises(UserError, match=r"takes inputs of \[1, 64, 64\] and no others"):
        export_task(pooled, tmp_path, dynamic_size=True)
    points = task("coordinate_classification_coordconv", "coordinate_classification")
    with pytest.raises(UserError, match=r"for networks that take maps \[C, H, W\], and this one takes \[2\]"):
        export_task(points, tmp_path, dynamic_size=True)
    assert not list(tmp_path.iterdir())


def test_an_export_takes_the_place_of_one_in_another_format(regressor, tmp_path):
    pytest.importorskip("paddle2onnx")
    names = {
        "onnx": ["inference.onnx", "inference.yml"],
        "legacy": ["inference.pdiparams", "inference.pdmodel", "inference.yml"],
    }
    for model_format in ("onnx", "legacy", "onnx"):
        description = export_task(regressor, tmp_path, model_format)
        assert sorted(path.name for path in tmp_path.iterdir()) == names[model_format]
    assert description["checked"]["onnxruntime"]
    assert description["checked"]["relative_error"]["onnxruntime"] <= 1e-5


def test_onnx_without_its_packages(regressor, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = r"the format onnx needs onnx, onnxruntime, paddle2onnx: pip install 'ppcoordconv\[onnx\]' paddle2onnx=="
    with pytest.raises(UserError, match=words):
        export_task(regressor, tmp_path, "onnx")


def test_onnx_that_can_not_be_converted(regressor, tmp_path, monkeypatch):
    """A stand-in for Paddle2ONNX that dies of a real signal."""
    pytest.importorskip("paddle2onnx")
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nkill -SEGV $$\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(UserError, match=r"Paddle2ONNX could not convert the model \(status -11\)"):
        export_task(regressor, tmp_path / "model", "onnx")
    assert not (tmp_path / "model").exists()


def test_an_onnx_model_without_onnxruntime(regressor, tmp_path, monkeypatch):
    pytest.importorskip("paddle2onnx")
    export_task(regressor, tmp_path, "onnx")
    for options, words in (
        ({"trt": "fp16", "device": "gpu"}, "without TensorRT"),
        ({"device": "gpu"}, "can't use a GPU"),
    ):
        with pytest.raises(UserError, match=words):
            Predictor(str(tmp_path), **options)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"inference.onnx needs ONNX Runtime: pip install 'ppcoordconv\[onnx\]'"):
        Predictor(str(tmp_path))


def test_in_a_version_that_was_not_checked_onednn_is_not_used(regressor, tmp_path, monkeypatch):
    export_task(regressor, tmp_path, "legacy")
    seen, real = [], paddle_config

    def noted(model, settings, onednn, input_shape):
        seen.append(onednn)
        return real(model, settings, onednn, input_shape)

    monkeypatch.setattr(engines, "paddle_config", noted)
    Predictor(str(tmp_path))
    monkeypatch.setattr(paddle, "__version__", "3.9.9")
    Predictor(str(tmp_path))
    Predictor(str(tmp_path), onednn=True)
    assert seen == [True, False, True]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "auto"}, "device takes one of cpu, gpu, got 'auto'"),
        ({"device": "tpu"}, "device takes one of cpu, gpu"),
        ({"precision": "fp8"}, "precision takes one of fp32, fp16, bf16, got 'fp8'"),
        ({"precision": "fp16"}, "fp16 is for GPUs"),
        ({"cpu_threads": 0}, "cpu_threads takes a whole number from 1 to 1024, got 0"),
        ({"cpu_threads": 1.5}, "cpu_threads takes a whole number"),
        ({"cpu_threads": True}, "cpu_threads takes a whole number"),
        ({"gpu_memory_mb": -1}, "gpu_memory_mb takes a whole number"),
        ({"trt": "fp16"}, "TensorRT runs on GPUs only, got device='cpu'"),
        ({"trt": "int8", "device": "gpu"}, "trt_int8 was never run"),
        ({"trt": "fp64", "device": "gpu"}, "trt takes one of fp32, fp16, got 'fp64'"),
    ],
)
def test_wrong_settings(any_size, options, words):
    with pytest.raises(UserError, match=words):
        Predictor(str(any_size), **options)


@pytest.fixture
def config_of(tmp_path):
    for name in ("m.pdmodel", "m.pdiparams"):
        (tmp_path / name).touch()
    return lambda onednn=True, **settings: paddle_config(
        tmp_path / "m.pdmodel", Settings(**settings), onednn, [{"name": "x", "shape": [3, 32, 32]}]
    )


def test_settings_for_a_cpu(config_of):
    config = config_of(cpu_threads=3)
    assert not config.use_gpu()
    assert config.mkldnn_enabled()
    assert config.cpu_math_library_num_threads() == 3
    assert not config.tensorrt_engine_enabled()
    assert not config_of(onednn=False).mkldnn_enabled()


@CUDA_BUILD
def test_settings_for_a_gpu(config_of):
    config = config_of(device="gpu", gpu_memory_mb=123)
    assert config.use_gpu()
    assert config.gpu_device_id() == 0
    assert config.memory_pool_init_size_mb() == 123
    assert not config.tensorrt_engine_enabled()


@CUDA_BUILD
@pytest.mark.parametrize("trt", ["fp32", "fp16"])
def test_settings_for_tensorrt(config_of, trt):
    config = config_of(device="gpu", trt=trt)
    assert config.tensorrt_engine_enabled()
    assert config.tensorrt_dynamic_shape_enabled()
    assert config.tensorrt_precision_mode() == getattr(inference.PrecisionType, engines.PRECISIONS[trt])


@pytest.mark.skipif(not engines.cpu_has_bf16(), reason="this processor has no instructions for bf16")
@pytest.mark.parametrize("model_format", ["paddle", "legacy"])
def test_bf16_on_a_cpu_is_right_or_refused(regressor, tmp_path, model_format):
    checked = export_task(regressor, tmp_path, model_format)["checked"]
    batch = canvases(4, 1, 64, 64)
    if not checked["bf16"]:
        with pytest.raises(UserError, match="was not found to be right in bf16"):
            Predictor(str(tmp_path), precision="bf16")
        return
    expected = outputs(regressor.network, batch)
    got = Predictor(str(tmp_path), precision="bf16")(batch)
    assert 1e-5 * np.abs(expected).max() < np.abs(got - expected).max() <= 3e-2 * np.abs(expected).max()


def test_bf16_where_the_processor_or_the_model_has_none(regressor, tmp_path, monkeypatch):
    export_task(regressor, tmp_path, "legacy")
    monkeypatch.setattr(engines, "cpu_info", lambda: {"flags": "avx2"})
    with pytest.raises(UserError, match="this processor has no instructions for bf16; take fp32"):
        Predictor(str(tmp_path), precision="bf16")
    monkeypatch.setattr(engines, "cpu_info", lambda: {"flags": "avx2 avx512_bf16"})
    with pytest.raises(UserError, match="bf16 on a CPU is computed by oneDNN; leave out onednn=False, or take fp32"):
        Predictor(str(tmp_path), precision="bf16", onednn=False)
    monkeypatch.setattr(paddle, "__version__", "3.9.9")
    with pytest.raises(UserError, match="not found to be right in bf16 with oneDNN and Paddle 3.9.9"):
        Predictor(str(tmp_path), precision="bf16")


def test_an_onnx_model_in_bf16_says_what_to_do(regressor, tmp_path, monkeypatch):
    pytest.importorskip("paddle2onnx")
    export_task(regressor, tmp_path, "onnx")
    monkeypatch.setattr(engines, "cpu_info", lambda: {"flags": "avx2 avx512_bf16"})
    with pytest.raises(UserError, match="runs in fp32 without TensorRT; for more, export it in the format paddle"):
        Predictor(str(tmp_path), precision="bf16")


def test_to_make_a_predictor_leaves_the_device_of_paddle_alone(any_size, monkeypatch):
    monkeypatch.setattr(paddle, "set_device", lambda name: pytest.fail(f"set to {name}"))
    Predictor(str(any_size))


@pytest.mark.skipif(NO_GPU, reason="no GPU")
@pytest.mark.parametrize("options", [{}, {"precision": "fp16"}, {"trt": "fp32"}, {"trt": "fp16"}])
def test_on_a_gpu(regressor, tmp_path, options):
    export_task(regressor, tmp_path)
    batch = canvases(4, 1, 64, 64)
    expected = outputs(regressor.network, batch)
    got = Predictor(str(tmp_path), "gpu", **options)(batch)
    assert np.abs(got - expected).max() <= 2e-2 * np.abs(expected).max()
