"""What the layers promise: the concatenated convolution exactly, Paddle's manners, and errors in words."""

import copy
import inspect
import pickle
import tempfile
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from conftest import COORDS_OF_ALL_OPERATORS, different_coords, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle import nn
from paddle.static import InputSpec

import ppcoordconv as pcc
from ppcoordconv import forms, functional, offset
from ppcoordconv.convert.to_deploy import DeployedCoordConv

COORDS_FIRST = pcc.Coords(coords_first=True)


FAMILY = {
    "CoordConv1D": (pcc.CoordConv1D, 1, F.conv1d),
    "CoordConv2D": (pcc.CoordConv2D, 2, F.conv2d),
    "CoordConv3D": (pcc.CoordConv3D, 3, F.conv3d),
    "CoordConv1DTranspose": (pcc.CoordConv1DTranspose, 1, F.conv1d_transpose),
    "CoordConv2DTranspose": (pcc.CoordConv2DTranspose, 2, F.conv2d_transpose),
    "CoordConv3DTranspose": (pcc.CoordConv3DTranspose, 3, F.conv3d_transpose),
}


def to_channels_first(x):
    return x.transpose([0, x.ndim - 1, *range(1, x.ndim - 1)])


def to_channels_last(x):
    return x.transpose([0, *range(2, x.ndim), 1])


def concatenated(layer, x, function, configuration, output_size=None, grid=None):
    """The same convolution written out: every group's features followed (or led) by the grid, the map's or another."""
    data_format, groups, coords = (configuration[key] for key in ("data_format", "groups", "coords"))
    x = to_channels_first(x) if data_format.endswith("C") else x
    if grid is None:
        grid = pcc.coord_grid(list(x.shape[2:]), coords, configuration["with_r"], x.dtype)
    grid = grid.expand([x.shape[0]] + [-1] * (x.ndim - 1))
    parts = []
    for features in x.split(groups, axis=1):
        parts += [grid, features] if layer.conv.coords_first else [features, grid]
    x = paddle.concat(parts, axis=1)
    options = {key: configuration[key] for key in ("stride", "padding", "dilation", "groups")}
    padding = options["padding"]
    if configuration.get("padding_mode", "zeros") != "zeros":
        x = F.pad(x, [padding] * (2 * (x.ndim - 2)), mode=configuration["padding_mode"], data_format=FIRST[x.ndim])
        options["padding"] = 0
    elif isinstance(padding, list) and isinstance(padding[0], list):
        channel = 1 if data_format == FIRST[x.ndim] else x.ndim - 1
        options["padding"] = [n for axis, pair in enumerate(padding) if axis not in (0, channel) for n in pair]
    if output_size is not None:
        options["output_size"] = output_size
    elif "output_padding" in configuration:
        options["output_padding"] = configuration["output_padding"]
    y = function(x, layer.conv.weight, layer.conv.bias, **options)
    return to_channels_last(y) if data_format.endswith("C") else y


FIRST = {3: "NCL", 4: "NCHW", 5: "NCDHW"}
LAST = {3: "NLC", 4: "NHWC", 5: "NDHWC"}


def forward_and_gradients(function, x, parameters):
    x = x.detach()
    x.stop_gradient = False
    for parameter in parameters:
        parameter.clear_gradient()
    y = function(x)
    # A loss whose gradient is another number at each place, and positive like x: a sum that cancels to nearly nothing,
    # as a bias gradient may, has no five exact digits in float32, in Paddle's own layers either.
    (y * paddle.to_tensor(positive(y.shape).astype(str(y.dtype)[7:]))).sum().backward()
    return [y.numpy(), x.grad.numpy(), *[p.grad.numpy() for p in parameters]]


