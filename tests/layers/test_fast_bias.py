"""The plain convolution with the cheap bias: equal to Paddle's in everything."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paddle import nn

import ppcoordconv as pcc
from ppcoordconv.layers import Conv2D


def twins(*arguments, **options):
    ours, theirs = Conv2D(*arguments, **options), nn.Conv2D(*arguments, **options)
    theirs.set_state_dict(ours.state_dict())
    if theirs.bias is not None:
        for layer in (ours, theirs):
            layer.bias.set_value(paddle.arange(1, layer.bias.shape[0] + 1, dtype=layer.bias.dtype))
    return ours, theirs


def outputs_and_gradients(layer, x):
    x = paddle.to_tensor(x, stop_gradient=False)
    y = layer(x)
    (y * y).sum().backward()
    return [y.numpy(), x.grad.numpy()] + [p.grad.numpy() for p in layer.parameters()]


@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([1, 2]),
    st.sampled_from([(1, 1, 0, 1), (3, 2, 1, 1), (3, 1, "SAME", 2), ((2, 3), 1, [1, 2], 1), (3, 1, [1, 0, 2, 1], 1)]),
    st.sampled_from([None, False]),
    st.sampled_from(["float32", "float64"]),
)
def test_it_equals_paddles(size, groups, geometry, bias, dtype):
    n, height, width = size
    kernel, stride, padding, dilation = geometry
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias_attr": bias}
    ours, theirs = (layer.to(dtype=dtype) for layer in twins(2, 4, kernel, **options))
    x = np.random.default_rng(0).standard_normal((n, 2, height + 2, width + 2)).astype(dtype)
    tolerance = {"float32": 1e-5, "float64": 1e-10}[dtype]
    for got, expected in zip(outputs_and_gradients(ours, x), outputs_and_gradients(theirs, x)):
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * abs(expected).max())
    with paddle.no_grad():
        np.testing.assert_allclose(ours(paddle.to_tensor(x)), theirs(paddle.to_tensor(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"padding_mode": "reflect", "padding": 1}, {"data_format": "NHWC"}])
def test_what_the_networks_here_do_not_use_goes_paddles_own_way(options):
    ours, theirs = twins(5, 3, 3, **options)
    x = paddle.rand([2, 5, 5, 5])
    np.testing.assert_array_equal(ours(x), theirs(x))


def test_a_second_gradient():
    def penalty(layer):
        x = paddle.ones([2, 1, 4, 4])
        x.stop_gradient = False
        (gradient,) = paddle.grad(layer(x).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
        return [p.grad.numpy() for p in layer.parameters()]

    for got, expected in zip(*map(penalty, twins(1, 2, 3))):
        np.testing.assert_allclose(got, expected, rtol=1e-4)


def operators(layer):
    spec = paddle.static.InputSpec([None, 2, None, None])
    program = paddle.jit.to_static(layer, input_spec=[spec], full_graph=True).forward.concrete_program.main_program
    return [op.name() if callable(getattr(op, "name", None)) else op.type for op in program.global_block().ops]


def test_traced_it_is_paddles():
    ours, theirs = twins(2, 3, 3)
    assert operators(ours) == operators(theirs)


def test_it_is_converted_like_paddles():
    ours, theirs = twins(2, 3, 3)
    x = paddle.rand([2, 2, 5, 5])
    converted = pcc.convert_to_coordconv(ours)
    assert isinstance(converted, pcc.CoordConv)
    np.testing.assert_allclose(converted(x), theirs(x), rtol=1e-5, atol=1e-6)
