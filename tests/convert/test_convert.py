"""CoordConv in models that exist: outputs unchanged, then trainable; what matches, what doesn't."""

from collections import OrderedDict, namedtuple

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.vision import models as vision

import ppcoordconv as pcc


def settled(build):
    """A network with weights of a trained one's scale, and batch norms that have seen data."""
    paddle.seed(0)
    network = build(num_classes=10)
    network.train()
    with paddle.no_grad():
        for _ in range(2):
            network(paddle.randn([4, 3, 64, 64]))
    network.eval()
    return network


VISION = [vision.resnet18, vision.mobilenet_v2, vision.vgg11, vision.shufflenet_v2_x0_5]


@pytest.mark.parametrize("build", VISION, ids=lambda build: build.__name__)
@pytest.mark.parametrize("match", [None, "all"])
@pytest.mark.parametrize("coords", ["paddle", "wizaron"])
def test_outputs_do_not_change_and_then_it_trains(build, match, coords):
    network = settled(build)
    x = paddle.randn([2, 3, 64, 64])
    with paddle.no_grad():
        before = network(x).numpy()
        assert pcc.convert_to_coordconv(network, match, coords=coords, with_r=True) is network
        after = network(x).numpy()
    assert np.abs(after - before).max() <= 1e-6 * max(1, np.abs(before).max())
    converted = [layer for layer in network.sublayers() if isinstance(layer, pcc.CoordConv)]
    assert len(converted) == 1 if match is None else len(converted) > 5
    assert all(usage.total == 0 for usage in pcc.coord_usage(network).values())
    optimizer = paddle.optimizer.SGD(0.01, parameters=network.parameters())
    network(x).square().mean().backward()
    optimizer.step()
    assert all(usage.total > 0 for usage in pcc.coord_usage(network).values())


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.Conv1D(4, 6, 3, padding=1, groups=2), [2, 4, 7]),
        (lambda: nn.Conv2D(4, 6, [3, 2], stride=2, padding="SAME", bias_attr=False, data_format="NHWC"), [2, 7, 6, 4]),
        (lambda: nn.Conv2D(4, 4, 3, padding=2, groups=4, padding_mode="reflect"), [2, 4, 7, 6]),
        (lambda: nn.Conv3D(2, 3, 2, dilation=2), [1, 2, 5, 6, 7]),
        (lambda: nn.Conv1DTranspose(4, 6, 3, stride=2, output_padding=1, groups=2), [2, 4, 7]),
        (lambda: nn.Conv2DTranspose(4, 6, 3, stride=2, padding=1, groups=2, data_format="NHWC"), [2, 5, 6, 4]),
        (lambda: nn.Conv3DTranspose(2, 4, 2, stride=2), [1, 2, 3, 4, 5]),
    ],
)
@pytest.mark.parametrize("coords", ["paddle", "wizaron"])
def test_every_kind_of_convolution(build, shape, coords):
    layer = build()
    x = paddle.randn(shape)
    converted = pcc.convert_to_coordconv(layer, coords=coords)
    assert type(converted).__name__.startswith("CoordConv")
    np.testing.assert_allclose(converted(x).numpy(), layer(x).numpy(), atol=1e-6)


@pytest.fixture
def network():
    shared = nn.Conv2D(8, 8, 1)
    return nn.Sequential(
        ("stem", nn.Sequential(("conv", nn.Conv2D(3, 8, 3)), ("act", nn.ReLU()))),
        ("body", nn.Sequential(("conv1", shared), ("conv2", shared))),
        ("head", nn.Conv2D(8, 2, 1, bias_attr=False)),
    )


def converted_names(network):
    return [name for name, layer in network.named_sublayers() if isinstance(layer, pcc.CoordConv)]


