"""Crops take the coordinates that they have in the whole."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.test_layers import FAMILY, FIRST, assert_same, concatenated, configurations, forward_and_gradients, positive
from paddle import nn
from paddle.distributed.fleet.utils import recompute
from paddle.static import InputSpec
from paddle.vision.models import resnet18
from test_coords import FORMULAS

import ppcoordconv as pcc
from ppcoordconv import compat, forms
from ppcoordconv import windows as windows_module
from ppcoordconv.compat import is_paddle_3
from ppcoordconv.layers import GridConv
from ppcoordconv.models import create

# Of an index and a length that need not be whole, where FORMULAS counts samples, as linspace does.
COUNTED = {"solo": lambda i, n: 2 * i / (n - 1) - 1, "monai": lambda i, n: i / (n - 1) - 0.5}


def coordinates_of(coords, index, length):
    return COUNTED.get(coords, FORMULAS[coords][0])(index, length)


def channels_of(coords, lines):
    x_first = FORMULAS[coords][2]
    return list(np.meshgrid(*lines, indexing="ij"))[:: -1 if x_first else 1]


def written_out(coords, shape, box, whole, with_r):
    """The grid of one sample: along an axis of w, index ``left / s + j`` of a length ``W / s``."""
    axes = len(shape)
    lines, ends = [], []
    for axis, w in enumerate(shape):
        left, right = box[axes - 1 - axis], box[2 * axes - 1 - axis]
        s = (right - left) / w
        lines.append(coordinates_of(coords, left / s + np.arange(w), whole[axis] / s))
        ends.append(coordinates_of(coords, np.array([0, whole[axis] / s - 1]), whole[axis] / s))
    channels = channels_of(coords, lines)
    if with_r and coords == "wizaron":
        distances = [np.sqrt(sum(c**2 for c in channels_of(coords, part))) for part in (lines, ends)]
        channels.append(distances[0] / distances[1].max())
    elif with_r:
        channels.append(FORMULAS[coords][3](channels))
    return np.stack(channels)


@st.composite
def windows(draw, axes=(1, 2, 3)):
    """The shape of a batch of maps, boxes, and sizes of the whole; one for all samples, or one for each."""
    axes = draw(st.sampled_from(axes))
    samples = draw(st.integers(1, 3))
    shape = draw(st.lists(st.integers(1, 6), min_size=axes, max_size=axes))

    def rows(numbers, count):
        return np.array(draw(st.lists(st.lists(numbers, min_size=axes, max_size=axes), min_size=count, max_size=count)))

    count = draw(st.sampled_from([1, samples]))
    low, extent = rows(st.floats(-20, 40, width=32), count), rows(st.floats(0.5, 30, width=32), count)
    # More than one sample along each axis of the map of the whole
    whole = np.ceil((extent[:, ::-1] / shape * 1.5).max(0)) + rows(
        st.integers(0, 30), draw(st.sampled_from([1, samples]))
    )
    return [samples, 2, *shape], np.concatenate([low, low + extent], axis=1), whole


def test_generators_that_are_left_in_another_order():
    """Each window ends with its block, whatever was opened in between."""
    add, x = pcc.AddCoords(), paddle.zeros([1, 0, 1, 4])

    def crops(box):
        with pcc.window(box, (8, 8)):
            while True:
                yield add(x)

    plain = add(x)
    first, second = crops([0, 0, 4, 4]), crops([4, 4, 8, 8])
    next(first)
    right = next(second)
    first.close()
    assert (next(second) == right).all().item()
    second.close()
    assert (add(x) == plain).all().item()


@pytest.mark.parametrize("with_r", [False, True])
def test_an_empty_batch_has_no_boxes(with_r):
    if not is_paddle_3():
        pytest.skip("Paddle 2.6 can't convolve an empty batch")
    layer = pcc.CoordConv(3, 4, 3, padding=1, with_r=with_r)
    x = paddle.zeros([0, 3, 8, 8])
    for boxes, size in [(np.zeros([0, 4]), (8, 8)), (np.zeros([0, 4]), np.zeros([0, 2])), ([0, 0, 4, 4], (8, 8))]:
        with pcc.window(boxes, size):
            y = layer(x)
        assert y.shape == [0, 4, 8, 8]
        y.sum().backward()
    wrong = "expected one for each of the 2 samples, or one for all, got 0"
    with pytest.raises(ValueError, match=wrong), pcc.window(np.zeros([0, 4]), (8, 8)):
        layer(paddle.zeros([2, 3, 8, 8]))


@pytest.mark.parametrize("coords", pcc.list_coords())
@settings(max_examples=examples(25))
@given(window=windows(), with_r=st.booleans())
def test_the_coordinates_are_those_of_the_whole(coords, window, with_r):
    shape, boxes, sizes = window
    x = paddle.rand(shape)
    with pcc.window(boxes, sizes):
        y = pcc.AddCoords(coords, with_r, FIRST[x.ndim])(x).numpy()
    grids = y[:, :-2] if FORMULAS[coords][4] else y[:, 2:]
    rows = [np.broadcast_to(table, (shape[0], table.shape[1])) for table in (boxes, sizes)]
    for grid, box, size in zip(grids, *rows):
        expected = written_out(coords, shape[2:], box, size, with_r)
        np.testing.assert_allclose(grid, expected, rtol=1e-5, atol=1e-5)


def test_a_crop_at_its_place_is_the_whole_bit_for_bit():
    x = paddle.rand([2, 3, 5, 7])
    for coords in pcc.list_coords():
        with pcc.window([0, 0, 7, 5], (5, 7)):
            y = pcc.AddCoords(coords, with_r=True)(x)
        assert (y == pcc.AddCoords(coords, with_r=True)(x)).all().item()


@pytest.mark.parametrize("coords", pcc.list_coords())
def test_an_axis_of_one_sample(coords):
    """Of an image that is one pixel high: as without a window."""
    x = paddle.rand([2, 1, 1, 3])
    with pcc.window([[1, 0, 4, 1]] * 2, (1, 9)):
        y = pcc.AddCoords(coords, with_r=True)(x)
    whole = pcc.AddCoords(coords, with_r=True)(paddle.zeros([1, 1, 1, 9]))
    features = [-1 if FORMULAS[coords][4] else 0]
    y[:, features], whole[:, features] = 0.0, 0.0
    np.testing.assert_allclose(y.numpy(), whole[:, :, :, 1:4].expand([2, -1, -1, -1]).numpy(), rtol=1e-6, atol=1e-6)


def test_more_than_the_whole_in_one_sample():
    """Its middle is the middle of the image."""
    with pcc.window([-8, 24], [16]):
        assert pcc.AddCoords(data_format="NCL")(paddle.zeros([1, 1, 1]))[0, 1, 0].item() == 0


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=examples(20))
@given(st.data())
def test_a_layer_is_the_convolution_of_the_crops_coordinates(name, data):
    """One box for all, or one for each sample, in training and without gradients, twice."""
    build, axes, function = FAMILY[name]
    configuration = data.draw(configurations(name))
    spatial = data.draw(st.lists(st.integers(5, 8), min_size=axes, max_size=axes))
    samples, channels = data.draw(st.integers(1, 3)), configuration["in_channels"]
    count = data.draw(st.sampled_from([1, samples]))
    low = positive([count, axes], seed=2) * 10
    window = np.concatenate([low, low + 6 * positive([count, axes], seed=3)], axis=1), [40] * axes
    last = configuration["data_format"].endswith("C")
    x = paddle.to_tensor(positive([samples, *spatial, channels] if last else [samples, channels, *spatial]))
    layer = build(**configuration)
    with pcc.window(*window):
        features = paddle.zeros([samples, 0, *spatial], "float64")
        alone = pcc.AddCoords(layer.coords, layer.with_r, FIRST[axes + 2])(features)
        got = forward_and_gradients(layer, x, layer.parameters())
    exact = build(**configuration)
    exact.to(dtype="float64")
    exact.set_state_dict({key: value.astype("float64") for key, value in layer.state_dict().items()})
    expected = forward_and_gradients(
        lambda x: concatenated(exact, x, function, configuration, grid=alone), x.astype("float64"), exact.parameters()
    )
    assert_same(got, expected, 1e-5)
    layer.eval()
    with paddle.no_grad(), pcc.window(*window):
        for _ in range(2):
            assert_same([layer(x).numpy()], expected[:1], 1e-5)


@pytest.mark.parametrize("with_r", [False, True])
def test_every_form_gives_the_same(with_r):
    layer, x = pcc.CoordConv(3, 30, 3, padding=1, with_r=with_r), paddle.rand([2, 3, 24, 24])
    with pcc.window([[0, 0, 8, 8], [4, 4, 20, 12]], (32, 32)):
        call = layer.call_for(x)
    assert forms.chosen_form(call) == "matmul"
    expected = forms.run(call, "split").numpy()
    for name in ("concat", "matmul", "broadcast"):
        np.testing.assert_allclose(forms.run(call, name).numpy(), expected, rtol=1e-5, atol=1e-5)
    with paddle.no_grad():
        reason = forms.FORMS["cached"].impossible(call)
        assert reason == ("each sample has a grid of its own" if with_r else "")
        if not with_r:
            np.testing.assert_allclose(forms.run(call, "cached").numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=examples(5))
@given(st.data())
def test_in_eval_the_offsets_of_many_samples_are_sums_of_maps_that_are_kept(name, data):
    """In one window after another, and with other weights; the radius is no such sum, half precision too coarse."""
    build, axes, _ = FAMILY[name]
    configuration = {**data.draw(configurations(name)), "with_r": False}
    last, channels = configuration["data_format"].endswith("C"), configuration["in_channels"]
    samples = 2 * axes + 1
    x = paddle.to_tensor(positive([samples, *[6] * axes, channels] if last else [samples, channels, *[6] * axes]))
    layer = build(**configuration)
    layer.eval()
    with paddle.no_grad():
        for seed in (1, 2):
            low = positive([samples, axes], seed) * 10
            boxes = np.concatenate([low, low + 6 * positive([samples, axes], seed=3)], axis=1)
            with pcc.window(boxes, [40] * axes):
                for _ in range(2):
                    call = layer.call_for(x)
                    reason = forms.FORMS["cached"].refused(call)
                    assert ("one place" in reason) if np.prod(layer.conv.weight.shape[2:]) == 1 else (reason == "")
                    for form in ("cached", "matmul"):
                        assert_same([forms.run(call, form).numpy()], [forms.run(call, "split").numpy()], 1e-5)
                    layer.conv.weight.set_value(layer.conv.weight + 0.5)
        with pcc.window(boxes[1:], [40] * axes):
            assert "more than the samples" in forms.FORMS["cached"].refused(layer.call_for(x[1:]))
            with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
                is_refused = "rounded" in forms.FORMS["cached"].impossible(layer.call_for(x[1:]))
                assert is_refused == compat.autocast_is_on()  # never on processors without bf16, in Paddle 2.6


# ---- Tiles of an image give what the whole gives


class UNet(nn.Layer):
    """Two levels, with CoordConv on each, down and up."""

    def __init__(self):
        super().__init__()
        self.enter = pcc.CoordConvNormActivation(3, 8, 3)
        self.down = pcc.CoordConvNormActivation(8, 16, 3, stride=2, coords="half_open")
        self.deep = pcc.CoordConvNormActivation(16, 16, 3, with_r=True)
        self.up = pcc.CoordConv2DTranspose(16, 8, 2, stride=2)
        self.leave = pcc.CoordConv(16, 4, 3, padding=1, coords="wizaron", with_r=True)

    def forward(self, x):
        fine = self.enter(x)
        return self.leave(paddle.concat([fine, self.up(self.deep(self.down(fine)))], axis=1))


class ResNet(nn.Layer):
    """Up to stride 8, every convolution a CoordConv."""

    def __init__(self):
        super().__init__()
        net = pcc.convert_to_coordconv(resnet18(), "all")
        self.stages = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2)

    def forward(self, x):
        return self.stages(x)


class Detector(nn.Layer):
    """The finer map of the YOLO detector."""

    def __init__(self):
        super().__init__()
        self.net = create("yolo", num_classes=3)

    def forward(self, x):
        return self.net(x)[0]


# The network, its stride, and how far from a tile's edge its padding is seen, in pixels.
NETWORKS = {"unet": (UNet, 1, 8), "resnet": (ResNet, 8, 56), "yolo": (Detector, 4, 56)}


def changed_everywhere(net):
    """With weights on all coordinates, which some begin without."""
    paddle.seed(0)
    for layer in net.sublayers():
        if isinstance(layer, GridConv):
            layer.weight.set_value(layer.weight + 0.05 * paddle.randn(layer.weight.shape))
    return net


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("each", [True, False], ids=["a window each", "one window"])
def test_tiles_of_an_image_give_what_the_whole_gives(name, each):
    build, stride, reach = NETWORKS[name]
    net = changed_everywhere(build())
    net.eval()
    height, width, tile = 192, 256, 160
    image = paddle.rand([1, 3, height, width])
    places = [(0, 0), (0, 96), (32, 64)]
    for tiles in [places] if each else [[place] for place in places]:
        boxes = [[left, top, left + tile, top + tile] for top, left in tiles]
        crops = paddle.concat([image[:, :, top : top + tile, left : left + tile] for top, left in tiles])
        with paddle.no_grad(), pcc.window(boxes if each else boxes[0], (height, width)):
            maps = net(crops).numpy()
        with paddle.no_grad():
            whole = net(image).numpy()[0]
        for y, (top, left) in zip(maps, tiles):
            rows, columns = (inside(low, tile, size, reach, stride) for low, size in ((top, height), (left, width)))
            expected = whole[:, rows[0] : rows[1], columns[0] : columns[1]]
            top, left = top // stride, left // stride
            got = y[:, rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def inside(low, tile, size, reach, stride):
    """Where a tile's map is the whole's: a padding that both have is the same for both."""
    first, last = 0 if low == 0 else low + reach, size if low + tile == size else low + tile - reach
    assert first < last
    return -(-first // stride), last // stride


# ---- What is around it


@pytest.fixture
def layer():
    return pcc.CoordConv(1, 1, 1, bias_attr=False)


def offset_at(layer, left):
    """What the layer makes of nothing, at a place."""
    with pcc.window([left, 0, left + 4, 4], (4, 100)):
        return layer(paddle.zeros([1, 1, 4, 4])).numpy()


def test_the_innermost_holds(layer):
    x = paddle.zeros([1, 1, 4, 4])
    with pcc.window([0, 0, 4, 4], (4, 100)):
        outer = layer(x).numpy()
        with pcc.window([50, 0, 54, 4], (4, 100)):
            inner = layer(x).numpy()
        assert (layer(x).numpy() == outer).all()
    assert (inner == offset_at(layer, 50)).all() and (inner != outer).any()
    assert (layer(x).numpy() != outer).any()


def test_an_error_closes_it(layer):
    x = paddle.zeros([1, 1, 4, 4])
    before = layer(x).numpy()
    with pytest.raises(ZeroDivisionError), pcc.window([0, 0, 4, 4], (4, 100)):
        raise ZeroDivisionError
    assert (layer(x).numpy() == before).all()


def test_each_thread_has_its_own(layer):
    together = threading.Barrier(8)

    def at(left):
        with pcc.window([left, 0, left + 4, 4], (4, 100)):
            together.wait()
            return [layer(paddle.zeros([1, 1, 4, 4])).numpy() for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        places = range(0, 80, 10)
        for left, found in zip(places, pool.map(at, places)):
            assert all((y == offset_at(layer, left)).all() for y in found)


def test_each_task_has_its_own(layer):
    async def at(left):
        with pcc.window([left, 0, left + 4, 4], (4, 100)):
            await asyncio.sleep(0)
            y = layer(paddle.zeros([1, 1, 4, 4])).numpy()
            await asyncio.sleep(0)
        return y

    async def all_at_once():
        return await asyncio.gather(*map(at, (0, 30, 60)))

    for left, y in zip((0, 30, 60), asyncio.run(all_at_once())):
        assert (y == offset_at(layer, left)).all()


class InWindow(nn.Layer):
    """The window is an input of what is traced."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(pcc.CoordConv(3, 4, 3, with_r=True), nn.ReLU(), pcc.CoordConv(4, 2, 3, coords="solo"))

    def forward(self, x, boxes):
        with pcc.window(boxes, (64, 96)):
            return self.net(x)


