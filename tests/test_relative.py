"""coords="relative": from a point for each sample, as the formula written out."""

import dataclasses

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle.nn import functional as F
from paddle.static import InputSpec

import ppcoordconv as pcc
from ppcoordconv.compat import is_paddle_3
from ppcoordconv.coords import CONVENTIONS

LAYERS = {1: (pcc.CoordConv1D, F.conv1d), 2: (pcc.CoordConv, F.conv2d), 3: (pcc.CoordConv3D, F.conv3d)}


def relative(points, image_size, shape, window=None):
    """``[N, axes, *shape]``, x first: where the middles of the cells are, minus the points, the image being 2 long."""
    axes = len(shape)
    boxes, whole = window or (np.tile([*[0] * axes, *image_size[::-1]], [len(points), 1]), image_size)
    grids = []
    for point, box in zip(points, boxes):
        lines = []
        for axis, (n, size) in enumerate(zip(shape, image_size)):
            low, high = box[axes - 1 - axis], box[2 * axes - 1 - axis]
            place = low + (np.arange(n) + 0.5) * (high - low) / n
            lines.append(2 * place / whole[axis] - 2 * point[axes - 1 - axis] / size)
        grids.append(np.meshgrid(*lines, indexing="ij")[::-1])
    return np.array(grids)


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 3))
    number = st.floats(-20, 60, width=32)
    shape = draw(st.lists(st.integers(1, 6), min_size=axes, max_size=axes))
    image_size = draw(st.lists(st.integers(1, 50), min_size=axes, max_size=axes))
    count = draw(st.integers(1, 3))
    points = draw(st.lists(st.lists(number, min_size=axes, max_size=axes), min_size=count, max_size=count))
    window = None
    if draw(st.booleans()):
        low = np.array(draw(st.lists(st.lists(number, min_size=axes, max_size=axes), min_size=count, max_size=count)))
        window = np.concatenate([low, low + draw(st.floats(1, 40))], axis=1), image_size
    return points, image_size, shape, window


def in_contexts(layer, x, points, image_size, window):
    with pcc.relative_to(points, image_size):
        if window is None:
            return layer(x)
        with pcc.window(*window):
            return layer(x)


@settings(max_examples=examples(40))
@given(case=cases(), with_r=st.booleans(), data_format=st.booleans())
def test_they_are_the_formula(case, with_r, data_format):
    """In a window and without, of each sample and shared, channels first and last; the radius is the distance."""
    points, image_size, shape, window = case
    axes = len(shape)
    name = {1: "NLC", 2: "NHWC", 3: "NDHWC"}[axes] if data_format else {1: "NCL", 2: "NCHW", 3: "NCDHW"}[axes]
    expected = relative(points, image_size, shape, window)
    if with_r:
        expected = np.concatenate([expected, np.sqrt((expected**2).sum(axis=1, keepdims=True))], axis=1)
    x = paddle.zeros([len(points), *shape, 0] if data_format else [len(points), 0, *shape])
    y = in_contexts(pcc.AddCoords("relative", with_r, name), x, *case[:2], window).numpy()
    y = np.moveaxis(y, -1, 1) if data_format else y
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6 * max(1, np.abs(expected).max()))


@settings(max_examples=examples(25))
@given(case=cases(), with_r=st.booleans())
def test_a_layer_is_the_convolution_over_them(case, with_r):
    points, image_size, shape, window = case
    make, convolve = LAYERS[len(shape)]
    layer = make(3, 4, 3, padding=1, coords="relative", with_r=with_r)
    add = pcc.AddCoords("relative", with_r, {1: "NCL", 2: "NCHW", 3: "NCDHW"}[len(shape)])
    x = paddle.rand([len(points), 3, *shape])
    x.stop_gradient = False
    results = []
    for compute in (layer, lambda x: convolve(add(x), layer.conv.weight, layer.conv.bias, padding=1)):
        y = in_contexts(compute, x, points, image_size, window)
        grads = paddle.grad((y * y).sum(), [x, layer.conv.weight, layer.conv.bias])
        results.append([y.numpy(), *(grad.numpy() for grad in grads)])
    for got, expected in zip(*results):
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_one_point_for_all_and_an_image_of_each():
    add, x = pcc.AddCoords("relative"), paddle.zeros([2, 0, 3, 4])
    with pcc.relative_to([5, 1], (6, 8)):
        np.testing.assert_allclose(add(x).numpy()[[1]], relative([[5, 1]], (6, 8), [3, 4]), atol=1e-6)
    with pcc.relative_to([5, 1], [[6, 8], [12, 16]]):
        np.testing.assert_allclose(add(x).numpy()[[1]], relative([[5, 1]], (12, 16), [3, 4]), atol=1e-6)


def test_joined_with_what_is_the_same_for_all():
    add = pcc.AddCoords(["paddle", "relative", "learnt(1, 2)"])
    with pcc.relative_to([[0, 0], [4, 3]], (6, 8)):
        y = add(paddle.zeros([2, 0, 3, 4]))
    for sample in y:
        assert (sample[:2] == pcc.coord_grid([3, 4])[0]).all().item()
    np.testing.assert_allclose(y[:, 2:4].numpy(), relative([[0, 0], [4, 3]], (6, 8), [3, 4]), atol=1e-6)
    assert y.shape == [2, 5, 3, 4]


