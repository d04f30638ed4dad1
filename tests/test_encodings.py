"""Encodings: the formulas of their papers, as coordinates of a layer and joined with others."""

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.test_layers import concatenated
from paddle.nn import functional as F

import ppcoordconv as pcc

SHAPES = st.lists(st.integers(1, 7), min_size=1, max_size=3)


def coordinates(shape):
    """x, y, z from -1 to 1, ``[axes, *shape]``."""
    return pcc.coord_grid(shape, dtype="float64").numpy()[0]


@settings(max_examples=examples(30))
@given(shape=SHAPES, bands=st.integers(1, 6), with_r=st.booleans())
def test_fourier(shape, bands, with_r):
    expected = [
        wave(2**band * np.pi * c) for c in coordinates(shape) for band in range(bands) for wave in (np.sin, np.cos)
    ]
    if with_r:
        expected.append(np.sqrt((coordinates(shape) ** 2).sum(0)))
    grid = pcc.coord_grid(shape, f"fourier({bands})", with_r)
    np.testing.assert_allclose(grid.numpy()[0], expected, rtol=0, atol=2e-5)


@settings(max_examples=examples(30))
@given(shape=SHAPES, half=st.integers(1, 8), scale=st.floats(0.1, 3), seed=st.integers(0, 9))
def test_gaussian_fourier(shape, half, scale, seed):
    b = np.random.RandomState(seed).standard_normal([half, len(shape)]) * scale
    angles = 2 * np.pi * np.tensordot(b, (coordinates(shape) + 1) / 2, 1)
    grid = pcc.coord_grid(shape, f"gaussian_fourier({2 * half}, scale={scale!r}, seed={seed})", dtype="float64")
    np.testing.assert_allclose(grid.numpy()[0], [*np.cos(angles), *np.sin(angles)], rtol=0, atol=1e-9)


def test_its_random_numbers_stay_the_same():
    """Weights that were trained with them need them again."""
    grid = pcc.coord_grid([2], "gaussian_fourier(4)")
    np.testing.assert_allclose(grid.numpy()[0, :, 1], [0.088179, -0.809597, -0.996105, 0.586986], atol=1e-5)
    assert (grid == pcc.coord_grid([2], "gaussian_fourier(4, 1.0, 0)")).all().item()
    assert (grid != pcc.coord_grid([2], "gaussian_fourier(4, seed=1)")).any().item()


@pytest.mark.parametrize("with_r", [False, True])
def test_a_list_is_joined(with_r):
    names = ["paddle", "fourier(2)", pcc.Coords(x_first=False)]
    grid = pcc.coord_grid([3, 5], names, with_r)
    parts = [pcc.coord_grid([3, 5], name) for name in names]
    if with_r:
        parts.append(pcc.coord_grid([3, 5], "paddle", True)[:, 2:])
    assert (grid == paddle.concat(parts, axis=1)).all().item()
    assert (pcc.coord_grid([3, 5], [names[:2], names[2]], with_r) == grid).all().item()
    assert (pcc.coord_grid([3, 5], ["solo"]) == pcc.coord_grid([3, 5], "solo")).all().item()


COORDS = ["fourier(3)", "gaussian_fourier(6)", ["paddle", "fourier(1)"], ["wizaron", pcc.Coords(coords_first=True)]]


@pytest.mark.parametrize("coords", COORDS, ids=["fourier", "gaussian", "joined", "before the features"])
@pytest.mark.parametrize("with_r", [False, True])
def test_a_layer_takes_them(coords, with_r):
    configuration = {"stride": 1, "padding": 1, "dilation": 1, "groups": 2, "data_format": "NCHW"}
    layer = pcc.CoordConv(4, 6, 3, padding=1, groups=2, coords=coords, with_r=with_r)
    x = paddle.rand([3, 4, 6, 7])
    expected = concatenated(layer, x, F.conv2d, {**configuration, "coords": coords, "with_r": with_r}).numpy()
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-5)
    layer.eval()
    with paddle.no_grad():
        for _ in range(2):
            np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-5)
    deployed = pcc.convert_to_deploy(layer, example=x)
    np.testing.assert_allclose(deployed(x).numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("coords", COORDS, ids=["fourier", "gaussian", "joined", "before the features"])
@pytest.mark.parametrize("with_r", [False, True])
def test_in_a_window_they_are_those_of_the_whole(coords, with_r):
    whole = pcc.AddCoords(coords, with_r)(paddle.zeros([1, 1, 8, 12]))
    boxes = [[0, 0, 4, 4], [6, 2, 10, 6]]
    with pcc.window(boxes, (8, 12)):
        y = pcc.AddCoords(coords, with_r)(paddle.zeros([2, 1, 4, 4]))
    for crop, (left, top, right, bottom) in zip(y, boxes):
        np.testing.assert_allclose(crop.numpy(), whole[0, :, top:bottom, left:right].numpy(), rtol=1e-5, atol=1e-5)


def test_a_plain_model_takes_them():
    net = pcc.convert_to_coordconv(paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3)), coords=["paddle", "fourier(4)"])
    assert net[0].conv.weight.shape == [4, 3 + 2 + 16, 3, 3]
    assert "coords=['paddle', 'fourier(4)']" in repr(net)


