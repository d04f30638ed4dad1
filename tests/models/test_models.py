"""The models' published parameter counts, layer table and state dict, and a table test over all of them."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from conftest import own_models
from paddle import nn

import ppcoordconv as pcc
from ppcoordconv.utils.errors import UserError


def count_parameters(network):
    return sum(int(p.size) for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("aistudio_coordconv", {}, 160_065),
        ("aistudio_conv", {}, 158_913),
        ("coordinate_classification_coordconv", {}, 7_553),
        ("coordinate_deconvolution", {"kernel_size": 2, "width": 1}, 46_465),
        ("coordinate_deconvolution", {"kernel_size": 4, "width": 3}, 1_632_001),
        ("coordinate_deconvolution", {"kernel_size": 2, "width": 3, "norm": False}, 408_193),
        ("coordinate_regression_coordconv", {}, 906),
        ("coordinate_regression_conv_pooled", {}, 72_850),
        ("coordinate_regression_conv_strided", {}, 12_914),
        ("coordinate_rendering_coordconv", {"kernel_size": 1, "width": 1}, 8_074),
        ("coordinate_rendering_coordconv", {"kernel_size": 2, "width": 2}, 15_010),
        ("coordinate_rendering_coordconv", {"kernel_size": 3, "width": 2}, 24_210),
    ],
)
def test_published_parameter_counts(name, options, parameters):
    # The statistics of normalisation are parameters to Paddle, and not to those who count.
    trained = [p for p in pcc.models.create(name, **options).parameters() if not p.stop_gradient]
    assert sum(int(p.size) for p in trained) == parameters


def test_summary_is_the_articles_layer_table(capsys):
    network = pcc.models.create("aistudio_coordconv")
    with paddle.utils.unique_name.guard():
        totals = paddle.summary(network, (64, 3, 32, 32))
    printed = capsys.readouterr().out
    assert totals == {"total_params": 160_065, "trainable_params": 160_065}
    rows = []
    for line in printed.splitlines():
        if "[[" in line:
            name, rest = line.split(maxsplit=1)
            output, parameters = rest.rsplit("]]", 1)[1].rsplit(maxsplit=1)
            rows.append((name.rsplit("-", 1)[0], output.strip(), parameters))
    assert rows == [
        ("Conv2D", "[64, 32, 32, 32]", "896"),
        ("Conv2D", "[64, 64, 15, 15]", "18,496"),
        ("Conv2D", "[64, 64, 7, 7]", "36,928"),
        ("GridConv2D", "[64, 64, 4, 4]", "38,080"),
        ("CoordConv", "[64, 64, 4, 4]", "0"),
        ("Flatten", "[64, 1024]", "0"),
        ("Linear", "[64, 64]", "65,600"),
        ("Linear", "[64, 1]", "65"),
    ]


class ConcatThenConv(nn.Layer):
    """A CoordConv as the article, and most code, writes it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(66, 64, 3, stride=2, padding=1)

    def forward(self, x):
        n, _, h, w = x.shape
        ramp_x = (paddle.arange(w, dtype="float32") * 2 / (w - 1) - 1).reshape([1, 1, 1, w]).expand([n, 1, h, w])
        ramp_y = (paddle.arange(h, dtype="float32") * 2 / (h - 1) - 1).reshape([1, 1, h, 1]).expand([n, 1, h, w])
        return self.conv(paddle.concat([x, ramp_x, ramp_y], axis=1))