BOXES = [[0.0, 0.0, 16.0, 16.0], [40.0, 8.0, 56.0, 40.0]]


@pytest.mark.parametrize("count", [1, 2], ids=["one box", "a box each"])
@pytest.mark.parametrize("batch", [None, 2], ids=["any batch", "a batch of 2"])
def test_in_a_graph(count, batch):
    model, x = InWindow(), paddle.rand([2, 3, 16, 16])
    specs = [InputSpec([batch, 3, 16, 16]), InputSpec([1 if count == 1 else batch, 4])]
    traced = paddle.jit.to_static(InWindow(), input_spec=specs, full_graph=True)
    traced.set_state_dict(model.state_dict())
    for shift in (0, 7):
        boxes = paddle.to_tensor(BOXES[:count]) + shift
        outputs, gradients = [], []
        for net in (model, traced):
            net.clear_gradients()
            y = net(x, boxes)
            y.mean().backward()
            outputs.append(y.numpy())
            gradients.append([parameter.grad.numpy() for parameter in net.parameters()])
        np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)
        assert_same(gradients[0], gradients[1], 1e-4)


def test_a_graph_takes_the_size_of_an_image_that_is_an_input():
    class OfItsImage(InWindow):
        def forward(self, x, boxes, image):
            with pcc.window(boxes, image.shape[2:]):
                return self.net(x)

    model = OfItsImage()
    specs = [InputSpec([None, 3, 16, 16]), InputSpec([None, 4]), InputSpec([None, 3, None, None])]
    traced = paddle.jit.to_static(OfItsImage(), input_spec=specs, full_graph=True)
    traced.set_state_dict(model.state_dict())
    for size in ([64, 96], [50, 70]):
        inputs = paddle.rand([2, 3, 16, 16]), paddle.to_tensor(BOXES), paddle.zeros([1, 3, *size])
        np.testing.assert_allclose(traced(*inputs).numpy(), model(*inputs).numpy(), rtol=1e-5, atol=1e-5)


