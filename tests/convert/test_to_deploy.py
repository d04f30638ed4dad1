"""The deploy form computes what the network computes in eval mode, with its batch norms folded, and leaves it alone."""

import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import own_models
from hypothesis import given
from hypothesis import strategies as st
from paddle import nn

import ppcoordconv as pcc
from ppcoordconv.convert.to_deploy import DeployedCoordConv

CONVOLUTIONS = {
    1: (nn.Conv1D, nn.Conv1DTranspose, pcc.CoordConv1D, pcc.CoordConv1DTranspose),
    2: (nn.Conv2D, nn.Conv2DTranspose, pcc.CoordConv2D, pcc.CoordConv2DTranspose),
    3: (nn.Conv3D, nn.Conv3DTranspose, pcc.CoordConv3D, pcc.CoordConv3DTranspose),
}
NORMS = {1: nn.BatchNorm1D, 2: nn.BatchNorm2D, 3: nn.BatchNorm3D}


def settled(network):
    """With statistics and scales as after a training."""
    for layer in network.sublayers(include_self=True):
        if hasattr(layer, "_variance"):
            layer._mean.set_value(paddle.randn(layer._mean.shape))
            layer._variance.set_value(paddle.rand(layer._variance.shape) + 0.1)
            for parameter in layer.parameters(include_sublayers=False):
                if not parameter.stop_gradient:
                    parameter.set_value(paddle.randn(parameter.shape))
    network.eval()
    return network


def assert_same(a, b, x):
    with paddle.no_grad():
        pairs = [(outputs if isinstance(outputs, list) else [outputs]) for outputs in (a(x), b(x))]
    for got, expected in zip(*pairs):
        assert (got - expected).abs().max().item() <= 1e-5 * expected.abs().max().item()


@given(st.sampled_from([1, 2, 3]), st.integers(0, 3), st.sampled_from([1, 2]), st.booleans(), st.booleans())
def test_batch_norms_are_folded(axes, kind, groups, bias, affine):
    paddle.seed(0)
    conv = CONVOLUTIONS[axes][kind](4, 6, 2, groups=groups, bias_attr=None if bias else False)
    options = {} if affine else {"weight_attr": False, "bias_attr": False}
    network = settled(nn.Sequential(conv, NORMS[axes](6, **options), nn.ReLU()))
    deployed = pcc.convert_to_deploy(network)
    assert [type(layer) for layer in deployed][1:] == [nn.Identity, nn.ReLU]
    x = paddle.randn([2, 4] + [5] * axes)
    assert_same(deployed, network, x)
    assert_same(pcc.convert_to_deploy(deployed), network, x)


@pytest.mark.parametrize("name", own_models())
def test_every_model_is_left_alone_and_computes_the_same(name):
    paddle.seed(0)
    network = settled(pcc.models.create(name))
    before = {key: value.numpy().copy() for key, value in network.state_dict().items()}
    network.train()
    deployed = pcc.convert_to_deploy(network)
    assert network.training
    assert not deployed.training
    assert not any(isinstance(layer, DeployedCoordConv) for layer in network.sublayers())
    after = network.state_dict()
    assert set(after) == set(before)
    assert all(np.array_equal(after[key].numpy(), value) for key, value in before.items())
    network.eval()
    assert_same(deployed, network, paddle.randn([2, *network.input_shape]))
    assert not any("BatchNorm" in type(layer).__name__ for layer in deployed.sublayers())


SIDES = st.integers(0, 3)
PADDINGS = st.one_of(
    st.fixed_dictionaries({"padding": st.sampled_from(["SAME", "valid"])}),
    st.fixed_dictionaries({"padding": st.integers(0, 3), "padding_mode": st.sampled_from(["reflect", "replicate"])}),
    st.fixed_dictionaries(
        {
            "padding": st.one_of(
                SIDES,
                st.lists(SIDES, min_size=2, max_size=2),
                st.lists(SIDES, min_size=4, max_size=4),
                st.tuples(SIDES, SIDES, SIDES, SIDES).map(lambda p: [[0, 0], [0, 0], [*p[:2]], [*p[2:]]]),
            ),
            "dilation": st.integers(1, 2),
        }
    ),
)


