"""Layers whose coordinates are given, in the call or around the model."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.test_layers import FAMILY, assert_same, concatenated, configurations, forward_and_gradients, positive
from paddle import nn
from paddle.static import InputSpec

import ppcoordconv as pcc


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=examples(20))
@given(st.data())
def test_it_is_the_convolution_of_the_concatenation(name, data):
    """With one grid for all or one for each sample, of other channels than there are axes, and gradients into it."""
    build, axes, function = FAMILY[name]
    channels, before = data.draw(st.integers(1, 4)), data.draw(st.booleans())
    configuration = {**data.draw(configurations(name)), "coords": pcc.Given(channels, before), "with_r": False}
    spatial = data.draw(st.lists(st.integers(5, 8), min_size=axes, max_size=axes))
    samples, features = data.draw(st.integers(1, 3)), configuration["in_channels"]
    last = configuration["data_format"].endswith("C")
    x = paddle.to_tensor(positive([samples, *spatial, features] if last else [samples, features, *spatial]))
    grid = paddle.to_tensor(positive([data.draw(st.sampled_from([1, samples])), channels, *spatial], seed=2))
    grid.stop_gradient = data.draw(st.booleans())
    layer, exact = build(**configuration), build(**configuration)
    exact.to(dtype="float64")
    exact.set_state_dict({key: value.astype("float64") for key, value in layer.state_dict().items()})
    exact_grid = grid.detach().astype("float64")
    exact_grid.stop_gradient = grid.stop_gradient
    of_grid = [] if grid.stop_gradient else [exact_grid]
    expected = forward_and_gradients(
        lambda x: concatenated(exact, x, function, configuration, grid=exact_grid),
        x.astype("float64"),
        [*exact.parameters(), *of_grid],
    )
    of_grid = [] if grid.stop_gradient else [grid]
    got = forward_and_gradients(lambda x: layer(x, grid=grid), x, [*layer.parameters(), *of_grid])
    assert_same(got, expected, 1e-5)
    layer.eval()
    with paddle.no_grad():
        for _ in range(2):
            assert_same([layer(x, grid=grid).numpy()], expected[:1], 1e-5)


def test_a_layer_takes_it_by_position_and_the_channels_alone_too():
    x, grid = paddle.rand([2, 3, 4, 5]), paddle.rand([2, 1, 4, 5])
    layer = pcc.CoordConv(3, 2, 1, coords=pcc.Given(1))
    assert layer.conv.weight.shape == [2, 4, 1, 1]
    assert (layer(x, grid) == layer(x, grid=grid)).all().item()
    y = pcc.AddCoords(pcc.Given(1))(x, grid)
    assert (y == paddle.concat([x, grid], axis=1)).all().item()


def test_a_grid_that_changes_in_place_is_not_kept():
    layer, x, grid = pcc.CoordConv(3, 2, 1, coords=pcc.Given(1)), paddle.rand([2, 3, 4, 5]), paddle.zeros([1, 1, 4, 5])
    layer.eval()
    with paddle.no_grad():
        before = layer(x, grid)
        grid.set_value(paddle.ones([1, 1, 4, 5]))
        assert (layer(x, grid) != before).any().item()


def two_layers():
    return nn.Sequential(
        pcc.CoordConv(3, 4, 3, stride=2, padding=1, coords=pcc.Given(2)),
        nn.ReLU(),
        pcc.CoordConv(4, 2, 1, coords=pcc.Given(2)),
    )


def test_around_a_model_by_a_function_of_the_maps_size():
    net, x, full = two_layers(), paddle.rand([2, 3, 8, 12]), paddle.rand([2, 2, 8, 12])
    full.stop_gradient = False
    sizes = []

    def resized(size):
        sizes.append(size)
        return nn.functional.interpolate(full, size)

    with pcc.given(resized):
        y = net(x)
    assert sizes == [[8, 12], [4, 6]]
    expected = net[2](nn.functional.relu(net[0](x, full)), nn.functional.interpolate(full, [4, 6]))
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    y.sum().backward()
    assert float(full.grad.abs().sum()) > 0


def test_the_innermost_holds_and_each_thread_has_its_own():
    layer, x = pcc.CoordConv(1, 1, 1, coords=pcc.Given(1), bias_attr=False), paddle.zeros([1, 1, 2, 2])
    together = threading.Barrier(4)

    def of(value):
        grid = paddle.full([1, 1, 2, 2], float(value))
        with pcc.given(grid):
            together.wait()
            outer = [float(layer(x)[0, 0, 0, 0]) for _ in range(10)]
            with pcc.given(-grid):
                inner = float(layer(x)[0, 0, 0, 0])
            return [*outer, float(layer(x)[0, 0, 0, 0])], inner

    weight = float(layer.conv.weight[0, 1, 0, 0])
    with ThreadPoolExecutor(4) as pool:
        for value, (outer, inner) in zip(range(4), pool.map(of, range(4))):
            assert outer == pytest.approx([weight * value] * 11)
            assert inner == pytest.approx(-weight * value)


class InGiven(nn.Layer):
    def __init__(self):
        super().__init__()
        self.net = pcc.CoordConv(3, 2, 3, coords=pcc.Given(2))

    def forward(self, x, grid):
        with pcc.given(grid):
            return self.net(x)


@pytest.mark.parametrize("model", [InGiven, lambda: pcc.CoordConv(3, 2, 3, coords=pcc.Given(2))], ids=["given", "call"])
@pytest.mark.parametrize("sizes", [[None, None], [8, 12]], ids=["any size", "fixed"])
def test_in_a_graph_it_is_an_input(tmp_path, model, sizes):
    model = model()
    model.eval()
    specs = [InputSpec([None, 3, *sizes], name="x"), InputSpec([None, 2, *sizes], name="grid")]
    paddle.jit.save(paddle.jit.to_static(pcc.convert_to_deploy(model), specs, full_graph=True), str(tmp_path / "m"))
    loaded = paddle.jit.load(str(tmp_path / "m"))
    for _ in range(2):
        x, grid = paddle.rand([2, 3, 8, 12]), paddle.rand([2, 2, 8, 12])
        np.testing.assert_allclose(loaded(x, grid).numpy(), model(x, grid).numpy(), rtol=1e-5, atol=1e-5)


X = paddle.zeros([2, 3, 4, 5])


@pytest.mark.parametrize(
    ("grid", "error", "words"),
    [
        (None, ValueError, r"CoordConv: coords=Given\(2\): expected a grid \[1 or 2, 2, 4, 5\]"),
        (np.zeros([1, 2, 4, 5]), TypeError, "CoordConv: the grid must be a Tensor, got ndarray"),
        (paddle.zeros([1, 3, 4, 5]), ValueError, r"expected a grid \[1 or 2, 2, 4, 5\], got \[1, 3, 4, 5\]"),
        (paddle.zeros([3, 2, 4, 5]), ValueError, r"got \[3, 2, 4, 5\]"),
        (paddle.zeros([1, 2, 5, 4]), ValueError, r"got \[1, 2, 5, 4\]"),
        (paddle.zeros([2, 4, 5]), ValueError, r"got \[2, 4, 5\]"),
        (paddle.zeros([1, 2, 4, 5], "float64"), TypeError, "expected a grid of float32, got float64"),
        (paddle.zeros([1, 2, 4, 5], "int64"), TypeError, "expected a grid of float32, got int64"),
    ],
)  # fmt: skip
def test_grids_that_do_not_fit(grid, error, words):
    layer = pcc.CoordConv(3, 4, 1, coords=pcc.Given(2))
    with pytest.raises(error, match=words):
        layer(X, grid)
    if grid is not None and not isinstance(grid, np.ndarray):
        with pytest.raises(error, match=words), pcc.given(grid):
            layer(X)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pcc.Given(0), ValueError, "Given: channels takes a whole number of at least 1, got 0"),
        (lambda: pcc.Given("2"), ValueError, "Given: channels takes a whole number"),
        (lambda: pcc.CoordConv(3, 4, 1)(X, paddle.zeros([1, 2, 4, 5])), ValueError, "grid: is for layers with"),
        (lambda: pcc.AddCoords()(X, paddle.zeros([1, 2, 4, 5])), ValueError, r"grid: is for coords=Given"),
        (lambda: pcc.CoordConv(3, 4, 1, coords=pcc.Given(2), with_r=True), ValueError, "with_r: expected False with"),
        (lambda: pcc.AddCoords(pcc.Given(2), with_r=True), ValueError, "with_r: expected False with"),
        (lambda: pcc.coord_grid([4, 5], pcc.Given(2)), TypeError, "of the size alone, got coords=Given"),
        (lambda: pcc.CoordConv(3, 4, 1, coords=["paddle", pcc.Given(1)]), ValueError, "takes a Given alone, not in"),
        (lambda: pcc.given(5).__enter__(), TypeError, "given: expected a Tensor, or a function .*, got int"),
    ],
)  # fmt: skip
def test_what_it_is_not_for(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_around_what_does_not_ask():
    with pytest.raises(ValueError, match="given: no layer with coords=Given"), pcc.given(paddle.zeros([1, 2, 4, 5])):
        pcc.CoordConv(3, 4, 1)(X)


def test_a_graph_keeps_nothing_of_outside():
    traced = paddle.jit.to_static(pcc.CoordConv(3, 4, 1, coords=pcc.Given(2)), full_graph=True)
    words = "given: it was opened outside of what is being traced"
    with pytest.raises(ValueError, match=words), pcc.given(paddle.zeros([1, 2, 4, 5])):
        traced(X)
