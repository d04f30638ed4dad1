"""An image in tiles gives what the whole gives, in memory for a tile."""

import re
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from paddle import nn
from test_windows import NETWORKS, changed_everywhere

import ppcoordconv as pcc


def assert_close(got, expected):
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    build, stride, reach = NETWORKS[name]
    net, image = changed_everywhere(build()), paddle.rand([3, 168, 264])
    net.eval()
    whole = net(image[None]).numpy()[0]
    got = pcc.predict_tiled(net, image, tile=136, overlap=2 * reach, batch_size=2)
    assert_close(got, whole)


@settings(max_examples=examples(15))
@given(st.data())
def test_any_size(data):
    """One to three axes, sizes that are no multiples of anything, at strides 1 and 2; the layer sees one place."""
    rank = data.draw(st.integers(1, 3))
    stride = data.draw(st.sampled_from([1, 2]))
    conv = {1: pcc.CoordConv1D, 2: pcc.CoordConv2D, 3: pcc.CoordConv3D}[rank]
    coords, with_r = data.draw(st.sampled_from(pcc.list_coords())), data.draw(st.booleans())
    net = conv(2, 3, 3, stride=stride, padding=1, coords=coords, with_r=with_r)

    def each(low, high):
        return [stride * n for n in data.draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))]

    tile, overlap = each(4, 8), each(2, 3)
    # At stride 2, a crop of an odd width lies at places of the whole's map that its own scale does not tell.
    size = each(1, 15)
    image = np.random.default_rng(0).random([2, *size])
    net.to(dtype="float64")
    expected = net(paddle.to_tensor(image[None])).numpy()[0]
    got = pcc.predict_tiled(net, image, tile, overlap, batch_size=data.draw(st.integers(1, 5)))
    assert got.dtype == np.float64
    assert_close(got, expected)


def test_a_network_that_enlarges():
    net, image = pcc.CoordConv2DTranspose(3, 2, 2, stride=2), paddle.rand([3, 50, 70])
    assert_close(pcc.predict_tiled(net, image, 32, 8), net(image[None]).numpy()[0])


def test_blended_tiles_that_agree_are_the_whole():
    net, image = pcc.CoordConv(3, 2, 1, with_r=True), paddle.rand([3, 50, 70])
    assert_close(pcc.predict_tiled(net, image, 32, 20, blend=True), net(image[None]).numpy()[0])


def test_a_network_without_coordinates():
    net, image = nn.Conv2D(3, 2, 3, padding=1), paddle.rand([3, 50, 70])
    assert_close(pcc.predict_tiled(net, image, 32, 8), net(image[None]).numpy()[0])