def test_numbers_in_a_graph_are_checked_as_ever():
    class Wrong(InWindow):
        def forward(self, x):
            with pcc.window([64, 64, 0, 0], (64, 96)):
                return self.net(x)

    with pytest.raises(ValueError, match="every end beyond its beginning"):
        paddle.jit.to_static(Wrong(), input_spec=[InputSpec([None, 3, 16, 16])], full_graph=True)(
            paddle.zeros([1, 3, 16, 16])
        )


def test_boxes_in_bfloat16_are_numbers():
    layer, x, boxes = pcc.CoordConv(3, 4, 3), paddle.rand([2, 3, 8, 8]), paddle.to_tensor(BOXES)
    with pcc.window(boxes, (64, 96)):
        expected = layer(x).numpy()
    with pcc.window(boxes.astype("bfloat16"), paddle.to_tensor([64.0, 96.0]).astype("bfloat16")):
        np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-6)


def test_few_grids_are_kept_in_one_window():
    layer = pcc.CoordConv(3, 4, 1)
    with pcc.window(BOXES[0], (64, 96)):
        for width in range(1, 60):
            layer(paddle.zeros([1, 3, 2, width]))
        assert len(windows_module.current_window().grids) <= 16


def test_a_graph_keeps_no_window_of_outside(layer):
    traced, x = paddle.jit.to_static(layer, full_graph=True), paddle.zeros([1, 1, 4, 4])
    words = "opened outside of what is being traced"
    with pytest.raises(ValueError, match=words), pcc.window([0, 0, 4, 4], (4, 100)):
        traced(x)
    traced(x)
    words = "a model that was traced before, by to_static, asks no more"
    with pytest.raises(ValueError, match=words), pcc.window([0, 0, 4, 4], (4, 100)):
        traced(x)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("with_r", [False, True])