def positive(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype("float32")


def assert_same(got, expected, tolerance):
    for a, b in zip(got, expected):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


def sizes(axes, minimum, maximum):
    lists = st.lists(st.integers(minimum, maximum), min_size=axes, max_size=axes)
    return st.one_of(st.integers(minimum, maximum), lists)


def zero_paddings(axes, data_format):
    def pairs(sides):
        spatial = [sides[2 * a : 2 * a + 2] for a in range(axes)]
        return [[0, 0], *spatial, [0, 0]] if data_format.endswith("C") else [[0, 0], [0, 0], *spatial]

    sides = st.lists(st.integers(0, 2), min_size=2 * axes, max_size=2 * axes)
    return st.one_of(sizes(axes, 0, 2), sides, sides.map(pairs), st.sampled_from(["SAME", "VALID", "same"]))


@st.composite
def configurations(draw, name):
    _, axes, _ = FAMILY[name]
    groups = draw(st.integers(1, 3))
    data_format = draw(st.sampled_from([FIRST[axes + 2], LAST[axes + 2]]))
    configuration = {
        "in_channels": groups * draw(st.integers(1, 3)),
        "out_channels": groups * draw(st.integers(1, 3)),
        "kernel_size": draw(sizes(axes, 1, 3)),
        "stride": draw(sizes(axes, 1, 3)),
        "groups": groups,
        "bias_attr": draw(st.sampled_from([None, False])),
        "data_format": data_format,
        "coords": draw(st.sampled_from([*pcc.list_coords(), COORDS_FIRST])),
        "with_r": draw(st.booleans()),
    }
    if "Transpose" in name:
        # Paddle's transposed layers take what leaves an output: here every kernel exceeds the padding.
        configuration["kernel_size"] = draw(sizes(axes, 3, 4))
        configuration["padding"] = draw(sizes(axes, 0, 1))
        strides = configuration["stride"]
        smallest = strides if isinstance(strides, int) else min(strides)
        configuration["output_padding"] = draw(st.integers(0, smallest - 1))
        configuration["dilation"] = 1
    else:
        configuration["padding_mode"] = draw(st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]))
        zeros = configuration["padding_mode"] == "zeros"
        configuration["padding"] = draw(zero_paddings(axes, data_format) if zeros else st.integers(0, 2))
        # Paddle has "SAME" for dilation 1 only.
        configuration["dilation"] = 1 if isinstance(configuration["padding"], str) else draw(sizes(axes, 1, 2))
    return configuration


def drawn_layer(data, name):
    """A layer, an input ``x`` in float32, and what the concatenation gives for it, forward and gradients, in float64.

    In float64, because Paddle adds the bias's gradient up one by one, which costs it a digit on large maps.
    """
    build, axes, function = FAMILY[name]
    configuration = data.draw(configurations(name))
    spatial = data.draw(st.lists(st.integers(5, 8), min_size=axes, max_size=axes))
    batch, channels = data.draw(st.integers(1, 3)), configuration["in_channels"]
    layer = build(**configuration)
    last = configuration["data_format"].endswith("C")
    x = positive([batch, *spatial, channels] if last else [batch, channels, *spatial], seed=1)
    exact = copy.deepcopy(layer)
    exact.to(dtype="float64")
    expected = forward_and_gradients(
        lambda x: concatenated(exact, x, function, configuration),
        paddle.to_tensor(x.astype("float64")),
        exact.parameters(),
    )
    return layer, paddle.to_tensor(x), expected


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=examples(120))
@given(st.data())
def test_equals_the_concatenated_convolution(name, data):
    layer, x, expected = drawn_layer(data, name)
    dtype, tolerance = data.draw(st.sampled_from([("float32", 1e-5), ("float64", 1e-10)]))
    layer.to(dtype=dtype)
    assert_same(forward_and_gradients(layer, x.astype(dtype), layer.parameters()), expected, tolerance)


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=examples(8))
@given(st.data())
def test_equals_it_when_traced_and_when_saved(name, data):
    layer, x, expected = drawn_layer(data, name)
    if data.draw(st.booleans()):
        layer.convert_to_deploy()
    spec = [InputSpec([None, *x.shape[1:]], "float32", "x")]
    static = paddle.jit.to_static(layer, input_spec=spec, full_graph=True)
    assert_same(forward_and_gradients(static, x, layer.parameters()), expected, 1e-5)
    with tempfile.TemporaryDirectory() as folder:
        layer.eval()
        paddle.jit.save(static, f"{folder}/layer")
        assert_same([paddle.jit.load(f"{folder}/layer")(x).numpy()], expected[:1], 1e-5)


@pytest.mark.parametrize("name", [name for name in FAMILY if "Transpose" in name])
def test_output_size(name):
    build, axes, function = FAMILY[name]
    configuration = {"stride": 2, "padding": 1, "dilation": 1, "groups": 2, "data_format": FIRST[axes + 2]}
    configuration.update(coords="paddle", with_r=True)
    layer = build(4, 6, 3, **configuration)
    x = paddle.randn([2, 4, *[5] * axes])
    y = layer(x, output_size=[10] * axes)
    assert list(y.shape) == [2, 6, *[10] * axes]
    assert_same([y.numpy()], [concatenated(layer, x, function, configuration, [10] * axes).numpy()], 1e-5)