@given(
    padding=PADDINGS,
    kernel=st.lists(st.integers(1, 4), min_size=2, max_size=2),
    stride=st.integers(1, 3),
    groups=st.sampled_from([1, 2]),
    coords_first=st.booleans(),
    sizes=st.lists(st.integers(7, 12), min_size=4, max_size=4),
)
def test_a_bias_on_a_channel_of_ones_is_the_same(padding, kernel, stride, groups, coords_first, sizes):
    """Whatever stands beside the map, and on every size."""
    coords = pcc.Coords(coords_first=coords_first)
    layer = pcc.CoordConv(4, 6, kernel, stride, groups=groups, coords=coords, with_r=True, **padding)
    layer.conv.bias.set_value(paddle.randn([6]))
    layer.eval()
    deployed = pcc.convert_to_deploy(pcc.convert_to_deploy(layer))
    for size in (sizes[:2], sizes[2:]):
        assert_same(deployed, layer, paddle.randn([2, 4, *size]))


@pytest.mark.parametrize(
    ("arguments", "is_moved"),
    [
        ({"kernel_size": 3, "padding": 1}, True),
        ({"kernel_size": 3, "padding": 1, "stride": 2}, True),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, True),
        ({"kernel_size": 2, "padding": [0, 1, 1, 0]}, True),
        ({"kernel_size": 1, "padding": "VALID"}, True),
        ({"kernel_size": 3, "padding": 2, "padding_mode": "circular"}, True),
        ({"kernel_size": 3, "padding": 2}, False),
        ({"kernel_size": 2, "padding": 1}, False),
        ({"kernel_size": 3, "padding": "SAME"}, False),
        ({"kernel_size": 3, "padding": 1, "groups": 2}, False),
        ({"kernel_size": 3, "padding": 1, "bias_attr": False}, False),
    ],
)
def test_which_bias_is_moved_to_a_channel_of_ones(arguments, is_moved):
    layer = pcc.CoordConv(4, 6, **arguments)
    assert pcc.convert_to_deploy(layer).has_ones is is_moved
    assert not pcc.convert_to_deploy(layer, engine="onnxruntime").has_ones


def shared_convolution():
    conv = nn.Conv2D(2, 2, 1)
    return nn.Sequential(conv, nn.BatchNorm2D(2), conv, nn.BatchNorm2D(2))


def hooked_convolution():
    conv = nn.Conv2D(2, 2, 1)
    conv.register_forward_post_hook(lambda layer, inputs, output: output * 2)
    return nn.Sequential(conv, nn.BatchNorm2D(2))


def reparameterised_convolution():
    return nn.Sequential(nn.utils.weight_norm(nn.Conv2D(2, 2, 1)), nn.BatchNorm2D(2))


def reparameterised_coordconv():
    layer = pcc.CoordConv(2, 2, 1)
    nn.utils.weight_norm(layer.conv)
    return nn.Sequential(layer, nn.BatchNorm2D(2))


def shared_weight():
    network = nn.Sequential(nn.Conv2D(2, 2, 1), nn.BatchNorm2D(2), nn.Conv2D(2, 2, 1))
    network[2].weight = network[0].weight
    return network


class HalvedNorm(nn.BatchNorm2D):
    def forward(self, x):
        return super().forward(x) / 2


def norm_of_ones_own():
    return nn.Sequential(nn.Conv2D(2, 2, 1), HalvedNorm(2))


def norm_by_the_batch():
    return nn.Sequential(nn.Conv2D(2, 2, 1), nn.BatchNorm2D(2, use_global_stats=False))


class InReverse(nn.Sequential):
    def forward(self, x):
        for layer in reversed(list(self)):
            x = layer(x)
        return x


def another_order():
    return InReverse(nn.Conv2D(2, 2, 1), nn.BatchNorm2D(2))


def activation_between():
    return nn.Sequential(nn.Conv2D(2, 2, 1), nn.ReLU(), nn.BatchNorm2D(2))


@pytest.mark.parametrize(
    "build",
    [
        shared_convolution,
        hooked_convolution,
        reparameterised_convolution,
        reparameterised_coordconv,
        shared_weight,
        norm_of_ones_own,
        norm_by_the_batch,
        another_order,
        activation_between,
    ],
)
def test_what_can_not_be_folded_stays(build):
    network = settled(build())
    deployed = pcc.convert_to_deploy(network)
    assert sum(isinstance(layer, nn.BatchNorm2D) for layer in deployed) == sum(
        isinstance(layer, nn.BatchNorm2D) for layer in network
    )
    assert_same(deployed, network, paddle.randn([2, 2, 4, 4]))