class ArticleNet(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2D(3, 32, 3, padding=1), nn.Conv2D(32, 64, 3, stride=2)
        self.conv3, self.conv4 = nn.Conv2D(64, 64, 3, stride=2), ConcatThenConv()
        self.linear1, self.linear2 = nn.Linear(1024, 64), nn.Linear(64, 1)

    def forward(self, x):
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = F.relu(layer(x))
        return self.linear2(F.relu(self.linear1(x.flatten(1))))


def test_a_state_dict_of_the_articles_code_loads_unchanged():
    article, ours = ArticleNet(), pcc.models.create("aistudio_coordconv")
    assert set(article.state_dict()) == set(ours.state_dict())
    missing, unexpected = ours.set_state_dict(article.state_dict())
    assert not missing
    assert not unexpected
    x = paddle.randn([4, 3, 32, 32])
    expected = article(x)
    assert ((ours(x) - expected).abs().max() / expected.abs().max()).item() <= 1e-5


@pytest.mark.parametrize("name", own_models())
def test_every_model_takes_its_input_and_learns(name):
    network = pcc.models.create(name)
    outputs = network(paddle.randn([2, *network.input_shape]))
    sum(output.sum() for output in (outputs if isinstance(outputs, list) else [outputs])).backward()
    assert all(p.grad is not None for p in network.parameters() if not p.stop_gradient)


@pytest.mark.parametrize("kernel_size", [2, 3, 4])
@pytest.mark.parametrize("norm", [True, False])
def test_every_deconvolution_ends_at_the_canvas(kernel_size, norm):
    network = pcc.models.create("coordinate_deconvolution", kernel_size=kernel_size, norm=norm)
    assert network(paddle.randn([3, 2])).shape == [3, 4096]


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_every_renderer_ends_at_the_canvas(kernel_size):
    network = pcc.models.create("coordinate_rendering_coordconv", kernel_size=kernel_size, width=1)
    assert network(paddle.randn([3, 2])).shape == [3, 4096]


@pytest.mark.parametrize("coords", ["paddle", "half_open"])
def test_the_coordinate_classifier_is_the_papers_stack_of_layers(coords):
    paddle.seed(0)
    network = pcc.models.create("coordinate_classification_coordconv", coords=coords)
    stack = [pcc.CoordConv(2, 32, 1, coords=coords)]
    for channels in ((32, 32), (32, 64), (64, 64), (64, 1)):
        stack += [nn.ReLU(), nn.Conv2D(*channels, 1)]
    stack = nn.Sequential(*stack)
    for layer, same in zip(stack.parameters(), network.parameters()):
        layer.set_value(same)
    points = paddle.rand([3, 2]) * 2 - 1
    expected = stack(points.reshape([3, 2, 1, 1]).expand([3, 2, 64, 64])).flatten(1)
    got = network(points)
    assert float((got - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    for logits in (got, expected):
        F.cross_entropy(logits, paddle.to_tensor([0, 70, 4095])).backward()
    *others, last_bias = zip(network.parameters(), stack.parameters())
    for a, b in others:
        assert float((a.grad - b.grad).abs().max()) <= 1e-5 * max(1e-2, float(b.grad.abs().max()))
    # The softmax does not see it: its gradient is 0, summed from parts that cancel.
    assert all(float(bias.grad.abs()) <= 1e-5 for bias in last_bias)


def test_the_classifier_that_starts_from_differences_sees_no_more():
    network = pcc.models.create("coordinate_classification_coordconv", init="differences")
    spans = paddle.to_tensor([[-0.5, 0.25], [-0.5 + 20 / 63, 0.25 + 8 / 63]])
    near, moved = network(spans).reshape([2, 64, 64])
    assert float((near[:60, :54] - moved[4:, 10:]).abs().max()) <= 1e-5 * float(near.abs().max())


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_the_renderer_starts_alive_and_at_the_squares_part(kernel_size):
    for seed in range(6):
        paddle.seed(seed)
        network = pcc.models.create(
            "coordinate_rendering_coordconv", kernel_size=kernel_size, width=1, init="differences"
        )
        even = network.convolutions(paddle.full([1, 1, 64, 64], 1 / 4096))[0, 0, 32, 32]
        assert float(even) == pytest.approx(1 + np.log(81 / (4096 - 81)), abs=1e-4)
        network(paddle.zeros([1, 2])).square().sum().backward()
        assert all(float(p.grad.abs().max()) > 0 for p in network.parameters() if p.ndim == 4)


def test_the_regressor_that_starts_centred():
    network = pcc.models.create("coordinate_regression_coordconv", init="centred")
    canvas = paddle.zeros([1, 1, 64, 64])
    canvas[0, 0, 32, 32] = 1.0
    assert network(canvas).numpy()[0] == pytest.approx([0.5, 0.5], abs=1e-5)


def test_options_reach_the_layer():
    network = pcc.models.create("aistudio_coordconv", with_r=True)
    assert count_parameters(network) == 160_065 + 64 * 9


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("aistudio_cordconv", {}, "did you mean 'aistudio_coordconv'"),
        ("transformer", {}, "there is no model 'transformer'. The models are aistudio_conv"),
        ("aistudio_conv", {"coords": "paddle"}, "has no option 'coords'"),
        ("aistudio_coordconv", {"num_class": 3}, "did you mean 'num_classes'"),
        ("aistudio_coordconv", {"coords": "padle"}, "did you mean 'paddle'"),
        ("coordinate_classification_coordconv", {"coords": "padle"}, "did you mean 'paddle'"),
        ("coordinate_regression_coordconv", {"coords": "padle"}, "did you mean 'paddle'"),
        ("coordinate_corner", {"coords": "padle"}, "did you mean 'paddle'"),
        ("coordinate_regression_coordconv", {"init": "differences"}, "init takes one of random, centred"),
        ("coordinate_classification_coordconv", {"init": "centred"}, "init takes one of random, differences"),
        ("coordinate_rendering_coordconv", {"init": 1}, "init takes one of random, differences, got 1"),
        ("coordinate_deconvolution", {"kernel_size": 5}, "kernel_size takes a whole number from 2 to 4, got 5"),
        ("coordinate_deconvolution", {"width": True}, "width takes a whole number from 1 to 3, got True"),
        ("coordinate_rendering_coordconv", {"kernel_size": 0}, "kernel_size takes a whole number from 1 to 3, got 0"),
        ("coordinate_rendering_coordconv", {"width": 1.0}, "width takes a whole number from 1 to 3, got 1.0"),
    ],
)
def test_wrong_names_and_options(name, options, words):
    with pytest.raises(UserError, match=words):
        pcc.models.create(name, **options)