def test_in_bfloat16_the_coordinates_stay_in_float32(count, with_r):
    paddle.seed(0)
    layer, x = pcc.CoordConv(3, 4, 3, with_r=with_r), paddle.rand([2, 3, 8, 8])
    with pcc.window([[1000, 1000, 1008, 1008]] * count, (2000, 2000)):
        exact = layer(x)
        with paddle.amp.auto_cast(dtype="bfloat16"):
            got = layer(x)
    # Neighbours' coordinates are alike in bfloat16: 1/1000 apart, at 0.
    assert (got.astype("float32") - exact).abs().max().item() < 0.02


def test_with_recompute_the_backward_is_inside_too():
    net, x = nn.Sequential(pcc.CoordConv(3, 4, 3), nn.ReLU(), pcc.CoordConv(4, 2, 3)), paddle.rand([2, 3, 8, 8])
    x.stop_gradient = False
    found = []
    for call in (net, lambda x: recompute(net, x)):
        net.clear_gradients()
        with pcc.window(np.array(BOXES), (64, 96)):
            call(x).sum().backward()
        found.append([parameter.grad.numpy() for parameter in net.parameters()])
    assert_same(found[1], found[0], 1e-5)


def test_boxes_are_constants_whatever_they_are():
    boxes, x = paddle.to_tensor(BOXES, stop_gradient=False), paddle.rand([2, 3, 8, 8])
    for with_r in (False, True):
        layer = pcc.CoordConv(3, 4, 3, with_r=with_r)
        with pcc.window(boxes, paddle.to_tensor([64, 96])):
            layer(x).sum().backward()
        assert boxes.grad is None
        assert layer.conv.weight.grad is not None


