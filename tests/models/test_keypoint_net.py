"""The keypoint network: maps, points from maps, and where CoordConv is."""

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import ppcoordconv as pcc
from ppcoordconv.models.keypoint_net import MapsToPoints, pixel_grid
from ppcoordconv.utils.errors import ArgumentError


def gaussians(points, size, sigma):
    """Maps ``[1, K, h, w]`` with a Gaussian at each of K points, in cells."""
    grid = pixel_grid(paddle.zeros([1, 1, *size])).numpy()
    distance = ((grid - np.array(points)[:, :, None, None]) ** 2).sum(axis=1)
    return paddle.to_tensor(np.exp(-distance / (2 * sigma**2))[None].astype("float32"))


@settings(max_examples=examples(40))
@given(
    st.integers(8, 20),
    st.integers(8, 20),
    st.floats(0.8, 2.0),
    st.lists(st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)), min_size=1, max_size=4),
)
def test_heatmaps_tell_where_points_lie_between_cells(height, width, sigma, parts):
    points = np.array(parts) * [width - 1, height - 1]
    maps = gaussians(points, (height, width), sigma)
    found = MapsToPoints("heatmap", stride=4)(maps).numpy()[0]
    # A quarter of a cell, where argmax is half a cell off along each axis.
    np.testing.assert_allclose(found[:, :2], 4 * (points + 0.5), atol=1)
    np.testing.assert_allclose(found[:, 2], maps.numpy()[0].max(axis=(1, 2)), rtol=1e-6)
    sure = 60 * maps
    expected = MapsToPoints("dsnt", stride=4)(sure).numpy()[0]
    np.testing.assert_allclose(expected[:, :2], 4 * (points + 0.5), atol=2)
    assert (expected[:, 2] > 0.9).all()


def test_of_two_peaks_the_higher_one_is_taken():
    maps = gaussians([[4, 4]], (16, 20), 1) + 0.9 * gaussians([[14, 11]], (16, 20), 1)
    found = MapsToPoints("heatmap", 4)(maps).numpy()[0, 0]
    np.testing.assert_allclose(found, [18, 18, 1], atol=0.1)


@pytest.mark.parametrize("method", ["heatmap", "dsnt"])
@pytest.mark.parametrize("value", [0.0, -3.0])
def test_maps_that_say_nothing_give_the_middle_and_no_nan(method, value):
    found = MapsToPoints(method, 4)(paddle.full([2, 3, 8, 12], value)).numpy()
    np.testing.assert_allclose(found[..., :2], np.broadcast_to([24, 16], [2, 3, 2]), rtol=1e-4)
    assert (found[..., 2] < 0.7).all()
    assert (found[..., 2] >= 0).all()


@pytest.mark.parametrize("backbone", ["small", "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_25"])
def test_maps_are_a_quarter_of_the_picture(backbone):
    net = pcc.models.create("keypoint_net", num_keypoints=5, backbone=backbone)
    net.eval()
    with paddle.no_grad():
        assert net(paddle.zeros([2, 3, 64, 96])).shape == [2, 5, 16, 24]
    assert net.stride == 4


@pytest.mark.parametrize(
    ("coord", "where"), [("none", set()), ("input", {"backbone"}), ("head", {"head"}), ("all", {"backbone", "head"})]
)
def test_where_coordconv_is(coord, where):
    paddle.seed(0)
    net = pcc.models.create("keypoint_net", num_keypoints=3, coord=coord)
    layers = [name for name, layer in net.named_sublayers() if hasattr(layer, "convention")]
    assert {name.split(".")[0] for name in layers} == where
    if coord == "input":
        assert len(layers) == 1
    paddle.seed(0)
    plain = pcc.models.create("keypoint_net", num_keypoints=3, coord="none")
    net.eval()
    plain.eval()
    x = paddle.randn([2, 3, 32, 32])
    np.testing.assert_allclose(net(x).numpy(), plain(x).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "squeezenet1_0"}, "backbone"),
        ({"num_keypoints": 0}, "num_keypoints"),
        ({"coord": "first"}, "coord"),
        ({"with_r": 1}, "with_r"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ArgumentError, match=words):
        pcc.models.create("keypoint_net", **options)
