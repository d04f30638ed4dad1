"""coords="learnt(...)": a table that is interpolated as Paddle's own interpolation does it, and learns."""

import copy

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle.nn import functional as F
from paddle.static import InputSpec

import ppcoordconv as pcc
from ppcoordconv.layers.table import grid_of_table

MODES = {1: ("linear", "NCW"), 2: ("bilinear", "NCHW"), 3: ("trilinear", "NCDHW")}
LAYERS = {1: pcc.CoordConv1D, 2: pcc.CoordConv, 3: pcc.CoordConv3D}


def interpolated(table, size):
    mode, data_format = MODES[len(size)]
    return F.interpolate(table, size, mode=mode, align_corners=True, data_format=data_format)


def layer_and_table(*sizes, channels=2, **options):
    layer = LAYERS[len(sizes)](
        3, 4, 3, padding=1, coords=f"learnt({channels}, {', '.join(map(str, sizes))})", **options
    )
    paddle.seed(1)
    layer.table.weight.set_value(paddle.randn(layer.table.weight.shape))
    return layer, layer.table.weight


def concatenated(layer, x, table):
    grid = interpolated(table, x.shape[2:]).expand([len(x), *table.shape[1:2], *x.shape[2:]])
    convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
    return convolve(paddle.concat([x, grid], axis=1), layer.conv.weight, layer.conv.bias, padding=1)


@settings(max_examples=examples(25))
@given(data=st.data(), axes=st.integers(1, 3))
def test_a_layer_is_the_convolution_over_the_interpolated_table(data, axes):
    """In both modes, with every gradient."""
    sizes, shape = (data.draw(st.lists(st.integers(low, 6), min_size=axes, max_size=axes)) for low in (1, 2))
    layer, table = layer_and_table(*sizes)
    x = paddle.rand([2, 3, *shape])
    x.stop_gradient = False
    results = []
    for compute in (layer, lambda x: concatenated(layer, x, table)):
        y = compute(x)
        grads = paddle.grad((y * y).sum(), [x, table, layer.conv.weight, layer.conv.bias])
        results.append([y.numpy(), *(grad.numpy() for grad in grads)])
    for got, expected in zip(*results):
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    layer.eval()
    with paddle.no_grad():
        for _ in range(2):
            np.testing.assert_allclose(layer(x).numpy(), results[1][0], rtol=0, atol=1e-5 * np.abs(results[1][0]).max())


def test_at_its_own_size_it_is_the_table_and_a_lone_sample_is_in_its_middle():
    layer, table = layer_and_table(5, 7)
    add = pcc.AddCoords(layer.coords)
    add.table.weight.set_value(table)
    np.testing.assert_allclose(add(paddle.zeros([1, 1, 5, 7]))[:, 1:].numpy(), table.numpy(), atol=1e-6)
    np.testing.assert_allclose(
        add(paddle.zeros([1, 1, 1, 1]))[0, 1:, 0, 0].numpy(), table[0, :, 2, 3].numpy(), atol=1e-6
    )


def test_in_a_window_it_is_seen_at_its_place_and_beyond_it_its_edge():
    layer, table = layer_and_table(4, 6)
    add = pcc.AddCoords(layer.coords)
    add.table.weight.set_value(table)
    whole = np.pad(interpolated(table, [8, 12]).numpy(), [(0, 0), (0, 0), (4, 4), (4, 4)], mode="edge")
    boxes = [[0, 0, 4, 4], [6, 2, 10, 6], [-4, 6, 0, 10], [10, -3, 14, 1]]
    with pcc.window(boxes, (8, 12)):
        y = add(paddle.zeros([4, 1, 4, 4]))[:, 1:].numpy()
    for crop, (left, top, right, bottom) in zip(y, boxes):
        np.testing.assert_allclose(crop, whole[0, :, top + 4 : bottom + 4, left + 4 : right + 4], rtol=0, atol=1e-5)


def test_in_eval_it_is_computed_once_until_it_changes():
    layer, table = layer_and_table(4, 6)
    layer.eval()
    x = paddle.rand([2, 3, 9, 9])
    with paddle.no_grad():
        grids = [grid_of_table(layer.table, x, layer.convention, False) for _ in range(2)]
        assert grids[0] is grids[1]
        before = layer(x)
        table.set_value(table + 1)
        assert (layer(x) != before).any().item()
        np.testing.assert_allclose(layer(x).numpy(), concatenated(layer, x, table).numpy(), atol=1e-5)
        with pcc.window([0, 0, 3, 3], (9, 9)):
            assert (layer(x) != concatenated(layer, x, table)).any().item()
        np.testing.assert_allclose(layer(x).numpy(), concatenated(layer, x, table).numpy(), atol=1e-5)