@pytest.mark.parametrize(
    ("match", "names"),
    [
        (None, ["stem.conv"]),
        ("all", ["stem.conv", "body.conv1", "head"]),
        ("body.*", ["body.conv1"]),
        ("*conv*", ["stem.conv", "body.conv1"]),
        (lambda name, layer: layer._out_channels == 2, ["head"]),
    ],
)
def test_match(network, match, names):
    pcc.convert_to_coordconv(network, match)
    assert converted_names(network) == names


def test_a_layer_in_two_places_stays_one(network):
    pcc.convert_to_coordconv(network, "all")
    assert network.body.conv1 is network.body.conv2


def test_converting_twice_converts_nothing_twice(network):
    pcc.convert_to_coordconv(network, "all")
    with pytest.raises(ValueError, match="all are CoordConv already"):
        pcc.convert_to_coordconv(network, "all")


def test_what_was_set_on_the_parameters_stays(network):
    network.stem.conv.weight.stop_gradient = True
    network.stem.eval()
    network.head.to(dtype="float64")
    pcc.convert_to_coordconv(network, "all")
    assert network.stem.conv.conv.weight.stop_gradient
    assert not network.stem.conv.conv.bias.stop_gradient
    assert not network.stem.conv.training
    assert network.head.conv.weight.dtype == paddle.float64


@pytest.mark.parametrize(
    ("match", "error", "words"),
    [
        (
            "neck.*",
            ValueError,
            "'neck.*' fits none of the model's convolutions: 'stem.conv', 'body.conv1', 'head'",
        ),
        (lambda name, layer: False, ValueError, "fits none"),
        (3, TypeError, "match takes None, 'all'"),
    ],
)
def test_wrong_matches(network, match, error, words):
    with pytest.raises(error) as caught:
        pcc.convert_to_coordconv(network, match)
    assert words in str(caught.value)
    assert converted_names(network) == []


def test_hooks_are_kept_and_can_be_removed(network):
    """By the handle that they had before."""
    calls = []
    after = network.stem.conv.register_forward_post_hook(lambda layer, inputs, output: calls.append("after"))
    network.stem.conv.register_forward_pre_hook(lambda layer, inputs: calls.append("before"))
    pcc.convert_to_coordconv(network, "stem.*")
    x = paddle.randn([1, 3, 8, 8])
    network.stem.conv(x)
    assert calls == ["before", "after"]
    after.remove()
    network.stem.conv(x)
    assert calls == ["before", "after", "before"]


def test_the_first_is_converted_once(network):
    pcc.convert_to_coordconv(network)
    before = converted_names(network)
    words = "match=None takes the first convolution, and 'stem.conv' is a CoordConv already"
    with pytest.raises(ValueError, match=words):
        pcc.convert_to_coordconv(network)
    assert converted_names(network) == before
    pcc.convert_to_coordconv(network, "head")


def test_wrong_models(network):
    with pytest.raises(TypeError, match="takes a paddle.nn.Layer, got int"):
        pcc.convert_to_coordconv(3)
    with pytest.raises(TypeError, match="takes a paddle.nn.Layer, got int"):
        pcc.coord_usage(3)
    with pytest.raises(ValueError, match="it has none"):
        pcc.convert_to_coordconv(nn.Linear(3, 4))
    nn.utils.weight_norm(network.head)
    with pytest.raises(ValueError, match="is reparameterised"):
        pcc.convert_to_coordconv(network, "head")


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("build", [pcc.CoordConv2D, pcc.CoordConv2DTranspose])
def test_coord_usage(build, groups):
    layer = build(4, 6, 3, groups=groups)
    assert 0 < pcc.coord_usage(layer)[""].total < 1
    layer.conv.weight.set_value(paddle.ones(layer.conv.weight.shape))
    usage = pcc.coord_usage(layer)[""]
    expected = np.sqrt(2 / (2 + 4 / groups))
    assert usage.total == pytest.approx(expected)
    assert usage.per_channel == pytest.approx(np.full(6, expected))
    layer.conv.weight.set_value(paddle.zeros(layer.conv.weight.shape))
    assert pcc.coord_usage(layer)[""].total == 0