@pytest.mark.parametrize("gradients", [True, False])
def test_what_is_kept_for_one_size_is_not_taken_for_another(gradients):
    """The same map with another batch, and with another ``output_size``."""
    layer = pcc.CoordConv2DTranspose(2, 3, 3, stride=2, padding=1)
    layer.eval()
    with paddle.no_grad() if not gradients else paddle.enable_grad():
        for batch, size in ((5, 15), (2, 15), (5, 16), (5, 15)):
            x = paddle.randn([batch, 2, 8, 8])
            grid = pcc.coord_grid([8, 8]).expand([batch, -1, -1, -1])
            weights, options = (layer.conv.weight, layer.conv.bias), {"stride": 2, "padding": 1}
            expected = F.conv2d_transpose(paddle.concat([x, grid], axis=1), *weights, output_size=[size] * 2, **options)
            assert_same([layer(x, output_size=[size] * 2).numpy()], [expected.numpy()], 1e-5)


def test_depthwise():
    configuration = {"stride": 1, "padding": 1, "dilation": 1, "groups": 4, "data_format": "NCHW"}
    configuration.update(coords="paddle", with_r=False)
    layer = pcc.CoordConv(4, 8, 3, **configuration)
    assert list(layer.conv.weight.shape) == [8, 3, 3, 3]
    x = paddle.randn([2, 4, 5, 6])
    assert_same([layer(x).numpy()], [concatenated(layer, x, F.conv2d, configuration).numpy()], 1e-5)


@pytest.mark.parametrize("size", [3, 20], ids=["the weight outweighs the map", "the map the weight"])
def test_twice_differentiable(size):
    """A gradient penalty goes through the layer as through Paddle's own."""
    layer = pcc.CoordConv(2, 3, 3).to(dtype="float64")
    weight, bias = layer.conv.weight, layer.conv.bias
    grid = pcc.coord_grid([size, size], dtype="float64")
    values = paddle.randn([2, 2, size, size], "float64")

    def penalised(function):
        x = values.detach()
        x.stop_gradient = False
        weight.clear_gradient()
        (gradient,) = paddle.grad([(function(x) ** 3).sum()], [x], create_graph=True)
        (gradient**2).sum().backward()
        return x.grad.numpy(), weight.grad.numpy()

    # Paddle's concat has no second gradient here.
    expected = penalised(lambda x: F.conv2d(x, weight[:, :2], bias) + F.conv2d(grid, weight[:, 2:]))
    for actual, wanted in zip(penalised(layer), expected):
        np.testing.assert_allclose(actual, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [3, 20], ids=["the weight outweighs the map", "the map the weight"])
@pytest.mark.parametrize("batch", [1, 5])
def test_in_eval_as_in_training(monkeypatch, size, batch):
    monkeypatch.setattr(offset, "BLOCK", 2 * 3 * size * size)  # two samples at once
    layer = pcc.CoordConv(2, 3, 3, padding=1, coords=COORDS_FIRST)
    x = paddle.randn([batch, 2, size, size])
    expected = layer(x).numpy()
    layer.eval()
    with paddle.no_grad():
        for _ in range(2):
            np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [3, 20], ids=["the weight outweighs the map", "the map the weight"])
def test_a_frozen_layer_asks_for_no_gradient(size):
    layer = pcc.CoordConv(2, 3, 3, padding=1)
    for parameter in layer.parameters():
        parameter.stop_gradient = True
    x = paddle.randn([2, 2, size, size])
    assert layer(x).stop_gradient
    layer.conv.bias.stop_gradient = False
    layer(x).sum().backward()
    np.testing.assert_allclose(layer.conv.bias.grad.numpy(), 2 * size * size, rtol=1e-5)


class TestTheOffsetWithoutGradients:
    """It is computed once for each size, and never stale."""

    @pytest.fixture
    def layer(self):
        return pcc.CoordConv(2, 3, 3, padding=1)

    def run(self, layer, size=5, dtype="float32"):
        x = paddle.ones([4, 2, size, size], dtype)
        with paddle.no_grad():
            got = layer(x)
        expected = F.conv2d(
            paddle.concat([x, pcc.coord_grid([size, size], dtype=dtype).expand([4, -1, -1, -1])], axis=1),
            layer.conv.weight, layer.conv.bias, padding=1,
        )  # fmt: skip
        assert_same([got.numpy()], [expected.numpy()], 1e-5)

    def test_it_is_computed_once(self, layer, monkeypatch):
        computed = []
        repeat = forms.repeat_offset
        monkeypatch.setattr(forms, "repeat_offset", lambda *a: computed.append(1) or repeat(*a))
        for _ in range(3):
            self.run(layer)
        assert len(computed) == 1
        self.run(layer, size=6)
        assert len(computed) == 2

    @pytest.mark.parametrize(
        "change",
        [
            lambda layer: layer.conv.weight.set_value(layer.conv.weight * 2),
            lambda layer: layer.conv.bias.set_value(layer.conv.bias + 1),
            lambda layer: layer.set_state_dict({k: v * 3 for k, v in layer.state_dict().items()}),
            lambda layer: step(layer),
            lambda layer: layer.train(),
            lambda layer: layer.eval(),
        ],
        ids=["weight in place", "bias in place", "loaded", "a step of an optimizer", "to training", "to eval"],
    )
    def test_it_is_never_stale(self, layer, change):
        self.run(layer)
        change(layer)
        self.run(layer)

    def test_cast(self, layer):
        self.run(layer)
        layer.to(dtype="float64")
        self.run(layer, dtype="float64")