@pytest.mark.parametrize("blend", [False, True])
def test_where_tiles_differ(blend):
    """Numbers of the calls in place of outputs: two calls for the sizes, one to see how far it sees, and then two."""
    calls = []

    def number(x):
        calls.append(1)
        return paddle.full([1, 1, x.shape[2]], max(0.0, len(calls) - 3.0))

    got = pcc.predict_tiled(number, np.zeros([1, 24]), 16, 8, blend=blend)[0]
    ramp = 1 + (np.arange(8) + 0.5) / 8
    expected = [*[1] * 8, *ramp, *[2] * 8] if blend else [1] * 12 + [2] * 12
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def memory():
    """In bytes, of this process, without the files that it has mapped."""
    return 1024 * int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text()).group(1))


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_a_large_image_takes_the_memory_of_a_tile(tmp_path):
    """An image of 48 MiB and a result of 192 MiB on the disk."""
    size = 4096
    image = np.memmap(tmp_path / "image", np.uint8, "w+", shape=(3, size, size))
    image[:, 2500, 3000] = 255
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=(3, size, size))
    net = pcc.CoordConv(3, 3, 3, padding=1)
    pcc.predict_tiled(net, image[:, :1024], 512, 64)
    before = memory()
    assert pcc.predict_tiled(net, image, 512, 64, out=out) is out
    assert memory() - before < 64 * 2**20
    with pcc.window([2998, 2498, 3003, 2503], (size, size)):
        expected = net(paddle.to_tensor(image[None, :, 2498:2503, 2998:3003].astype("float32")))
    np.testing.assert_allclose(out[:, 2499:2502, 2999:3002], expected[0, :, 1:4, 1:4].numpy(), rtol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_runs_in_eval_and_stays_in_its_mode(training):
    net, image = nn.Sequential(pcc.CoordConv(3, 2, 3, padding=1), nn.BatchNorm2D(2)), paddle.rand([3, 50, 70])
    net.train() if training else net.eval()
    got = pcc.predict_tiled(net, image, 32, 8)
    assert net.training == net[1].training == training
    net.eval()
    assert_close(got, net(image[None]).numpy()[0])


def test_every_layer_stays_in_its_own_mode():
    net = nn.Sequential(pcc.CoordConv(3, 2, 3, padding=1), nn.BatchNorm2D(2))
    net.train()
    net[1].eval()
    pcc.predict_tiled(net, paddle.rand([3, 50, 70]), 32, 8)
    assert (net.training, net[0].training, net[1].training) == (True, True, False)


def test_classes_and_bfloat16():
    """Outputs that are whole numbers, an image that numpy has no type for, sizes of numpy's own types."""
    net, image = pcc.CoordConv(3, 4, 3, padding=1), paddle.rand([3, 50, 70])
    whole = net(image[None]).argmax(1, keepdim=True).numpy()[0]
    classes = pcc.predict_tiled(lambda x: net(x).argmax(1, keepdim=True), image, np.int64(32), np.int64(8))
    assert classes.dtype == np.int64
    assert (classes == whole).all()
    half = image.astype("bfloat16")
    expected = net(half.astype("float32")[None]).numpy()[0]
    assert_close(pcc.predict_tiled(net, half, 32, 8), expected)


CONV = nn.Conv2D(1, 1, 3, padding=1)
IMAGE = np.zeros([1, 40, 40])


@pytest.mark.parametrize(
    ("model", "image", "tile", "overlap", "options", "words"),
    [
        (CONV, IMAGE[0, 0], 16, 4, {}, r"image: expected \[C, \*spatial\] with one to three axes, got \[40\]"),
        (CONV, IMAGE[None, None], 16, 4, {}, "image: expected"),
        (CONV, [[1]], 16, 4, {}, "image: expected .* got list"),
        (CONV, IMAGE, 16, 16, {}, "tile: expected more than the overlap of 16, got 16"),
        (CONV, IMAGE, 16, 20, {}, "tile: expected more than the overlap of 20, got 16"),
        (CONV, IMAGE, 0, 0, {}, "tile: expected a whole number of at least 1, or one for each of 2 axes, got 0"),
        (CONV, IMAGE, 16.0, 0, {}, "tile: expected a whole number"),
        (CONV, IMAGE, [16, 16, 16], 0, {}, r"tile: expected .* got \[16, 16, 16\]"),
        (CONV, IMAGE, 16, -1, {}, "overlap: expected a whole number of at least 0"),
        (CONV, IMAGE, 16, 4, {"batch_size": 0}, "batch_size: expected a whole number of at least 1, got 0"),
        (CONV, IMAGE, 16, 4, {"out": np.zeros([1, 40, 39])}, r"out: expected \[1, 40, 40\], got \[1, 40, 39\]"),
        (nn.Conv2D(1, 1, 3, 2, 1), IMAGE, 16, 5, {}, "got 16, of which it makes 8, and 11"),
        (nn.Conv2D(1, 1, 3, 2, 1), IMAGE, 15, 5, {}, "got 15, of which it makes 8, and 10"),
        (nn.Conv2D(1, 1, 3), np.zeros([1, 160, 160]), 64, 32, {}, "that pads its maps, got 64, of which"),
        (CONV, IMAGE[None], 16, 4, {}, r"can't be run on \[1, 1, 1, 16, 16\], .* of an image .* of \[1, 1, 40, 40\]"),
        (nn.PixelUnshuffle(2), np.zeros([1, 33, 40]), 16, 4, {}, "can't be run on .*multiples of its strides"),
        (nn.Flatten(), IMAGE, 16, 4, {}, r"model: expected an output \[N, C, \*places\] with 4 axes, got \[1, 256\]"),
        (lambda x: [x], IMAGE, 16, 4, {}, "model: expected an output .* got list"),
        (lambda x: x + x.mean(), IMAGE, 16, 4, {}, "tile: expected more than the network sees, got 16"),
    ],
)  # fmt: skip
def test_wrong_arguments(model, image, tile, overlap, options, words):
    with pytest.raises(ValueError, match=words):
        pcc.predict_tiled(model, image, tile, overlap, **options)


def test_no_window_and_no_given_grid_around_it():
    layer, image = pcc.CoordConv(3, 2, 3, padding=1), np.zeros([3, 40, 40], "float32")
    with pytest.raises(ValueError, match="expected no pcc.window around it"), pcc.window([0, 0, 9, 9], (9, 9)):
        pcc.predict_tiled(layer, image, 32, 8)
    with pytest.raises(ValueError, match="expected no pcc.given around it"), pcc.given(paddle.zeros([1, 1, 32, 32])):
        pcc.predict_tiled(layer, image, 32, 8)


def test_what_out_held_is_gone():
    layer, image = pcc.CoordConv(3, 2, 3, padding=1), np.random.default_rng(0).random([3, 40, 40], "float32")
    for blend in (False, True):
        out = np.full([2, 40, 40], 7, "float32")
        expected = pcc.predict_tiled(layer, image, 32, 8, blend=blend)
        assert pcc.predict_tiled(layer, image, 32, 8, blend=blend, out=out) is out
        np.testing.assert_allclose(out, expected, atol=1e-6)
