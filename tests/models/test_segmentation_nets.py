"""The segmentation networks: sizes, where CoordConv is, and twins."""

import numpy as np
import paddle
import pytest

import ppcoordconv as pcc
from ppcoordconv.utils.errors import UserError

NETS = [
    ("unet", {}, 16),
    ("unet", {"width": 4, "depth": 2}, 4),
    ("fpn_segmentation", {}, 8),
    ("fpn_segmentation", {"backbone": "shufflenet_v2_x0_25", "width": 16}, 32),
]


@pytest.mark.parametrize(("name", "options", "coarsest"), NETS)
def test_scores_are_as_large_as_the_picture(name, options, coarsest):
    net = pcc.models.create(name, num_classes=5, **options)
    assert net.coarsest == coarsest
    net.eval()
    with paddle.no_grad():
        assert net(paddle.zeros([2, 3, 2 * coarsest, 3 * coarsest])).shape == [2, 5, 2 * coarsest, 3 * coarsest]


@pytest.mark.parametrize(("name", "options", "coarsest"), NETS)
def test_every_weight_learns(name, options, coarsest):
    net = pcc.models.create(name, num_classes=3, coord="all", **options)
    net(paddle.randn([2, 3, 64, 64])).square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters() if not parameter.stop_gradient)


@pytest.mark.parametrize("name", ["unet", "fpn_segmentation"])
@pytest.mark.parametrize("coord", ["none", "input", "head", "all"])
def test_where_coordconv_is_and_that_it_starts_as_its_twin(name, coord):
    paddle.seed(0)
    net = pcc.models.create(name, num_classes=3, coord=coord)
    paddle.seed(0)
    plain = pcc.models.create(name, num_classes=3, coord="none")
    layers = [name for name, layer in net.named_sublayers() if isinstance(layer, pcc.CoordConv)]
    first = {"unet": "down.0.0.0", "fpn_segmentation": "backbone.stem.0"}[name]
    if coord == "none":
        assert layers == []
    if coord == "input":
        assert layers == [first]
    if coord == "head":
        assert layers
        assert all(layer.startswith("head") for layer in layers)
    if coord == "all":
        assert len(layers) == sum(isinstance(layer, paddle.nn.Conv2D) for layer in plain.sublayers())
    net.eval()
    plain.eval()
    x = paddle.randn([2, 3, 32, 32])
    np.testing.assert_allclose(net(x).numpy(), plain(x).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("unet", {"depth": 0}, "^depth takes"),
        ("unet", {"num_classes": 1}, "^num_classes takes"),
        ("unet", {"num_classes": 256}, "^num_classes takes"),
        ("unet", {"coord": "first"}, "^coord takes one of none, input, head, all, got 'first'"),
        ("unet", {"with_r": 1}, "^with_r takes true or false, got 1"),
        ("fpn_segmentation", {"backbone": "inception_v3"}, "^backbone takes one of small"),
        ("fpn_segmentation", {"width": 0}, "^width takes"),
    ],
)
def test_wrong_options(name, options, words):
    with pytest.raises(UserError, match=words):
        pcc.models.create(name, **options)
