"""The network of instance segmentation: shapes, where CoordConv is, twins, and what tells equal objects apart."""

import numpy as np
import paddle
import pytest

import ppcoordconv as pcc
from ppcoordconv.models.solo_net import NOWHERE, PackedInstances
from ppcoordconv.utils.errors import UserError

PLACES = {
    "none": set(),
    "kernel": {"kernel.0.0"},
    "mask": {"levels.1.0.0"},
    "both": {"kernel.0.0", "levels.1.0.0"},
}


def create(**options):
    return pcc.models.create("solo_net", num_classes=5, **options)


@pytest.mark.parametrize(("backbone", "coarsest"), [("small", 8), ("shufflenet_v2_x0_25", 32)])
def test_categories_kernels_and_features(backbone, coarsest):
    net = create(backbone=backbone, grid=7, mask_channels=6)
    net.eval()
    assert net.coarsest == coarsest
    with paddle.no_grad():
        maps = net(paddle.zeros([2, 3, 64, 96]))
    assert [list(y.shape) for y in maps] == [[2, 5, 7, 7], [2, 6, 7, 7], [2, 6, 16, 24]]


@pytest.mark.parametrize("coord", PLACES)
def test_where_coordconv_is_and_that_it_starts_as_its_twin(coord):
    paddle.seed(0)
    net = create(coord=coord)
    paddle.seed(0)
    plain = create(coord="none")
    assert {name for name, layer in net.named_sublayers() if isinstance(layer, pcc.CoordConv)} == PLACES[coord]
    net.eval()
    plain.eval()
    x = paddle.randn([2, 3, 64, 64])
    for mine, other in zip(net(x), plain(x)):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5, atol=1e-5)


def test_the_coarsest_of_several_levels_has_the_coordinates():
    net = create(backbone="shufflenet_v2_x0_25", coord="mask")
    assert [name for name, layer in net.named_sublayers() if isinstance(layer, pcc.CoordConv)] == ["levels.3.0.0"]


def test_every_weight_learns():
    net = create()
    sum(y.square().mean() for y in net(paddle.randn([2, 3, 64, 64]))).backward()
    assert all(parameter.grad is not None for parameter in net.parameters() if not parameter.stop_gradient)


def test_the_grid_is_of_the_map_of_stride_8():
    net = create()
    categories, kernels, _ = net(paddle.randn([1, 3, 64, 64]))
    (categories.square().sum() + kernels.square().sum()).backward()
    fine, coarse = (layer.weight.grad for layer in net.neck.output)
    assert coarse.abs().sum().item() > 0
    assert fine is None or fine.abs().sum().item() == 0


def test_kernels_know_where_their_cell_is_and_categories_do_not():
    """Of a picture of one colour, without the edges of the grid, where zeros are seen."""
    net = create(coord="both", grid=12)
    net.eval()
    for name, layer in net.named_sublayers():
        if name in PLACES["both"]:
            layer.conv.weight.set_value(paddle.randn(layer.conv.weight.shape))
    categories, kernels, _ = (y.numpy()[0, :, 5:7, 5:7] for y in net(paddle.zeros([1, 3, 192, 192])))
    np.testing.assert_allclose(categories, categories[:, :1, :1].repeat(2, 1).repeat(2, 2), atol=1e-5)
    assert np.abs(kernels[:, 0, 0] - kernels[:, 1, 1]).max() > 1e-3


@pytest.mark.parametrize("size", [(4, 4), (4, 7), (9, 6)])
def test_packing_keeps_every_number(size):
    parts = [paddle.randn([2, 3, 4, 4]), paddle.randn([2, 5, 4, 4]), paddle.randn([2, 5, *size])]
    packed = PackedInstances()(parts).numpy()
    assert packed.shape == (2, 13, *size)
    for part, found in zip(parts, np.split(packed, [3, 8], axis=1)):
        np.testing.assert_array_equal(part.numpy(), found[:, :, : part.shape[2], : part.shape[3]])
    outside = np.ones(size, bool)
    outside[:4, :4] = False
    assert (packed[:, :3, outside] == NOWHERE).all()
    assert (packed[:, 3:8, outside] == 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"grid": 0}, "^grid takes"),
        ({"grid": 1.5}, "^grid takes"),
        ({"width": 0}, "^width takes"),
        ({"mask_channels": 0}, "^mask_channels takes"),
        ({"coord": "input"}, "^coord takes one of none, kernel, mask, both, got 'input'"),
        ({"with_r": 1}, "^with_r takes true or false, got 1"),
        ({"backbone": "inception_v3"}, "^backbone takes one of small"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(UserError, match=words):
        create(**options)