def step(layer):
    optimizer = paddle.optimizer.SGD(0.5, parameters=layer.parameters())
    layer(paddle.ones([1, 2, 5, 5])).sum().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("groups", "with_r", "bias", "shape"),
    [
        (1, False, None, [6, 6, 3, 3]),
        (1, True, None, [6, 7, 3, 3]),
        (2, False, False, [6, 4, 3, 3]),
        (4, True, None, [8, 4, 3, 3]),
    ],
)
def test_state_dict_is_the_concatenated_convolutions(groups, with_r, bias, shape):
    layer = pcc.CoordConv(4, shape[0], 3, groups=groups, bias_attr=bias, with_r=with_r)
    shapes = {key: list(value.shape) for key, value in layer.state_dict().items()}
    assert shapes == {"conv.weight": shape, **({"conv.bias": [shape[0]]} if bias is None else {})}


def test_the_name_alone_makes_a_conv2d_a_coordconv():
    assert pcc.CoordConv2D is pcc.CoordConv
    layer = pcc.CoordConv(4, 8, 3, 2, 1, 1, 2, "reflect", nn.initializer.Constant(0.5), False, "NHWC")
    assert layer.conv.bias is None
    assert (layer.conv.weight == 0.5).all().item()
    assert list(layer(paddle.zeros([1, 6, 7, 4])).shape) == [1, 3, 4, 8]


def test_maps_of_size_one():
    """The only place of an axis is its middle, whose coordinate and radius are 0."""
    layer = pcc.CoordConv(2, 3, 1, with_r=True)
    x = paddle.ones([1, 2, 1, 1])
    expected = F.conv2d(x, layer.conv.weight[:, :2], layer.conv.bias)
    np.testing.assert_allclose(layer(x).numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_coordinates_are_rounded_once(monkeypatch, dtype):
    """A kernel that takes the difference of neighbouring columns gives 2/(n-1) to one rounding on a wide map.

    The CPU lacks half-precision convolution and addition; these compute in float32 what a GPU computes, and round.
    """

    def rounding_once(operation):
        def rounded(x, other, *rest, **options):
            assert x.dtype == other.dtype
            wide = [t.astype("float32") if isinstance(t, paddle.Tensor) else t for t in (x, other, *rest)]
            return operation(*wide, **options).astype(x.dtype)

        return rounded

    monkeypatch.setitem(forms.CONV, (2, False), rounding_once(F.conv2d))
    monkeypatch.setattr(paddle, "add", rounding_once(paddle.add))
    n = 1001
    layer = pcc.CoordConv(1, 1, [1, 2])
    layer.conv.weight.set_value(paddle.to_tensor([[[[0.0, 0.0]], [[-1.0, 1.0]], [[0.0, 0.0]]]]))
    layer.to(dtype=dtype)
    x, weights = paddle.zeros([1, 1, 1, n], dtype), (layer.conv.weight, layer.conv.bias)
    y = functional.coord_conv(x, pcc.coord_grid([1, n]), *weights, form="broadcast")
    assert y.dtype == getattr(paddle, dtype)
    steps = y.astype("float32").numpy()
    eps = {"float16": 2**-11, "bfloat16": 2**-8}[dtype]
    np.testing.assert_allclose(steps, 2 / (n - 1), rtol=eps + 1e-4)  # the float32 grid's own rounding beside it
    rounded_first = pcc.coord_grid([1, n], dtype=dtype)[0, 0, 0].astype("float32").numpy()
    assert np.abs(np.diff(rounded_first) - 2 / (n - 1)).max() > 0.2 * 2 / (n - 1)


def test_under_amp():
    layer = pcc.CoordConv(3, 4, 3, padding=1)
    x = paddle.randn([2, 3, 5, 7])
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        y = layer(x)
    np.testing.assert_allclose(y.astype("float32").numpy(), layer(x).numpy(), rtol=0.05, atol=0.05)


class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(pcc.CoordConv(3, 4, 3, padding=1, with_r=True), nn.ReLU(), pcc.CoordConv(4, 2, 1))

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("full_graph", [True, False])
def test_to_static(full_graph):
    net = Net()
    x = paddle.randn([2, 3, 5, 7])
    expected = forward_and_gradients(net, x, net.parameters())
    static = paddle.jit.to_static(net, full_graph=full_graph)
    assert_same(forward_and_gradients(static, x, net.parameters()), expected, 1e-5)
    for size in (5, 6, 7, 8, 8, 9):  # bytecode is traced anew where sizes change
        x = paddle.randn([2, 3, size, size])
        assert_same([static(x).numpy()], [net(x).numpy()], 1e-5)


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "dynamic"])
def test_saved_with_any_size(data_format, fixed):
    layer = pcc.CoordConv(3, 4, 3, stride=2, padding=1, with_r=True, data_format=data_format)
    layer.eval()
    sizes = [5, 7] if fixed else [None, None]
    shape = [None, 3, *sizes] if data_format == "NCHW" else [None, *sizes, 3]
    with tempfile.TemporaryDirectory() as folder:
        static = paddle.jit.to_static(layer, input_spec=[InputSpec(shape, "float32", "x")], full_graph=True)
        paddle.jit.save(static, f"{folder}/layer")
        loaded = paddle.jit.load(f"{folder}/layer")
        for height, width in [(5, 7)] if fixed else [(5, 7), (1, 9), (6, 1)]:
            x = paddle.randn([2, 3, height, width] if data_format == "NCHW" else [2, height, width, 3])
            assert_same([loaded(x).numpy()], [layer(x).numpy()], 1e-5)