@pytest.mark.parametrize(
    ("coords", "words"),
    [
        ("fourier(0)", "fourier: bands takes a whole number from 1 to 16, got 0"),
        ("fourier(2.5)", "fourier: bands takes a whole number"),
        ("fourier()", r"fourier\(\) has other numbers than the encoding takes: "),
        ("fourier(1, 2)", r"fourier\(1, 2\) has other numbers than the encoding takes: "),
        ("fourier(bands=2, x=1)", "has other numbers than the encoding takes: "),
        ("fourier(a)", r"fourier\(...\) takes numbers, as fourier\(4\), got fourier\(a\)"),
        ("fourier(__import__('os'))", "takes numbers, as"),
        ("fourier(1)(2)", "takes numbers, as"),
        ("fourier(1))", "takes numbers, as"),
        (
            "furier(2)",
            "there is no encoding 'furier': did you mean fourier.* The encodings are fourier, gaussian_fourier",
        ),
        ("gaussian_fourier(3)", "channels takes an even number of at least 2, got 3"),
        ("gaussian_fourier(4, scale=0)", "scale takes a number above 0, got 0"),
        ("gaussian_fourier(4, seed=-1)", "seed takes a whole number from 0"),
        ("learnt()", r"learnt\(\) has other numbers than the encoding takes: "),
        ("learnt(4)", r"learnt: takes channels and one to three sizes, as learnt\(16, 32\), got 0 sizes"),
        ("learnt(0, 3)", "learnt: channels takes whole numbers from 1 to 4096, got 0"),
        ("learnt(2, 3, 3, 3, 3)", "one to three sizes, as .*, got 4 sizes"),
        ("learnt(2, 10000)", "learnt: sizes takes whole numbers from 1 to 4096, got 10000"),
        ("learned(2, 3)", r"did you mean learnt\(...\)"),
        ("relativ", "did you mean 'relative'"),
        ("learnt(2, 3, 0)", "learnt: sizes takes whole numbers from 1 to 4096, got 0"),
        (
            "learnt(2, 3, 4, 5)",
            r"CoordConv: coords: learnt: expected one size, or one for each of 2 axes, got \[3, 4, 5\]",
        ),
        (["learnt(2, 3)", "paddle", "learnt(2, 4)"], "a list with one learnt"),
        (["paddle", "wizaron"], "a list of which all go before the features, or all after them"),
        ([], "coords takes the name of a convention"),
        (["paddle", 3], "coords takes the name of a convention"),
    ],
)
def test_what_is_no_encoding(coords, words):
    with pytest.raises((TypeError, ValueError), match=words):
        pcc.CoordConv(3, 4, 3, coords=coords)


class Wrong:
    def __init__(self, count, result):
        self.count, self.result = count, result

    def count_channels(self, axes):
        return self.count

    def __call__(self, coordinates):
        return self.result(coordinates)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        (Wrong(3, lambda c: c), "encoding must return 3 channels, as it says, got 2"),
        (Wrong(1, lambda c: [1.0]), "encoding must return a Tensor, got float"),
        (Wrong(1, lambda c: [c[0][0]]), r"encoding must return a Tensor of shape \[1, 1, 4, 4\]"),
    ],
)
def test_encodings_of_ones_own_return_what_they_say(encoding, words):
    with pytest.raises((TypeError, ValueError), match=words):
        pcc.coord_grid([4, 4], pcc.Coords(encoding=encoding))