# ---- What it does not take


@pytest.mark.parametrize(
    ("boxes", "size", "error", "words"),
    [
        (
            "left",
            (8, 8),
            TypeError,
            r"boxes: expected numbers, .*\[4\] or \[N, 4\] \(left, top, ",
        ),
        (None, (8, 8), TypeError, "boxes: expected numbers"),
        ([[0, 0, 4, 4], [0, 0]], (8, 8), TypeError, "boxes: expected numbers"),
        ([True] * 4, (8, 8), TypeError, "boxes: expected numbers"),
        ([0, 0, 4], (8, 8), ValueError, r"boxes: expected .* got \[3\]"),
        (np.zeros([1, 1, 4]), (8, 8), ValueError, r"boxes: expected .* got \[1, 1, 4\]"),
        (7, (8, 8), ValueError, r"boxes: expected .* got \[\]"),
        (
            [4, 0, 4, 4],
            (8, 8),
            ValueError,
            r"bottom with every end beyond its beginning, got \[4.0, 0.0",
        ),
        ([[0, 0, 4, 4], [0, 4, 4, 3]], (8, 8), ValueError, "every end beyond its beginning, .* in row 1"),
        ([0, 0, float("nan"), 4], (8, 8), ValueError, "boxes: expected finite numbers, got .* in row 0"),
        ([0, 0, float("inf"), 4], (8, 8), ValueError, "boxes: expected finite numbers"),
        ([0, 0, 4, 4], (8, 0), ValueError, r"image_size: expected lengths above 0, got \[8.0, 0.0\] in row 0"),
        ([0, 0, 4, 4], (8, float("nan")), ValueError, "image_size: expected lengths above 0"),
        ([0, 0, 4, 4], (8,), ValueError, r"image_size: expected \[2\] or \[N, 2\] \(height, width\), got \[1\]"),
        ([0, 0, 4, 4], (8, 8, 8), ValueError, "image_size: expected"),
        ([0, 0, 4, 4], 8, ValueError, r"image_size: expected .* got \[\]"),
        (
            [[0, 0, 4, 4]] * 2,
            [[8, 8]] * 3,
            ValueError,
            "image_size: expected one, or one for each of the 2 boxes",
        ),
    ],
)
def test_wrong_windows(boxes, size, error, words):
    with pytest.raises(error, match=words), pcc.window(boxes, size):
        raise AssertionError


@pytest.mark.parametrize(
    ("boxes", "size", "words"),
    [
        ([[0, 0, 4, 4]] * 3, (8, 8), "boxes: expected one for each of the 2 samples, or one for all, got 3"),
        ([[0, 0, 4, 4]], [[8, 8]] * 3, "boxes: expected one for each of the 2 samples, or one for all, got 3"),
        (
            [0, 4],
            (8,),
            r"left, right are for maps with 1 spatial axes, but a layer has a map with 2: \[2",
        ),
    ],
)
def test_windows_that_do_not_fit_the_maps(layer, boxes, size, words):
    with pytest.raises(ValueError, match=words), pcc.window(boxes, size):
        layer(paddle.zeros([2, 1, 4, 4]))


def test_a_model_without_coordinates():
    words = "window: no CoordConv or AddCoords asked for its coordinates"
    with pytest.raises(ValueError, match=words), pcc.window([0, 0, 4, 4], (8, 8)):
        nn.Conv2D(3, 4, 3)(paddle.zeros([1, 3, 4, 4]))