def constants_of(path):
    """The sizes of what a saved model holds beside its inputs."""
    return [p.size for p in paddle.jit.load(str(path)).state_dict(include_sublayers=True).values()]


def save(network, shape, path):
    spec = [paddle.static.InputSpec([None, *shape], "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(network, input_spec=spec, full_graph=True), str(path))


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_the_grid_of_the_examples_size_is_a_constant(tmp_path, data_format):
    """One constant more than the weight, which has the bias on a channel of ones, and one convolution."""
    layer = pcc.CoordConv(3, 4, 3, data_format=data_format)
    shape = [3, 5, 7] if data_format == "NCHW" else [5, 7, 3]
    deployed = pcc.convert_to_deploy(layer, example=paddle.zeros([1, *shape]))
    save(deployed, shape, tmp_path / "layer")
    assert sorted(constants_of(tmp_path / "layer")) == [3 * 5 * 7, 4 * (3 + 2 + 1) * 3 * 3]
    x = paddle.randn([2, *shape])
    assert (paddle.jit.load(str(tmp_path / "layer"))(x) - layer(x)).abs().max().item() < 1e-5


def test_without_an_example_sizes_stay_free(tmp_path):
    layer = pcc.CoordConv(3, 4, 3)
    layer(paddle.zeros([1, 3, 5, 7]))  # what a layer saw before does not matter
    save(pcc.convert_to_deploy(layer), [3, None, None], tmp_path / "layer")
    assert constants_of(tmp_path / "layer") == [4 * (3 + 2 + 1) * 3 * 3]
    for x in (paddle.randn([2, 3, 5, 7]), paddle.randn([1, 3, 9, 4])):
        assert (paddle.jit.load(str(tmp_path / "layer"))(x) - layer(x)).abs().max().item() < 1e-5


def test_a_size_that_is_not_the_examples_is_right_too():
    layer = pcc.CoordConv(3, 4, 3)
    deployed = pcc.convert_to_deploy(layer, example=paddle.zeros([1, 3, 5, 7]))
    assert_same(deployed, layer, paddle.randn([2, 3, 9, 4]))
    deployed = pcc.convert_to_deploy(deployed, example=paddle.zeros([1, 3, 9, 4]))
    assert list(deployed.grid.shape) == [1, 3, 9, 4]
    assert_same(deployed, layer, paddle.randn([2, 3, 9, 4]))


def test_a_layer_that_sees_several_sizes_has_no_constant():
    paddle.seed(0)  # not one of the draws whose mean is nearly 0

    class Twice(nn.Layer):
        def __init__(self):
            super().__init__()
            self.conv = pcc.CoordConv(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(x).mean() + self.conv(x[:, :, :3]).mean()

    network = Twice()
    deployed = pcc.convert_to_deploy(network, example=paddle.zeros([1, 3, 5, 7]))
    assert deployed.conv.grid is None
    assert_same(deployed, network, paddle.randn([2, 3, 5, 7]))


def test_a_subclass_of_ones_own_keeps_its_forward():
    class Doubled(pcc.CoordConv):
        def forward(self, x, output_size=None):
            return 2 * pcc.CoordConv.forward(self, x, output_size)

    network = nn.Sequential(Doubled(3, 4, 1), pcc.CoordConv(4, 2, 1))
    deployed = pcc.convert_to_deploy(network)
    assert [type(layer) for layer in deployed] == [Doubled, DeployedCoordConv]
    assert_same(deployed, network, paddle.randn([2, 3, 5, 7]))


def test_wrong_arguments():
    with pytest.raises(TypeError, match="convert_to_deploy: expected a paddle.nn.Layer, got int"):
        pcc.convert_to_deploy(3)
    with pytest.raises(
        ValueError, match="engine: expected one of None, 'onednn', 'onnxruntime', 'tensorrt', got 'ort'"
    ):
        pcc.convert_to_deploy(nn.Conv2D(1, 1, 1), engine="ort")


def test_the_guides_example_makes_a_constant(tmp_path, monkeypatch):
    """What docs/converting.md saves holds the coordinates of the size that it names."""
    page = (Path(__file__).parents[2] / "docs" / "converting.md").read_text(encoding="utf-8")
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "convert_to_deploy" in b]
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert 2 * 64 * 64 in constants_of(tmp_path / "output" / "resnet18")


def shifted_norm(layer):
    layer._mean.set_value(paddle.randn(layer._mean.shape))
    return layer


class OfOnesOwn(pcc.CoordConv):
    def forward(self, x):
        return paddle.nn.functional.relu(super().forward(x))


@pytest.mark.parametrize(
    "network",
    [
        lambda: nn.Sequential(OfOnesOwn(3, 4, 3), shifted_norm(nn.BatchNorm2D(4))),
        lambda: nn.Sequential(nn.Conv2D(3, 8, 3), shifted_norm(nn.BatchNorm2D(8, data_format="NHWC"))),
        lambda: nn.Sequential(pcc.CoordConv(3, 8, 3), shifted_norm(nn.BatchNorm2D(8, data_format="NHWC"))),
        lambda: nn.Sequential(
            pcc.CoordConv(10, 8, 3, data_format="NHWC"), shifted_norm(nn.BatchNorm2D(8, data_format="NHWC"))
        ),
    ],
    ids=["a subclass", "another axis", "another axis after CoordConv", "channels last"],
)
def test_what_is_not_channel_by_channel_is_not_folded(network):
    model, x = network(), paddle.randn([2, 3, 10, 10])
    model.eval()
    np.testing.assert_allclose(pcc.convert_to_deploy(model)(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)


def test_what_the_layer_takes_its_deployed_form_takes():
    layer, x = pcc.CoordConv1DTranspose(3, 4, 3, stride=2), paddle.randn([2, 3, 5])
    layer.eval()
    for size in (12, [12]):
        expected = layer(x, output_size=size).numpy()
        got = pcc.convert_to_deploy(layer, x)(x, output_size=size).numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_half_precision_is_converted_where_nothing_runs():
    model = nn.Sequential(pcc.CoordConv(3, 4, 3), nn.BatchNorm2D(4)).to(dtype="float16")
    assert type(pcc.convert_to_deploy(model)[0]).__name__ == "DeployedCoordConv"


class CalledByName(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = pcc.CoordConv(3, 4, 3)

    def forward(self, x):
        return self.conv(x=x)


def test_a_layer_that_is_called_by_name_is_converted():
    model, x = CalledByName(), paddle.randn([1, 3, 8, 8])
    model.eval()
    np.testing.assert_allclose(pcc.convert_to_deploy(model, x)(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"example": [1, 3, 8, 8]}, "example: expected a Tensor, or a tuple of them, got int"),
        ({"engine": []}, "engine: expected one of"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        pcc.convert_to_deploy(pcc.CoordConv(3, 4, 3), **options)


def test_layers_that_are_also_in_a_list_are_replaced_there():
    class InAList(nn.Layer):
        def __init__(self):
            super().__init__()
            self.convs = [self.add_sublayer(f"conv{i}", pcc.CoordConv(3, 3, 3)) for i in range(2)]

        def forward(self, x):
            return self.convs[1](self.convs[0](x))

    model, x = InAList(), paddle.randn([2, 3, 9, 9])
    model.eval()
    deployed = pcc.convert_to_deploy(model, x)
    assert [type(layer).__name__ for layer in deployed.convs] == ["DeployedCoordConv"] * 2
    assert [type(layer).__name__ for layer in model.convs] == ["CoordConv"] * 2
    np.testing.assert_allclose(deployed(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("coords", ["paddle", "learnt(2, 4)"])
def test_in_half_precision_the_grid_is_its_own_and_in_float(coords):
    """It was the one that layers of that size share, which were given half precision then."""
    from ppcoordconv.deploy.formats import deploy_form

    layer, x = pcc.CoordConv(3, 4, 1, coords=coords), paddle.rand([1, 3, 6, 9])
    expected = layer(x).numpy()
    deployed = deploy_form(layer, "onnx", "fp16", x)
    (grid,) = [one.grid for one in deployed.sublayers() if isinstance(one, DeployedCoordConv)]
    assert grid.dtype == paddle.float32
    assert (layer(x).numpy() == expected).all()
    assert (pcc.AddCoords()(x)[:, 3:] == pcc.coord_grid([6, 9])).all().item()
