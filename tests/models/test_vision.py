"""The classifiers of paddle.vision: all there are, with CoordConv where it is asked for, for pictures of any size."""

import inspect

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.vision import models as vision

import ppcoordconv as pcc
from ppcoordconv.models.vision import NAMES, min_side
from ppcoordconv.utils.errors import UserError

SMALL = ["mobilenet_v3_small", "shufflenet_v2_x0_25", "squeezenet1_1"]


def coord_convs(network):
    return [name for name, layer in network.named_sublayers() if isinstance(layer, pcc.CoordConv)]


def test_all_classifiers_of_paddle_are_models_or_have_a_reason():
    builders = {name for name in vision.__all__ if not inspect.isclass(getattr(vision, name))}
    assert builders - set(NAMES) == {"alexnet", "googlenet"}
    assert set(NAMES) <= set(pcc.models.list_models())
    assert len(NAMES) == len(set(NAMES)) > 30


@pytest.mark.parametrize("name", NAMES)
def test_each_is_built_and_has_a_first_convolution(name):
    """Without the memory of its weights."""
    with paddle.LazyGuard():
        network = pcc.models.create(name, num_classes=3, coord="none")
    first = next(layer for layer in network.sublayers() if isinstance(layer, nn.Conv2D))
    assert type(first) is nn.Conv2D
    assert first._in_channels == 3
    assert network.min_side == min_side(name) >= 1
    assert any(3 in parameter.shape for parameter in network.parameters()[-2:])


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("coord", ["none", "first", "all"])
def test_they_take_any_size_and_learn(name, coord):
    paddle.seed(0)
    network = pcc.models.create(name, num_classes=3, coord=coord)
    convolutions = [layer for layer in network.sublayers() if type(layer) is nn.Conv2D]
    counts = {"none": 0, "first": 1, "all": len(coord_convs(network))}
    assert len(coord_convs(network)) == counts[coord]
    assert (not convolutions) == (coord == "all")
    network.eval()
    for size in ([32, 32], [48, 40]):
        assert network(paddle.rand([2, 3, *size])).shape == [2, 3]
    network.train()
    network(paddle.rand([4, 3, 64, 64])).square().sum().backward()
    for name in coord_convs(network)[:1]:
        # A weight of zero has a gradient.
        grid = dict(network.named_sublayers())[name].conv.weight.grad[:, -2:]
        assert float(grid.abs().max()) > 0


def test_a_twin_without_coordinates_starts_as_the_same_function():
    x, outputs = paddle.rand([2, 3, 32, 32]), {}
    for coord in ("none", "first", "blocks.1*"):
        paddle.seed(5)
        network = pcc.models.create("mobilenet_v3_small", num_classes=4, coord=coord, coords="half_open", with_r=True)
        network.eval()
        outputs[coord] = network(x).numpy()
    for coord in ("first", "blocks.1*"):
        np.testing.assert_allclose(outputs[coord], outputs["none"], rtol=1e-4, atol=1e-9)


def test_a_pattern_and_the_convention_reach_the_layers():
    network = pcc.models.create("resnet18", num_classes=2, coord="layer4.*.conv1", coords="half_open", with_r=True)
    assert coord_convs(network) == ["layer4.0.conv1", "layer4.1.conv1"]
    assert network.layer4[0].conv1.conv.weight.shape == [512, 256 + 3, 3, 3]
    assert network.layer4[0].conv1.coords == "half_open"


def test_running_statistics_follow_within_some_tens_of_steps():
    """Or what has learnt would be at chance where it is evaluated."""
    for name in SMALL[:2]:
        network = pcc.models.create(name, num_classes=2)
        first = next(layer for layer in network.sublayers() if isinstance(layer, nn.BatchNorm2D))
        seen = []
        first.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))  # noqa: B023
        x = paddle.rand([4, 3, 32, 32])
        network.train()
        for _ in range(40):
            network(x)
        np.testing.assert_allclose(first._mean.numpy(), seen[0].mean([0, 2, 3]).numpy(), rtol=0.05, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"coord": "layer9.*"}, "^coord takes none, first, all, or a pattern .* conv1, layer1.0.conv1.*; got 'layer9"),
        ({"coord": None}, "^coord takes none, .*; got None"),
        ({"coord": True}, "^coord takes none, .*; got True"),
        ({"with_r": 1}, "^with_r takes true or false, got 1"),
        ({"coords": "padle"}, "did you mean 'paddle'"),
        ({"pretrained": True}, "there are no weights of the model 'resnet18'"),
        ({"cord": "all"}, "has no option 'cord': did you mean 'coord'"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(UserError, match=words):
        pcc.models.create("resnet18", **options)