def test_it_learns_is_saved_and_copied():
    paddle.seed(0)
    layer = pcc.CoordConv(1, 1, 1, coords="learnt(1, 8)")
    assert sorted(layer.state_dict()) == ["conv.bias", "conv.weight", "table.weight"]
    assert 0.01 < layer.table.weight.std().item() < 0.04
    target = paddle.rand([1, 1, 8, 8])
    optimizer = paddle.optimizer.Adam(0.05, parameters=layer.parameters())
    for _ in range(200):
        loss = F.mse_loss(layer(paddle.zeros([1, 1, 8, 8])), target)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert loss.item() < 1e-3
    other = pcc.CoordConv(1, 1, 1, coords="learnt(1, 8)")
    other.set_state_dict(layer.state_dict())
    x = paddle.rand([1, 1, 8, 8])
    assert (other(x) == layer(x)).all().item()
    twin = copy.deepcopy(layer)
    twin.table.weight.set_value(twin.table.weight + 1)
    assert (twin(x) != layer(x)).any().item()


def test_joined_and_with_a_radius():
    paddle.seed(0)
    add = pcc.AddCoords(["paddle", "learnt(2, 3)", "fourier(1)"], with_r=True)
    y = add(paddle.zeros([1, 0, 4, 5]))
    parts = [pcc.coord_grid([4, 5]), interpolated(add.table.weight, [4, 5]), pcc.coord_grid([4, 5], "fourier(1)")]
    expected = paddle.concat([*parts, pcc.coord_grid([4, 5], with_r=True)[:, 2:]], axis=1)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("has_example", [True, False])
def test_deployed(has_example):
    layer, table = layer_and_table(4, 6)
    x = paddle.rand([2, 3, 9, 7])
    deployed = pcc.convert_to_deploy(layer, example=x if has_example else None)
    for size in ([9, 7], [3, 5]):
        x = paddle.rand([2, 3, *size])
        np.testing.assert_allclose(deployed(x).numpy(), concatenated(layer, x, table).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [[9, 7], [None, None]])
def test_saved(tmp_path, size):
    layer, table = layer_and_table(4, 6)
    layer.eval()
    net = paddle.jit.to_static(layer, input_spec=[InputSpec([None, 3, *size])], full_graph=True)
    paddle.jit.save(net, str(tmp_path / "m"))
    x = paddle.rand([2, 3, 9, 7])
    expected = concatenated(layer, x, table).numpy()
    np.testing.assert_allclose(paddle.jit.load(str(tmp_path / "m"))(x).numpy(), expected, rtol=0, atol=1e-5)


class InWindows(paddle.nn.Layer):
    def __init__(self, coords):
        super().__init__()
        self.layer = pcc.CoordConv(3, 4, 1, coords=coords)

    def forward(self, x, place):
        with pcc.window(place[:, :4], place[:, 4:]):
            return self.layer(x)


@pytest.mark.parametrize("coords", ["learnt(2, 3)", ["paddle", "learnt(2, 3)"]])
@pytest.mark.parametrize("size", [[4, 5], [None, None]])
def test_a_window_for_each_sample_in_a_graph(coords, size):
    """Without gradients into the windows, as in eager mode."""
    net, x = InWindows(coords), paddle.rand([3, 3, 4, 5])
    place = paddle.to_tensor([[0.0, 0, 4, 4, 8, 8], [4, 4, 8, 8, 8, 8], [-3, 2, 9, 7, 9, 9]])
    place.stop_gradient = False
    expected = net(x, place)
    specs = [InputSpec([None, 3, *size]), InputSpec([None, 6], stop_gradient=False)]
    traced = paddle.jit.to_static(InWindows(coords), input_spec=specs, full_graph=True)
    traced.set_state_dict(net.state_dict())
    for count in (1, 3):
        y = traced(x[:count], place[:count])
        np.testing.assert_allclose(y.numpy(), expected[:count].numpy(), atol=1e-5)
    traced(x, place).sum().backward()
    assert place.grad is None or (place.grad == 0).all().item()


def test_points_that_nothing_asks_for_are_told_of():
    layer = pcc.CoordConv(3, 4, 1, coords="learnt(2, 3)")
    unused = pytest.raises(ValueError, match="no layer with coords='relative' asked")
    with unused, paddle.no_grad(), pcc.relative_to([1, 2], (4, 4)):
        layer(paddle.rand([1, 3, 4, 4]))


def test_wrong_maps():
    add = pcc.AddCoords("learnt(2, 3)")
    with pytest.raises(ValueError, match=r"learnt: expected a map with 4 axes, got \[1, 1, 2, 2, 2\]"):
        add(paddle.zeros([1, 1, 2, 2, 2]))
    with pytest.raises(TypeError, match=r"expected coordinates of the size alone, got coords='learnt\(2, 3\)'"):
        pcc.coord_grid([3, 3], "learnt(2, 3)")
