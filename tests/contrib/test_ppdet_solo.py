"""PaddleDetection's SOLOv2: its coordinates are ours of the convention "solo", and so are convolutions over them."""

import numpy as np
import paddle
import pytest
from paddle import nn

import ppcoordconv as pcc

pytest.importorskip("ppdet")

from ppdet.modeling.heads.solov2_head import SOLOv2Head, SOLOv2MaskHead  # noqa: E402

# linspace counts from both ends, we from one: numbers of -1..1 differ by one rounding in float32 at most.
ROUNDING = 2.0**-23
SIZES = [(12, 12), (9, 14), (17, 8)]


class Seen(nn.Layer):
    """Keeps what it is called with, and gives so many channels of it."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        self.input = x
        return x[:, : self.channels]


@pytest.mark.parametrize("size", SIZES)
def test_the_mask_heads_coordinates(size):
    """Its coarsest level's first convolution gets the features, then x, then y."""
    head = SOLOv2MaskHead(in_channels=4, mid_channels=4, out_channels=4, start_level=0, end_level=1, norm_type="bn")
    name, first = next(iter(head.conv_pre_feat1.named_children()))
    seen = Seen(4)
    setattr(head.conv_pre_feat1, name, seen)
    coarse = paddle.randn([2, 4, *size])
    head([paddle.randn([2, 4, 2 * size[0], 2 * size[1]]), coarse])
    np.testing.assert_array_equal(seen.input[:, :4].numpy(), coarse.numpy())
    ours = pcc.coord_grid(size, "solo").numpy().repeat(2, axis=0)
    np.testing.assert_allclose(seen.input[:, 4:].numpy(), ours, rtol=0, atol=ROUNDING)
    assert_same_convolution(seen.input, coarse, first.conv)


def assert_same_convolution(with_coords, features, conv):
    """Theirs, over what they have concatenated, is our layer of the same weight over the features."""
    ours = pcc.CoordConv(4, conv.weight.shape[0], 3, padding=1, bias_attr=False, coords="solo")
    assert ours.conv.weight.shape == conv.weight.shape
    ours.conv.weight.set_value(conv.weight)
    theirs = nn.functional.conv2d(with_coords, conv.weight, padding=1)
    np.testing.assert_allclose(ours(features).numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_branchs_coordinates(size, grid=8):
    """They are concatenated before the map is brought to the grid's size. There they are those of the grid times a
    number, as ours would be with that much larger weights.
    """
    head = SOLOv2Head(
        num_classes=3, in_channels=4, seg_feat_channels=6, stacked_convs=1, num_grids=[grid], norm_type="bn"
    )
    first = head.kernel_pred_convs[0]
    seen = Seen(6)
    head.kernel_pred_convs[0] = seen
    features = paddle.randn([2, 4, *size])
    head._get_output_single(features, 0)
    x, y = pcc.coord_grid([grid, grid], "solo").numpy()[0]
    height, width = (n * (grid - 1) / (grid * (n - 1)) for n in size)
    found = seen.input[:, 4:].numpy()
    np.testing.assert_allclose(found[1], found[0])
    np.testing.assert_allclose(found[0], [width * x, height * y], atol=1e-6)
    brought = seen.input[:, :4]
    scaled = paddle.concat([first.conv.weight[:, :4], first.conv.weight[:, 4:5] * width], 1)
    scaled = paddle.concat([scaled, first.conv.weight[:, 5:6] * height], 1)
    ours = pcc.CoordConv(4, 6, 3, padding=1, bias_attr=False, coords="solo")
    ours.conv.weight.set_value(scaled)
    theirs = nn.functional.conv2d(seen.input, first.conv.weight, padding=1)
    np.testing.assert_allclose(ours(brought).numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)


def test_without_resizing_the_kernel_branchs_coordinates_are_ours(grid=8):
    head = SOLOv2Head(
        num_classes=3, in_channels=4, seg_feat_channels=6, stacked_convs=1, num_grids=[grid], norm_type="bn"
    )
    first, seen = head.kernel_pred_convs[0], Seen(6)
    head.kernel_pred_convs[0] = seen
    features = paddle.randn([2, 4, grid, grid])
    head._get_output_single(features, 0)
    ours = pcc.coord_grid([grid, grid], "solo").numpy()[0]
    np.testing.assert_allclose(seen.input[0, 4:].numpy(), ours, rtol=0, atol=ROUNDING)
    assert_same_convolution(seen.input, features, first.conv)


def test_our_networks_coordconvs_stand_where_theirs_do():
    net = pcc.models.create("solo_net", num_classes=3)
    layers = {name: layer for name, layer in net.named_sublayers() if isinstance(layer, pcc.CoordConv)}
    assert set(layers) == {"kernel.0.0", "levels.1.0.0"}
    mask = SOLOv2MaskHead(in_channels=32, mid_channels=32, out_channels=32, start_level=0, end_level=1, norm_type="bn")
    head = SOLOv2Head(num_classes=3, in_channels=32, seg_feat_channels=32, norm_type="bn")
    theirs = [head.kernel_pred_convs[0].conv, next(iter(mask.conv_pre_feat1.children())).conv]
    for mine, other in zip((layers["kernel.0.0"], layers["levels.1.0.0"]), theirs):
        assert mine.conv.weight.shape == other.weight.shape == [32, 34, 3, 3]