@pytest.mark.parametrize("with_r", [False, True])
def test_an_empty_batch_has_no_points(with_r):
    if not is_paddle_3():
        pytest.skip("Paddle 2.6 can't convolve an empty batch")
    layer = pcc.CoordConv(3, 4, 3, padding=1, coords="relative", with_r=with_r)
    with pcc.relative_to(np.zeros([0, 2]), (6, 8)):
        y = layer(paddle.zeros([0, 3, 6, 8]))
    assert y.shape == [0, 4, 6, 8]
    y.sum().backward()
    with pytest.raises(ValueError, match="one for each of the 2 samples"), pcc.relative_to(np.zeros([0, 2]), (6, 8)):
        layer(paddle.zeros([2, 3, 6, 8]))


def test_the_innermost_holds():
    add, x = pcc.AddCoords("relative"), paddle.zeros([1, 0, 3, 4])
    with pcc.relative_to([0, 0], (6, 8)):
        outer = add(x)
        with pcc.relative_to([1, 2], (6, 8)):
            assert (add(x) != outer).any().item()
        assert (add(x) == outer).all().item()


class Net(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.first = pcc.CoordConv(3, 4, 3, stride=2, coords="relative")
        self.last = pcc.CoordConv(4, 2, 1, coords=["relative", "paddle"], with_r=True)

    def forward(self, x, points):
        with pcc.relative_to(points, (40, 60)):
            return self.last(self.first(x))


@pytest.mark.parametrize("size", [[20, 30], [None, None]])
def test_saved_with_points_as_an_input(tmp_path, size):
    net = Net()
    net.eval()
    x, points = paddle.rand([2, 3, 20, 30]), paddle.to_tensor([[3.0, 4], [50, 30]])
    expected = net(x, points).numpy()
    specs = [InputSpec([None, 3, *size]), InputSpec([None, 2])]
    deployed = pcc.convert_to_deploy(net)
    paddle.jit.save(paddle.jit.to_static(deployed, input_spec=specs, full_graph=True), str(tmp_path / "m"))
    got = paddle.jit.load(str(tmp_path / "m"))(x, points).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("points", "size", "error", "words"),
    [
        ([1, np.nan], (6, 8), ValueError, r"points: expected finite numbers, got \[1.0, nan\] in row 0"),
        ([1, 2, 3, 4], (6, 8), ValueError, r"points: expected \[1\] or \[N, 1\] \(x\) or \[2\] or"),
        ("here", (6, 8), TypeError, "points: expected numbers"),
        ([1, 2], (0, 8), ValueError, "image_size: expected lengths above 0"),
        ([1, 2], 8, ValueError, r"image_size: expected \[2\] or \[N, 2\] \(height, width\)"),
        ([[1, 2]] * 3, [[6, 8]] * 2, ValueError, "image_size: expected one, or one for each of the 3 points, got 2"),
        ([[1, 2]] * 3, (6, 8), ValueError, "points: expected one for each of the 2 samples, or one for all, got 3"),
        ([1], (6,), ValueError, "points: x are for maps with 1 spatial axes, but a layer has a map with 2"),
    ],
)
def test_wrong_points(points, size, error, words):
    with pytest.raises(error, match=words), pcc.relative_to(points, size):
        pcc.AddCoords("relative")(paddle.zeros([2, 1, 3, 4]))


def test_none_and_unused():
    for layer in (pcc.AddCoords("relative"), pcc.CoordConv(1, 1, 1, coords=["paddle", "relative"])):
        with pytest.raises(ValueError, match="coords='relative': expected points, by pcc.relative_to"):
            layer(paddle.zeros([2, 1, 3, 4]))
    unused = "relative_to: no layer with coords='relative' asked"
    with pytest.raises(ValueError, match=unused), pcc.relative_to([1, 2], (6, 8)):
        pcc.AddCoords()(paddle.zeros([2, 1, 3, 4]))
    with pytest.raises(TypeError, match="expected coordinates of the size alone, got coords='relative'"):
        pcc.coord_grid([3, 3], "relative")


@pytest.mark.parametrize("name", ["paddle", "half_open", "pixel", "solo"])
def test_of_any_convention(name):
    """The coordinate of an index minus that of the point's, as a point in the middle of a pixel shows."""
    convention = dataclasses.replace(CONVENTIONS[name], relative=True)
    with pcc.relative_to([[2.5, 1.5], [0.5, 3.5]], (4, 6)):
        y = pcc.AddCoords(convention)(paddle.zeros([2, 0, 4, 6]))
    grid = pcc.coord_grid([4, 6], name)[0]
    for got, (x, row) in zip(y, [(2, 1), (0, 3)]):
        np.testing.assert_allclose(got.numpy(), (grid - grid[:, row : row + 1, x : x + 1]).numpy(), atol=1e-6)
