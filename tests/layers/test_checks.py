"""What the constructors take, in words, and what a padding comes to on each side."""

import paddle
import pytest

import ppcoordconv as pcc
from ppcoordconv.layers.checks import padding_sides


@pytest.mark.parametrize(
    ("padding", "axes", "sides"),
    [
        (2, 1, [2, 2]),
        (2, 3, [2] * 6),
        ("VALID", 2, [0] * 4),
        ([1, 2], 2, [1, 1, 2, 2]),
        ([1, 2, 3, 4], 2, [1, 2, 3, 4]),
        ((5,), 1, [5, 5]),
        ([5, 6], 1, [5, 6]),
        ([[0, 0], [0, 0], [1, 2], [3, 4]], 2, [1, 2, 3, 4]),
        ([[0, 0], [0, 0], [1, 2]], 1, [1, 2]),
    ],
)
def test_how_much_is_padded_on_each_side(padding, axes, sides):
    assert padding_sides(padding, axes) == sides


ATTR = "expected None, a ParamAttr, an initializer or a name"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"weight_attr": False}, ValueError, f"CoordConv: weight_attr: {ATTR}, got False"),
        ({"weight_attr": 3}, TypeError, f"CoordConv: weight_attr: {ATTR}, got 3"),
        ({"bias_attr": 3}, TypeError, f"CoordConv: bias_attr: {ATTR}, or False, got 3"),
        ({"stride": 0}, ValueError, "CoordConv: stride: expected a positive int or a list of 2, got 0"),
        ({"stride": [1]}, ValueError, "CoordConv: stride: expected a positive int or a list of 2, got [1]"),
        ({"stride": [1, 0]}, ValueError, "CoordConv: stride: expected a positive int or a list of 2, got [1, 0]"),
        ({"stride": 1.0}, TypeError, "CoordConv: stride: expected a positive int or a list of 2, got 1.0"),
        ({"stride": True}, TypeError, "CoordConv: stride: expected a positive int or a list of 2, got True"),
        ({"groups": [1]}, TypeError, "CoordConv: groups: expected a positive int, got [1]"),
        ({"groups": 0}, ValueError, "CoordConv: groups: expected a positive int, got 0"),
        ({"groups": 5}, ValueError, "CoordConv: in_channels: expected a multiple of groups=5, got 4"),
        ({"groups": 4}, ValueError, "CoordConv: out_channels: expected a multiple of groups=4, got 6"),
        (
            {"padding": -1},
            ValueError,
            "CoordConv: padding: expected an int of at least 0 or a list of 2 or a list of 4, got -1",
        ),
        (
            {"padding": [[0, 0], [0, 0], [1, -1], [0, 0]]},
            ValueError,
            "CoordConv: padding: expected an int of at least 0 or a list of 2, got [1, -1]",
        ),
        (
            {"padding": [[0, 0], [0, 0], [1], [0, 0]]},
            ValueError,
            "CoordConv: padding: expected an int of at least 0 or a list of 2, got [1]",
        ),
        ({"padding": "SOME"}, ValueError, "CoordConv: padding: expected one of ['SAME', 'VALID'], got 'SOME'"),
        ({"with_r": 1}, TypeError, "CoordConv: with_r: expected True or False, got 1"),
        ({"data_format": 1}, TypeError, "CoordConv: data_format: expected one of ['NCHW', 'NHWC'], got 1"),
    ],
)
def test_what_is_wrong_is_said_in_full(options, error, words):
    with pytest.raises(error) as caught:
        pcc.CoordConv2D(4, 6, 3, **options)
    assert str(caught.value) == words


def test_what_is_smallest_is_taken():
    layer = pcc.CoordConv2D(1, 1, 1, stride=1, dilation=1, groups=1, padding=0)
    assert layer(paddle.zeros([1, 1, 1, 1])).shape == [1, 1, 1, 1]
    assert pcc.CoordConv2DTranspose(1, 1, 1, output_padding=0)(paddle.zeros([1, 1, 1, 1])).shape == [1, 1, 1, 1]
    assert pcc.CoordConv2D(1, 1, 3, padding="same")(paddle.zeros([1, 1, 4, 4])).shape == [1, 1, 4, 4]


@pytest.mark.parametrize(
    ("kernel_size", "dilation", "padding"),
    [(1, 1, [0, 0]), (3, 1, [1, 1]), (5, 2, [4, 4]), ([3, 5], 1, [1, 2]), ([1, 7], [3, 2], [0, 6])],
)
def test_a_block_keeps_the_size_of_its_map(kernel_size, dilation, padding):
    block = pcc.CoordConvNormActivation(3, 4, kernel_size, dilation=dilation)
    assert block[0].conv._padding == padding
    assert block(paddle.zeros([2, 3, 9, 11])).shape == [2, 4, 9, 11]


def test_a_block_by_itself():
    block = pcc.CoordConvNormActivation(3, 4)
    assert [type(layer).__name__ for layer in block] == ["CoordConv", "BatchNorm2D", "ReLU"]
    conv = block[0].conv
    assert (conv._kernel_size, conv._stride, conv._dilation, conv._groups) == ([3, 3], [1, 1], [1, 1], 1)
    assert (block[0].with_r, block[0].coords) == (False, "paddle")


def test_a_block_has_a_bias_where_no_norm_follows():
    for norm, bias, expected in [(None, None, True), (paddle.nn.BatchNorm2D, None, False), (None, False, False)]:
        block = pcc.CoordConvNormActivation(3, 4, norm_layer=norm, bias=bias, activation_layer=None)
        assert (block[0].conv.bias is not None) == expected
        assert len(block) == (1 if norm is None else 2)
    with pytest.raises(ValueError, match="kernel_size: expected a positive int or a list of 2, got 0"):
        pcc.CoordConvNormActivation(3, 4, 0)
    with pytest.raises(TypeError, match="kernel_size: expected a positive int or a list of 2, got '3'"):
        pcc.CoordConvNormActivation(3, 4, "3")
