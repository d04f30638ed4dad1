"""A checkpoint of plain convolutions in a network with CoordConv computes what it computed."""

import numpy as np
import paddle
import pytest
from paddle import nn

import ppcoordconv as pcc


def plain():
    return nn.Sequential(
        nn.Conv2D(4, 8, 3, groups=2),
        nn.BatchNorm2D(8),
        nn.ReLU(),
        nn.Conv2D(8, 6, 1, bias_attr=False),
        nn.Conv2D(6, 2, 1),
        nn.Conv2DTranspose(2, 4, 2, stride=2, groups=2),
    )


def with_coordinates(**options):
    return nn.Sequential(
        pcc.CoordConv(4, 8, 3, groups=2, **options),
        nn.BatchNorm2D(8),
        nn.ReLU(),
        pcc.CoordConv(8, 6, 1, bias_attr=False, **options),
        nn.Conv2D(6, 2, 1),
        pcc.CoordConv2DTranspose(2, 4, 2, stride=2, groups=2, **options),
    )


@pytest.mark.parametrize("coords", ["paddle", "wizaron", "fourier(2)", "learnt(3, 4)"])
@pytest.mark.parametrize("as_arrays", [False, True])
def test_it_computes_the_same(coords, as_arrays):
    old, new = plain(), with_coordinates(coords=coords, with_r=True)
    state = {key: value.numpy() if as_arrays else value for key, value in old.state_dict().items()}
    assert pcc.load_plain_weights(new, state) == ["0", "3", "5"]
    old.eval(), new.eval()
    x = paddle.randn([2, 4, 8, 8])
    np.testing.assert_allclose(new(x).numpy(), old(x).numpy(), rtol=1e-5, atol=1e-5)
    assert pcc.coord_usage(new)["0"].total == 0
    again = with_coordinates(coords=coords, with_r=True)
    assert pcc.load_plain_weights(again, new.state_dict()) == []
    again.eval()
    assert (again(x) == new(x)).all().item()


def test_a_layer_alone():
    old, new = nn.Conv2D(3, 4, 1), pcc.CoordConv(3, 4, 1)
    assert pcc.load_plain_weights(new, old.state_dict()) == [""]
    x = paddle.randn([1, 3, 5, 5])
    np.testing.assert_allclose(new(x).numpy(), old(x).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"0.weight": None}, "0.conv.weight is missing"),
        ({"1.more": np.zeros(3)}, "1.more is not the model's"),
        ({"3.weight": np.zeros([6, 7, 1, 1])}, r"3.conv.weight has shape \[6, 7, 1, 1\] instead of \[6, 10, 1, 1\]"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(change, words):
    state = {**plain().state_dict(), **change}
    state = {key: value for key, value in state.items() if value is not None}
    model = with_coordinates()
    before = {key: value.numpy() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        pcc.load_plain_weights(model, state)
    assert all((value.numpy() == before[key]).all() for key, value in model.state_dict().items())


def test_wrong_arguments():
    with pytest.raises(TypeError, match="load_plain_weights: expected a paddle.nn.Layer, got dict"):
        pcc.load_plain_weights({}, {})
    with pytest.raises(TypeError, match="state: expected a dict, got str"):
        pcc.load_plain_weights(plain(), "weights.pdparams")


class Shared(nn.Layer):
    """One convolution by two names."""

    def __init__(self, conv):
        super().__init__()
        self.first = self.second = conv

    def forward(self, x):
        return self.second(self.first(x))


def test_a_layer_that_has_two_names():
    old, new = Shared(nn.Conv2D(3, 3, 1)), Shared(pcc.CoordConv(3, 3, 1))
    assert pcc.load_plain_weights(new, old.state_dict()) == ["first", "second"]
    x = paddle.randn([2, 3, 4, 4])
    np.testing.assert_allclose(new(x).numpy(), old(x).numpy(), rtol=1e-5, atol=1e-6)
