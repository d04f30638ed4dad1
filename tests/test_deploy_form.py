"""The deploy form computes what the network computes in eval mode, with its batch norms folded, and leaves it alone."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paddle import nn

import ppcoordconv as pcc

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
        got, expected = a(x).numpy(), b(x).numpy()
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


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


@pytest.mark.parametrize("name", pcc.models.list_models())
def test_every_model_is_left_alone_and_computes_the_same(name):
    paddle.seed(0)
    network = settled(pcc.models.create(name))
    before = {key: value.numpy().copy() for key, value in network.state_dict().items()}
    network.train()
    deployed = pcc.convert_to_deploy(network)
    assert network.training
    assert not deployed.training
    assert not any(getattr(layer, "deployed", False) for layer in network.sublayers())
    after = network.state_dict()
    assert set(after) == set(before)
    assert all(np.array_equal(after[key].numpy(), value) for key, value in before.items())
    network.eval()
    assert_same(deployed, network, paddle.randn([2, *network.input_shape]))
    assert not any("BatchNorm" in type(layer).__name__ for layer in deployed.sublayers())


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


def activation_between():
    return nn.Sequential(nn.Conv2D(2, 2, 1), nn.ReLU(), nn.BatchNorm2D(2))


@pytest.mark.parametrize(
    "build",
    [
        shared_convolution,
        hooked_convolution,
        reparameterised_convolution,
        reparameterised_coordconv,
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
