"""What Paddle has around a layer works around a CoordConv as around its convolutions: docs/works_with.md."""

import copy
import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.distributed.fleet.utils import recompute
from paddle.nn.functional import cross_entropy
from paddle.static import InputSpec

import ppcoordconv as pcc

X = paddle.to_tensor(np.random.default_rng(0).random([8, 3, 8, 8], "float32"))
LABELS = paddle.to_tensor(np.arange(8) % 2)


def network(first=pcc.CoordConv):
    paddle.seed(0)
    return nn.Sequential(
        first(3, 4, 3, padding=1),
        nn.BatchNorm2D(4),
        nn.ReLU(),
        pcc.CoordConv(4, 4, 3, padding=1, with_r=True),
        nn.AdaptiveAvgPool2D(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


def gradients(net, loss):
    net.clear_gradients()
    loss.backward()
    return [parameter.grad.numpy() for parameter in net.parameters() if parameter.grad is not None]


def assert_close(a, b, tolerance=1e-5):
    assert len(a) == len(b)
    for one, other in zip(a, b):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def steps(net, optimizer, count=4, after=lambda: None):
    """Losses over steps on one batch."""
    losses = []
    for _ in range(count):
        loss = cross_entropy(net(X), LABELS)
        loss.backward()
        optimizer.step()
        after()
        optimizer.clear_grad()
        losses.append(loss.item())
    return losses


def sgd(net, rate=0.5):
    return paddle.optimizer.SGD(rate, parameters=net.parameters())


def test_recompute():
    net, x = network(), X.detach()
    x.stop_gradient = False
    assert_close(gradients(net, recompute(net, x).sum()), gradients(net, net(x).sum()))


def test_gradient_accumulation():
    net = network()
    net.eval()
    whole = gradients(net, cross_entropy(net(X), LABELS))
    net.clear_gradients()
    for start in (0, 4):
        (cross_entropy(net(X[start : start + 4]), LABELS[start : start + 4]) / 2).backward()
    assert_close([p.grad.numpy() for p in net.parameters() if p.grad is not None], whole)


def test_weight_sharing():
    a, b = pcc.CoordConv(3, 3, 3, padding=1), pcc.CoordConv(3, 3, 3, padding=1)
    b.conv.weight = a.conv.weight
    net = nn.Sequential(a, b)
    assert len(net.parameters()) == 3
    steps_before = net(X).numpy()
    net(X).mean().backward()
    sgd(net).step()
    assert b.conv.weight is a.conv.weight
    assert (net(X).numpy() != steps_before).any()


def test_ema():
    net = network()
    average = copy.deepcopy(net)
    steps(net, sgd(net))
    for mean, parameter in zip(average.parameters(), net.parameters()):
        mean.set_value(0.5 * mean + 0.5 * parameter)
    average.eval()
    assert np.isfinite(average(X).numpy()).all()


def test_lookahead():
    net = network()
    losses = steps(net, paddle.incubate.LookAhead(sgd(net), alpha=0.5, k=2), 10)
    assert losses[-1] < losses[0]


def test_model_average():
    net = network()
    average = paddle.incubate.ModelAverage(
        0.15, parameters=net.parameters(), min_average_window=2, max_average_window=10
    )
    steps(net, sgd(net), after=average.step)
    before = net[0].conv.weight.numpy()
    with average.apply(need_restore=True):
        assert (net[0].conv.weight.numpy() != before).any()
    assert (net[0].conv.weight.numpy() == before).all()


def test_paddle_model():
    net = network()
    model = paddle.Model(net)
    model.prepare(sgd(net, 0.1), nn.CrossEntropyLoss(), paddle.metric.Accuracy())
    data = paddle.io.TensorDataset([X, LABELS.unsqueeze(1)])
    model.fit(data, batch_size=4, epochs=2, verbose=0)
    assert 0 <= model.evaluate(data, batch_size=4, verbose=0)["acc"] <= 1
    assert model.predict(data, batch_size=4, verbose=0)[0][0].shape == (4, 2)


def test_summary_and_flops():
    net = network()
    assert paddle.summary(net, (1, 3, 8, 8))["total_params"] == sum(p.size for p in net.parameters())
    assert paddle.flops(net, (1, 3, 8, 8)) > 64 * (4 * 5 * 9 + 4 * 7 * 9)


def test_static_programs():
    paddle.enable_static()
    try:
        main, start = paddle.static.Program(), paddle.static.Program()
        with paddle.static.program_guard(main, start):
            x, labels = paddle.static.data("x", [None, 3, 8, 8]), paddle.static.data("labels", [None], "int64")
            net = network()
            loss = cross_entropy(net(x), labels)
            sgd(net).minimize(loss)
        executor = paddle.static.Executor()
        executor.run(start)
        feed = {"x": np.random.default_rng(0).random([8, 3, 8, 8], "float32"), "labels": np.arange(8) % 2}
        losses = [float(executor.run(main, feed=feed, fetch_list=[loss])[0]) for _ in range(10)]
    finally:
        paddle.disable_static()
    assert losses[-1] < losses[0]


def test_to_static_and_jit_save(tmp_path):
    net = network()
    net.eval()
    paddle.jit.save(net, str(tmp_path / "m"), input_spec=[InputSpec([None, 3, None, None])])
    assert_close([paddle.jit.load(str(tmp_path / "m"))(X).numpy()], [net(X).numpy()])


def test_onnx_export(tmp_path):
    pytest.importorskip("paddle2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    net = network()
    net.eval()
    paddle.onnx.export(net, str(tmp_path / "m"), input_spec=[InputSpec([8, 3, 8, 8], "float32", "x")])
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    assert_close(session.run(None, {"x": X.numpy()}), [net(X).numpy()])


def test_data_parallel():
    net = network()
    assert_close([paddle.DataParallel(net)(X).numpy()], [net(X).numpy()])


def test_sync_batch_norm():
    net = nn.SyncBatchNorm.convert_sync_batchnorm(network())
    assert type(net[1]) is nn.SyncBatchNorm and type(net[0]) is pcc.CoordConv


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_amp(level):
    net = network()
    optimizer = sgd(net)
    if level == "O2":
        net, optimizer = paddle.amp.decorate(net, optimizer, level=level, dtype="bfloat16")
    with paddle.amp.auto_cast(level=level, dtype="bfloat16"):
        loss = cross_entropy(net(X), LABELS)
    loss.backward()
    optimizer.step()
    assert all(np.isfinite(p.astype("float32").numpy()).all() for p in net.parameters())


def test_initializing_every_convolution():
    net = network()
    for layer in net.sublayers():
        if isinstance(layer, nn.Conv2D):
            nn.initializer.Constant(0.5)(layer.weight)
    assert (net[0].conv.weight == 0.5).all().item() and (net[3].conv.weight == 0.5).all().item()


def test_weight_norm_and_spectral_norm():
    for norm in (nn.utils.weight_norm, nn.utils.spectral_norm):
        net = network()
        norm(net[0].conv)
        assert steps(net, sgd(net))[-1] > 0


def test_an_empty_batch():
    """Paddle 2.6 has none of its own either."""
    if paddle.__version__.startswith("2."):
        pytest.skip("Paddle 2.6 can't expand an empty batch")
    layer, x = pcc.CoordConv(3, 4, 3, with_r=True), paddle.zeros([0, 3, 8, 8])
    x.stop_gradient = False
    layer(x).sum().backward()
    assert list(x.grad.shape) == [0, 3, 8, 8]
    assert float(layer.conv.weight.grad.abs().sum()) == 0


def quantised(make, net):
    from paddle.quantization import QuantConfig, observers, quanters

    if make == "QAT":
        one = quanters.FakeQuanterWithAbsMaxObserver(moving_rate=0.9)
        return paddle.quantization.QAT(QuantConfig(activation=one, weight=one)), net.train()
    one = observers.AbsmaxObserver()
    return paddle.quantization.PTQ(QuantConfig(activation=one, weight=one)), net.eval()


@pytest.mark.parametrize("make", ["QAT", "PTQ"])
def test_quantisation(make):
    """With a config for all layers; close to float, the coordinates not among what is quantised."""
    from ppcoordconv.layers import QuantedGridConv

    net = network()
    kind, _ = quantised(make, net)
    net.eval()
    expected = net(X).numpy()
    if make == "QAT":
        net.train()
    model = kind.quantize(net)
    convolutions = [layer for layer in model.sublayers() if isinstance(layer, QuantedGridConv)]
    assert len(convolutions) == 2
    if make == "QAT":
        steps(model, sgd(model, 1e-3))
    else:
        model(X)
    model.eval()
    # Paddle 3 can't convert what QAT made, of its own convolutions neither.
    converted = kind.convert(model) if make == "PTQ" else model
    converted.eval()
    got = converted(X).numpy()
    assert np.abs(got - expected).max() < 0.1 * np.abs(expected).max() + 0.02
    assert (got != expected).any()
    seen = []
    convolutions = [layer for layer in converted.sublayers() if isinstance(layer, QuantedGridConv)]
    convolutions[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[1]))
    converted(X)
    assert (seen[0] == pcc.coord_grid([8, 8])).all().item()


def test_the_page_lists_every_test_here():
    page = (Path(__file__).parents[1] / "docs" / "works_with.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(test_\w+)`", page)
    tests = [name for name in globals() if name.startswith("test_") and not name.startswith("test_the_page")]
    assert sorted(listed) == sorted(tests)