class Stack(nn.Sequential):
    """Paddle 2.6 traces what a subclass inherits from its own containers as it stands."""


@pytest.mark.parametrize(
    "build",
    [
        lambda: Stack(pcc.CoordConv(3, 4, 3, padding=1, with_r=True), nn.ReLU()),
        lambda: pcc.CoordConvNormActivation(3, 4, activation_layer=nn.Silu),
        lambda: Stack(pcc.AddCoords(), nn.Conv2D(5, 4, 1)),
    ],
    ids=["CoordConv", "CoordConvNormActivation", "AddCoords"],
)
def test_saved_in_a_subclass_of_sequential(tmp_path, build):
    network = build()
    network.eval()
    inputs = [paddle.randn([2, 3, height, width]) for height, width in ((5, 7), (1, 9))]
    expected = [network(x).numpy() for x in inputs]
    spec = [InputSpec([None, 3, None, None], "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(network, input_spec=spec, full_graph=True), str(tmp_path / "stack"))
    for x, y in zip(inputs, expected):
        assert_same([paddle.jit.load(str(tmp_path / "stack"))(x).numpy()], [y], 1e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_converted_to_deploy(tmp_path, groups, data_format):
    """What it computes is the same, its state dict is, and it can still be trained."""
    options = {"groups": groups, "coords": COORDS_FIRST, "with_r": True, "data_format": data_format}
    layer = pcc.CoordConv(4, 6, 3, padding=1, **options)
    shapes = [[2, 4, 5, 7], [1, 4, 6, 1]] if data_format == "NCHW" else [[2, 5, 7, 4], [1, 6, 1, 4]]
    inputs = [paddle.randn(shape) for shape in shapes]
    expected = [layer(x).numpy() for x in inputs]
    keys = set(layer.state_dict())
    for _ in range(2):
        layer.convert_to_deploy()
        assert set(layer.state_dict()) == keys
    assert layer(inputs[0]).numpy().tolist() == expected[0].tolist()
    layer(inputs[0]).sum().backward()
    assert layer.conv.weight.grad is not None
    layer.eval()
    for sizes, seen in ((shapes[0][1:], inputs[:1]), ([None if n != 4 else 4 for n in shapes[0][1:]], inputs)):
        spec = [InputSpec([None, *sizes], "float32", "x")]
        path = str(tmp_path / f"layer{len(seen)}")
        paddle.jit.save(paddle.jit.to_static(copy.deepcopy(layer), input_spec=spec, full_graph=True), path)
        for x, y in zip(seen, expected):
            assert_same([paddle.jit.load(path)(x).numpy()], [y], 1e-5)


class AllConventions(paddle.nn.Layer):
    def __init__(self, names):
        super().__init__()
        layers = [pcc.CoordConv(3, 4, 3, padding=1, coords=coords, with_r=True) for coords in names]
        self.layers = paddle.nn.LayerList(layers)

    def forward(self, x):
        return paddle.concat([layer(x) for layer in self.layers], axis=1)


@pytest.mark.parametrize(
    ("form", "deployed"), [("paddle", True), ("paddle", False), ("legacy", True), ("legacy", False), ("onnx", True)]
)
def test_every_convention_is_exported_for_any_size(tmp_path, form, deployed):
    from ppcoordconv.deploy.formats import FORMATS, deploy_form
    from ppcoordconv.deploy.runtimes import ENGINES, Settings

    if form == "onnx":
        pytest.importorskip("paddle2onnx")
    # Paddle2ONNX takes seconds for each layer whose size is free.
    network = AllConventions(COORDS_OF_ALL_OPERATORS if form == "onnx" else different_coords())
    network.eval()
    untraced = copy.deepcopy(network)
    if deployed:
        network = deploy_form(network, form)
        assert all(type(layer) is DeployedCoordConv for layer in network.layers)
    model, *_ = FORMATS[form](network, [InputSpec([None, 3, None, None], "float32", "x")], tmp_path)
    checked = {"paddle": paddle.__version__, "onednn": True, "bf16": False}
    inputs = [{"name": "x", "shape": [3, None, None]}]
    description = {"model_file": model, "inputs": inputs, "precision": "fp32", "checked": checked}
    description["input_shape"] = inputs[0]["shape"]
    run = ENGINES[Path(model).suffix](tmp_path, description, Settings(cpu_threads=1, onednn=True)).runner()
    for shape in ([2, 3, 5, 7], [1, 3, 1, 4]):
        x = paddle.randn(shape)
        for got, expected in zip(
            np.split(run(x.numpy())[0], len(network.layers), axis=1),
            np.split(untraced(x).numpy(), len(network.layers), axis=1),
        ):
            assert_same([got], [expected], 1e-5)


def test_behaves_as_a_layer():
    layer = pcc.CoordConv(3, 4, 3)
    x = paddle.randn([1, 3, 5, 5])
    calls = []
    layer.register_forward_post_hook(lambda *_: calls.append("layer"))
    layer.conv.register_forward_post_hook(lambda *_: calls.append("conv"))
    y = layer(x)
    assert calls == ["conv", "layer"]
    assert (copy.deepcopy(layer)(x) == y).all().item()
    assert [name for name, _ in layer.named_parameters()] == ["conv.weight", "conv.bias"]
    assert "coords='paddle'" in repr(layer)
    nn.utils.weight_norm(layer.conv)
    assert_same([layer(x).numpy()], [y.numpy()], 1e-5)
    assert set(dict(layer.named_parameters())) == {"conv.weight_g", "conv.weight_v", "conv.bias"}


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_what_looks_for_the_weight_is_told_where_it_is(norm):
    layer = pcc.CoordConv(3, 4, 3)
    for one in (layer, copy.deepcopy(layer)):
        with pytest.raises(KeyError, match="weight: the parameters of a CoordConv are those of .*, layer.conv"):
            norm(one)
        with pytest.raises(AttributeError, match="CoordConv has its bias in its inner convolution: layer.conv.bias"):
            _ = one.bias
    assert not hasattr(layer, "weight")
    with pytest.raises(AttributeError, match="nothing"):
        _ = layer.nothing
    norm(layer.conv)


def test_spectral_norm_and_cast():
    layer = pcc.CoordConv(3, 4, 3)
    nn.utils.spectral_norm(layer.conv, n_power_iterations=300)
    layer(paddle.randn([1, 3, 5, 5]))
    largest = np.linalg.svd(layer.conv.weight.numpy().reshape(4, -1), compute_uv=False)[0]
    assert largest == pytest.approx(1, rel=1e-3)
    cast = pcc.CoordConv(3, 4, 3)
    cast.to(dtype="float64")
    assert cast(paddle.randn([1, 3, 5, 5]).astype("float64")).dtype == paddle.float64


def test_under_paddle_model():
    paddle.seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal([32, 1, 6, 6]).astype("float32")
    # Where the grid's x is weighed by the picture: nothing that a plain convolution and a mean could know.
    y = (x[:, 0] * np.linspace(-1, 1, 6)).mean((1, 2), keepdims=True)[:, 0].astype("float32")
    network = nn.Sequential(
        pcc.CoordConv(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(8, 1)
    )
    written_out = nn.Sequential(pcc.AddCoords(), nn.Conv2D(3, 8, 3, padding=1), *list(copy.deepcopy(network))[1:])
    for parameter, same in zip(written_out.parameters(), network.parameters()):
        parameter.set_value(same)
    models = [paddle.Model(net) for net in (network, written_out)]
    for model in models:
        model.prepare(paddle.optimizer.Adam(0.02, parameters=model.network.parameters()), nn.MSELoss())
    losses, same_losses = ([model.train_batch([x], [y])[0] for _ in range(60)] for model in models)
    np.testing.assert_allclose(losses[:10], same_losses[:10], rtol=1e-4)
    model = models[0]
    assert np.asarray(losses[-1]).item() < 0.5 * np.asarray(losses[0]).item()
    (predicted,) = model.predict_batch([x])
    np.testing.assert_allclose(predicted, network(paddle.to_tensor(x)).numpy(), atol=1e-5)


def test_in_data_parallel():
    layer = pcc.CoordConv(3, 4, 3)
    x = paddle.randn([2, 3, 5, 5])
    expected = forward_and_gradients(layer, x, layer.parameters())
    assert_same(forward_and_gradients(paddle.DataParallel(layer), x, layer.parameters()), expected, 1e-6)


def test_pickled_where_paddle_pickles_layers():
    try:
        pickle.dumps(nn.Conv2D(1, 1, 1))
    except TypeError:
        pytest.skip("this Paddle pickles no layer that has parameters")
    layer, x = pcc.CoordConv(3, 4, 3), paddle.randn([1, 3, 5, 5])
    y = layer(x)
    assert (pickle.loads(pickle.dumps(layer))(x) == y).all().item()


def test_summary_counts_the_parameters(capsys):
    assert paddle.summary(nn.Sequential(pcc.CoordConv(3, 4, 3)), (1, 3, 5, 5))["total_params"] == 4 * 5 * 9 + 4


def test_the_convention_can_be_pickled():
    for name in pcc.list_coords():
        convention = pcc.coords.find_coords(name)
        assert pickle.loads(pickle.dumps(convention)) == convention


@pytest.mark.parametrize("shape", [[2, 3, 4], [2, 3, 4, 5], [2, 3, 4, 5, 6]])
@pytest.mark.parametrize("coords", ["paddle", COORDS_FIRST], ids=["after", "before"])
def test_add_coords(shape, coords):
    x = paddle.randn(shape)
    y = pcc.AddCoords(coords, with_r=True, data_format=FIRST[x.ndim])(x)
    assert repr(pcc.AddCoords("uber", with_r=True)) == "AddCoords(coords='uber', with_r=True, data_format=None)"
    grid = pcc.coord_grid(shape[2:], coords, with_r=True).expand([2, -1, *shape[2:]])
    expected = paddle.concat([grid, x] if coords is COORDS_FIRST else [x, grid], axis=1)
    assert (y == expected).all().item()
    last = {3: "NLC", 4: "NHWC", 5: "NDHWC"}[len(shape)]
    to_last = [0, *range(2, len(shape)), 1]
    y = pcc.AddCoords(coords, with_r=True, data_format=last)(x.transpose(to_last))
    assert (y == expected.transpose(to_last)).all().item()


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"in_channels": 0}, ValueError, "in_channels: expected a positive int, got 0"),
        ({"in_channels": "3"}, TypeError, "in_channels"),
        ({"in_channels": [3]}, TypeError, "in_channels"),
        ({"in_channels": True}, TypeError, "in_channels"),
        ({"out_channels": -4}, ValueError, "out_channels"),
        ({"out_channels": 4.0}, TypeError, "out_channels"),
        ({"kernel_size": 0}, ValueError, "kernel_size"),
        ({"kernel_size": [3, 3, 3]}, ValueError, "kernel_size: expected a positive int or a list of 2"),
        ({"kernel_size": "3"}, TypeError, "kernel_size"),
        ({"kernel_size": None}, TypeError, "kernel_size"),
        ({"stride": 0}, ValueError, "stride"),
        ({"stride": [1]}, ValueError, "stride"),
        ({"dilation": 1.5}, TypeError, "dilation"),
        ({"padding": -1}, ValueError, "padding"),
        ({"padding": "FULL"}, ValueError, "padding: expected one of"),
        ({"padding": [1, 1, 1]}, ValueError, "padding"),
        ({"padding": [[0, 0], [0, 0], [1, 1]]}, TypeError, "padding"),
        ({"padding": [[1, 1], [0, 0], [1, 1], [0, 0]]}, ValueError, "padding"),
        ({"padding": [1, 1], "padding_mode": "reflect"}, TypeError, "padding: expected an int"),
        ({"padding_mode": "mirror"}, ValueError, "padding_mode: expected one of"),
        ({"padding_mode": None}, ValueError, "padding_mode"),
        ({"groups": 2}, ValueError, "in_channels: expected a multiple of groups=2, got 3"),
        ({"groups": 3}, ValueError, "out_channels: expected a multiple of groups=3, got 4"),
        ({"groups": 0}, ValueError, "groups"),
        ({"data_format": "NCL"}, ValueError, "data_format: expected one of"),
        ({"data_format": 4}, TypeError, "data_format"),
        ({"weight_attr": False}, ValueError, "weight_attr"),
        ({"coords": "padle"}, ValueError, "did you mean 'paddle'"),
        ({"coords": None}, TypeError, "coords"),
        ({"with_r": 1}, TypeError, "with_r: expected True or False"),
    ],
)
def test_wrong_arguments(changed, error, words):
    with pytest.raises(error, match=words):
        pcc.CoordConv(**{"in_channels": 3, "out_channels": 4, "kernel_size": 3, **changed})


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        (paddle.zeros([2, 3, 5]), ValueError, "must have 4 axes, got 3"),
        (paddle.zeros([2, 3, 5, 5, 5]), ValueError, "must have 4 axes, got 5"),
        (paddle.zeros([2, 5, 5, 5]), ValueError, "in_channels=3, but the input .* has 5 channels .*not counted"),
        (paddle.zeros([2, 3, 5, 5], "int64"), TypeError, "must be floating, got int64"),
        (paddle.zeros([2, 3, 5, 5], "float64"), TypeError, "the input is float64, the weights are float32"),
        (paddle.zeros([2, 3, 5, 5], "float16"), TypeError, "the input is float16, the weights are float32"),
        (np.zeros([2, 3, 5, 5], "float32"), TypeError, "must be a Tensor, got ndarray"),
    ],
)
def test_wrong_inputs(x, error, words):
    with pytest.raises(error, match=words):
        pcc.CoordConv(3, 4, 3)(x)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: pcc.AddCoords(data_format="NCWH"), "data_format: expected one of"),
        (lambda: pcc.AddCoords(with_r="yes"), "with_r: expected True or False"),
        (lambda: pcc.AddCoords("padle"), "did you mean"),
        (lambda: pcc.AddCoords()(paddle.zeros([2, 3])), "must have 4 or 5 axes, got 2"),
        (lambda: pcc.AddCoords(data_format="NHWC")(paddle.zeros([2, 3, 4])), "must have 4 axes"),
        (lambda: pcc.AddCoords()(paddle.zeros([2, 3, 4, 4], "int32")), "must be floating"),
        (
            lambda: pcc.AddCoords()(paddle.zeros([2, 3, 4])),
            r"\[2, 3, 4\], is \[N, C, L\] or \[C, H, W\]; for the first",
        ),
    ],
)
def test_add_coords_wrong(build, words):
    with pytest.raises((TypeError, ValueError), match=words):
        build()


