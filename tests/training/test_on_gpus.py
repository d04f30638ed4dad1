"""Mixed precision, loss scaling and NCCL, where there are GPUs."""

import paddle
import pytest
from test_dist import assert_close, finish, start
from test_resume import SignalledTask
from tiny import TinyTask, assert_same_weights, config, weights

from ppcoordconv.training.trainer import find_resume, train
from ppcoordconv.utils.errors import Stopped
from ppcoordconv.utils.weights import load_state

GPUS = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0


@pytest.fixture
def on_a_gpu():
    paddle.set_device("gpu")
    yield
    paddle.set_device("cpu")


@pytest.mark.skipif(GPUS < 1, reason="no GPU")
@pytest.mark.parametrize("amp", ["O1", "O2"])
def test_mixed_precision_learns_and_resumes_bit_for_bit(tmp_path, on_a_gpu, amp):
    whole, parts = (config(tmp_path, amp=amp, output_dir=tmp_path / name) for name in ("whole", "parts"))
    assert train(TinyTask(seed=7), whole)["best"]["accuracy"] >= 0.8
    assert load_state(tmp_path / "whole" / "last.pdopt")["scaler"]
    with pytest.raises(Stopped):
        train(SignalledTask(8), parts)
    train(TinyTask(seed=99), parts, find_resume("auto", parts))
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


@pytest.mark.skipif(GPUS < 2, reason="fewer than two GPUs")
def test_two_gpus_train_what_one_trains(tmp_path):
    for count in (1, 2):
        finish(start(tmp_path / str(count), count, device="gpu"))
    assert_close(weights(tmp_path / "2" / "run"), weights(tmp_path / "1" / "run"))


@pytest.mark.skipif(GPUS > 0, reason="a GPU is here")
@pytest.mark.parametrize("amp", ["O1", "O2"])
def test_on_a_cpu_it_is_float32_and_says_so(tmp_path, capsys, amp):
    train(TinyTask(seed=7), config(tmp_path, amp=amp, output_dir=tmp_path / "amp"))
    assert f"amp {amp} is for GPUs; training in float32" in capsys.readouterr().err
    train(TinyTask(seed=7), config(tmp_path))
    assert_same_weights(weights(tmp_path / "amp"), weights(tmp_path / "run"))