def test_coord_usage_tells_channels_apart():
    layer = pcc.CoordConv2DTranspose(4, 6, 1, groups=2)
    weight = np.ones([8, 3, 1, 1], "float32")
    weight[[2, 3], 1] = 0  # the first group's coordinates, for its second output
    layer.conv.weight.set_value(paddle.to_tensor(weight))
    share = np.sqrt(0.5)
    assert pcc.coord_usage(layer)[""].per_channel == pytest.approx([share, 0, share, share, share, share])


class TestNormActivation:
    def test_beside_paddles(self):
        from paddle.vision.ops import ConvNormActivation

        x = paddle.randn([2, 4, 7, 9])
        for options in ({}, {"kernel_size": 5, "dilation": 2, "groups": 2}, {"stride": 2, "norm_layer": None},
                        {"activation_layer": None}, {"padding": 0, "activation_layer": nn.Silu}):  # fmt: skip
            theirs, ours = ConvNormActivation(4, 6, **options), pcc.CoordConvNormActivation(4, 6, **options)
            assert [type(layer).__name__ for layer in ours][1:] == [type(layer).__name__ for layer in theirs][1:]
            assert list(ours(x).shape) == list(theirs(x).shape)
            assert (ours[0].conv.bias is None) == (theirs[0].bias is None)

    def test_is_a_coordconv_with_what_follows(self):
        block = pcc.CoordConvNormActivation(4, 6, coords="solo", with_r=True, bias=True)
        x = paddle.randn([2, 4, 7, 9])
        assert (block(x) == nn.functional.relu(block[1](block[0](x)))).all().item()
        assert list(block[0].conv.weight.shape) == [6, 7, 3, 3]
        assert block[0].conv.bias is not None


class TestPaddledetLegacyToPaddle:
    @pytest.mark.parametrize(
        ("build", "shape"),
        [
            (lambda **c: pcc.CoordConv(4, 6, 1, **c), [2, 4, 5, 7]),
            (lambda **c: pcc.CoordConv(4, 6, 3, stride=2, groups=2, padding="VALID", **c), [2, 4, 5, 7]),
            (
                lambda **c: pcc.CoordConv(4, 6, 3, padding=1, padding_mode="reflect", data_format="NHWC", **c),
                [2, 5, 7, 4],
            ),
            (lambda **c: pcc.CoordConv1D(4, 6, 3, **c), [2, 4, 9]),
            (lambda **c: pcc.CoordConv3D(2, 3, 2, padding=[0, 0, 0], **c), [1, 2, 4, 5, 6]),
        ],
    )
    def test_outputs_do_not_change(self, build, shape):
        layer = build(coords="paddledet_legacy")
        x = paddle.randn(shape)
        before = layer(x).numpy()
        assert pcc.paddledet_legacy_to_paddle(layer) is layer
        np.testing.assert_allclose(layer(x).numpy(), before, atol=2e-6)
        twin = build(coords="paddle")
        twin.set_state_dict(layer.state_dict())
        np.testing.assert_allclose(twin(x).numpy(), before, atol=2e-6)
        with pytest.raises(ValueError, match="takes a layer with coords='paddledet_legacy'"):
            pcc.paddledet_legacy_to_paddle(layer)

    @pytest.mark.parametrize(
        ("layer", "error", "words"),
        [
            (lambda c: pcc.CoordConv(3, 4, 3, padding=1, coords=c), ValueError, "only unpadded convolutions"),
            (lambda c: pcc.CoordConv(3, 4, 3, padding="SAME", coords=c), ValueError, "only unpadded convolutions"),
            (lambda c: pcc.CoordConv2DTranspose(3, 4, 1, coords=c), ValueError, "only unpadded convolutions"),
            (lambda c: pcc.CoordConv(3, 4, 1, bias_attr=False, coords=c), ValueError, "has no bias"),
            (lambda c: pcc.CoordConv(3, 4, 1, with_r=True, coords=c), ValueError, "a radius"),
            (lambda c: pcc.CoordConv(3, 4, 1), ValueError, "takes a layer with coords='paddledet_legacy'"),
            (lambda c: nn.Conv2D(3, 4, 1), TypeError, "takes a CoordConv, got Conv2D"),
        ],
    )
    def test_refused(self, layer, error, words):
        with pytest.raises(error, match=words):
            pcc.paddledet_legacy_to_paddle(layer("paddledet_legacy"))