@pytest.mark.skipif(not paddle.is_compiled_with_cuda() or paddle.device.cuda.device_count() == 0, reason="no GPU")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_on_a_gpu(dtype):
    layer = pcc.CoordConv(1, 1, [1, 2])
    layer.conv.weight.set_value(paddle.to_tensor([[[[0.0, 0.0]], [[-1.0, 1.0]], [[0.0, 0.0]]]]))
    layer.to(dtype=dtype)
    y = layer(paddle.zeros([1, 1, 1, 1001], dtype).cuda())
    assert y.place.is_gpu_place()
    np.testing.assert_allclose(y.astype("float32").numpy(), 2 / 1000, rtol=2**-10)


@pytest.mark.parametrize("name", FAMILY)
def test_what_is_not_given_is_as_in_paddles_layer(name):
    own = inspect.signature(FAMILY[name][0].__init__).parameters
    plain = inspect.signature(getattr(nn, name.replace("Coord", ""))).parameters
    shared = [key for key in own if key in plain and own[key].default is not inspect.Parameter.empty]
    assert {"stride", "padding", "dilation", "groups", "bias_attr", "data_format"} <= set(shared)
    assert {key: own[key].default for key in shared} == {key: plain[key].default for key in shared}


@pytest.mark.parametrize("groups", [1, 2])
def test_flops_and_parameters_are_those_of_the_concatenation(groups, capsys):
    """``2 * 4 * 5 * 7`` outputs, for each the kernel over its features and two coordinates, and the bias."""
    layer = pcc.CoordConv(6, 4, [3, 1], padding=[1, 0], groups=groups)
    features = 6 // groups
    assert paddle.flops(layer, [2, 6, 5, 7]) == 2 * 4 * 5 * 7 * ((features + 2) * 3 + 1)
    assert paddle.summary(layer, (2, 6, 5, 7))["total_params"] == 4 * (features + 2) * 3 + 4
    capsys.readouterr()


def test_flops_of_every_layer():
    for name, (build, rank, _) in FAMILY.items():
        layer = build(3, 5, 1, bias_attr=False)
        assert paddle.flops(layer, [2, 3, *range(4, 4 + rank)]) == 2 * 5 * np.prod(range(4, 4 + rank)) * (3 + rank), (
            name
        )