@pytest.mark.parametrize("coords", ["mkocabas", "wizaron", "gnouhp", "half_open", "solo"])
def test_weights_of_a_pytorch_implementation_load_as_arrays(coords):
    """Its ``conv.weight`` is of the same shape and order; naming the convention is all there is to do."""
    rng = np.random.default_rng(0)
    theirs = {"conv.weight": rng.standard_normal([6, 7, 3, 3]), "conv.bias": rng.standard_normal(6)}
    layer = pcc.CoordConv(4, 6, 3, padding=1, coords=coords, with_r=True)
    missing, unexpected = layer.set_state_dict({key: value.astype("float32") for key, value in theirs.items()})
    assert not missing
    assert not unexpected
    x = paddle.randn([2, 4, 5, 6])
    grid = pcc.coord_grid([5, 6], coords, with_r=True).expand([2, -1, -1, -1])
    whole = paddle.concat([grid, x] if coords == "wizaron" else [x, grid], axis=1)
    weight, bias = (paddle.to_tensor(theirs[key], "float32") for key in ("conv.weight", "conv.bias"))
    expected = nn.functional.conv2d(whole, weight, bias, padding=1)
    np.testing.assert_allclose(layer(x).numpy(), expected.numpy(), atol=1e-4)


class InAList(nn.Layer):
    def __init__(self):
        super().__init__()
        self.convs = [self.add_sublayer(f"conv{i}", nn.Conv2D(3, 4, 1)) for i in range(2)]

    def forward(self, x):
        return sum(conv(x) for conv in self.convs)


def test_layers_that_are_also_in_a_list_are_replaced_there():
    """As necks and heads of detectors keep theirs."""
    model, x = InAList(), paddle.randn([2, 3, 8, 8])
    expected = model(x).numpy()
    model = pcc.convert_to_coordconv(model, "all")
    assert [type(layer) for layer in model.convs] == [pcc.CoordConv] * 2
    y = model(x)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)
    y.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


Named = namedtuple("Named", "first others")


class InContainers(nn.Layer):
    """As code outside of Paddle's containers may keep its layers."""

    def __init__(self):
        super().__init__()
        for name in "abcd":
            setattr(self, name, nn.Conv2D(3, 3, 1))
        self.pair = (self.a, [self.b])
        self.by_name = OrderedDict({"c": self.c, "deep": {"d": (self.d,)}})
        self.named = Named(self.a, [self.a, self.a])
        self.by_name["itself"] = self.by_name

    def forward(self, x):
        return self.by_name["deep"]["d"][0](self.by_name["c"](self.pair[1][0](self.pair[0](x))))


def test_layers_are_replaced_wherever_they_are_held():
    model, x = InContainers(), paddle.randn([2, 3, 4, 4])
    expected, pairs = model(x).numpy(), model.pair[1]
    pcc.convert_to_coordconv(model, "all")
    held = [model.pair[0], model.pair[1][0], model.by_name["c"], model.by_name["deep"]["d"][0]]
    assert all(layer is own for layer, own in zip(held, (model.a, model.b, model.c, model.d)))
    assert all(type(layer) is pcc.CoordConv for layer in held)
    assert model.pair[1] is pairs
    assert model.named.first is model.named.others[0] is model.named.others[1] is model.a
    np.testing.assert_allclose(model(x).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_shared_weights_are_refused():
    model = nn.Sequential(nn.Conv2D(3, 3, 3), nn.Conv2D(3, 3, 3))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match="'0' and '1' share weights, which their replacements would not"):
        pcc.convert_to_coordconv(model)
