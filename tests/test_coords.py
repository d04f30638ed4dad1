"""What a grid promises: the formula to one rounding, for every shape, under every convention."""

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ppcoordconv as pcc

LENGTHS = st.integers(1, 40)


def linspace(low, high):
    return lambda i, n: np.linspace(low, high, n)


def hypot(channels):
    return np.sqrt(sum(c**2 for c in channels))


def over_maximum(channels):
    r = hypot(channels)
    return r / r.max() if r.max() else r


# The formulas as the implementations' users know them: (index -> coordinate, its value on an axis of length 1, whether
# x comes first, the radius, whether the channels go before the features).
FORMULAS = {
    "paddle": (lambda i, n: i / (n - 1) * 2 - 1, 0, True, hypot, False),
    "paddledet_legacy": (lambda i, n: i / ((n - 1) * 2.0) - 1, 0, True, hypot, False),
    "half_open": (lambda i, n: 2 * i / n - 1, -1, False, hypot, False),
    "gnouhp": (lambda i, n: 2 * i / n - 1, -1, True, hypot, False),
    "uber": (lambda i, n: i / (n - 1) * 2 - 1, 0, True, hypot, False),
    "mkocabas": (lambda i, n: i / (n - 1) * 2 - 1, 0, False, lambda c: hypot([a - 0.5 for a in c]), False),
    "walsvid": (lambda i, n: i / (n - 1) * 2 - 1, 0, False, lambda c: hypot([a - 0.5 for a in c]), False),
    "wizaron": (lambda i, n: i / (n - 1) * 2 - 1, 0, False, over_maximum, True),
    "keras": (lambda i, n: i / (n - 1) * 2 - 1, 0, False, lambda c: hypot([a - 0.5 for a in c]), False),
    "solo": (linspace(-1, 1), -1, True, hypot, False),
    "monai": (linspace(-0.5, 0.5), -0.5, False, hypot, False),
    "thelper": (lambda i, n: (i - (n - 1) // 2) / (n - 1), 0, True, hypot, False),
    "robomimic": (lambda i, n: i / n, 0, False, hypot, False),
    "pixel": (lambda i, n: i, 0, True, hypot, False),
}


def test_every_convention_has_its_formula_here():
    assert sorted(FORMULAS) == sorted(pcc.list_coords())


@pytest.mark.parametrize("coords", FORMULAS)
@given(shape=st.lists(LENGTHS, min_size=1, max_size=3), with_r=st.booleans())
def test_a_convention_is_its_formula(coords, shape, with_r):
    coordinate, alone, x_first, radius, before = FORMULAS[coords]
    lines = [coordinate(np.arange(n, dtype=np.float64), n) if n > 1 else np.array([alone]) for n in shape]
    expected = list(np.meshgrid(*lines, indexing="ij"))
    expected = expected[::-1] if x_first else expected  # x is the last axis
    if with_r:
        expected.append(radius(expected))
    grid = pcc.coord_grid(shape, coords, with_r).numpy()
    assert grid.shape == (1, len(expected), *shape)
    np.testing.assert_allclose(grid[0], expected, rtol=3e-7, atol=1e-7)
    assert pcc.coords.find_coords(coords).coords_first is before


def test_the_blogs_own_figures():
    """The "Coord Conv" blog prints its channels for a 320x320 map at three places."""
    row, col = pcc.coord_grid([320, 320], "half_open")[0].numpy()
    for place, expected in {(0, 0): (-1, -1), (0, -1): (-1, 0.99375), (160, 106): (0, -0.3375)}.items():
        assert (row[place], col[place]) == pytest.approx(expected)


def test_x_runs_along_the_width_and_y_along_the_height():
    x, y = pcc.coord_grid([2, 3])[0].numpy()
    assert x.tolist() == [[-1, 0, 1], [-1, 0, 1]]
    assert y.tolist() == [[-1, -1, -1], [1, 1, 1]]


@given(st.integers(2, 5000))
def test_ends_are_exact_and_the_grid_is_antisymmetric(n):
    line = pcc.coord_grid([n])[0, 0].numpy()
    assert (line[0], line[-1]) == (-1, 1)
    assert (line == -line[::-1]).all()
    assert (np.diff(line) > 0).all()


@pytest.mark.parametrize("coords", pcc.list_coords())
@pytest.mark.parametrize("shape", [[1], [1, 5], [5, 1], [1, 1], [1, 1, 1]])
def test_an_axis_of_length_one_is_finite(coords, shape):
    assert np.isfinite(pcc.coord_grid(shape, coords, with_r=True).numpy()).all()


def test_an_axis_of_length_one_is_zero():
    assert pcc.coord_grid([1, 3], with_r=True)[0, 1].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", paddle.float32, paddle.float16])
def test_dtype(dtype):
    grid = pcc.coord_grid([3, 7], dtype=dtype)
    name = dtype if isinstance(dtype, str) else str(dtype).split(".")[-1]
    assert grid.dtype == getattr(paddle, name)
    if name != "float64":
        rounded_once = pcc.coord_grid([3, 7]).astype(name)
        assert (grid.astype("float32") == rounded_once.astype("float32")).all().item()


def test_requires_no_gradient():
    assert pcc.coord_grid([4, 5], with_r=True).stop_gradient


def from_zero_to_one(index, length):
    return index / length


def test_a_convention_of_ones_own():
    mine = pcc.Coords(coordinate=from_zero_to_one, x_first=False, radius=lambda channels: channels[0] - channels[1])
    row, col, r = pcc.coord_grid([2, 4], mine, with_r=True)[0].numpy()
    assert row.tolist() == [[0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]]
    assert col.tolist() == [[0, 0.25, 0.5, 0.75]] * 2
    assert (r == row - col).all()


def test_conventions_can_not_be_changed_and_are_listed():
    assert pcc.list_coords()[0] == "paddle"
    with pytest.raises(AttributeError):
        pcc.Coords().coords_first = True


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([2, 3], "padle"), ValueError, "did you mean 'paddle'"),
        (([2, 3], "zzz"), ValueError, "The conventions are paddle"),
        (([2, 3], 3), TypeError, "a list of them, or a Given, got 3"),
        (([],), ValueError, "one to three lengths"),
        (([1, 2, 3, 4],), ValueError, "one to three lengths"),
        ((5,), TypeError, "list of lengths, got 5"),
        (([2, 0],), ValueError, "at least 1"),
        (([2, -1],), ValueError, "at least 1"),
        (([2, 1.5],), TypeError, "takes integers"),
        (([2, True],), TypeError, "takes integers"),
        (([2, 3], "paddle", 1), TypeError, "with_r takes True or False, got 1"),
        (([2, 3], "paddle", False, "int32"), ValueError, "dtype takes"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        pcc.coord_grid(*arguments)


def test_a_grid_of_float64_is_computed_in_it():
    line = pcc.coord_grid([1001], dtype="float64")[0, 0].numpy()
    np.testing.assert_allclose(line, np.linspace(-1, 1, 1001), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("axes", "with_r", "channels"), [(1, False, 1), (2, True, 3), (3, True, 4)])
def test_count_channels(axes, with_r, channels):
    assert pcc.coords.count_channels(pcc.Coords(), axes, with_r) == channels
    assert pcc.coord_grid([2] * axes, with_r=with_r).shape[1] == channels


@pytest.mark.parametrize(
    ("coords", "with_r", "words"),
    [
        (pcc.Coords(lambda i, n: paddle.concat([i, i])), False, r"coordinate must return .* of shape \[4\], got \[8\]"),
        (pcc.Coords(lambda i, n: n), False, r"coordinate must return a Tensor of shape \[4\], got \[1\]"),
        (pcc.Coords(lambda i, n: 0.5), False, "coordinate must return a Tensor, got float"),
        (pcc.Coords(lambda i, n: None), False, "coordinate must return a Tensor, got NoneType"),
        (pcc.Coords(radius=lambda c: None), True, "radius must return a Tensor, got NoneType"),
        (pcc.Coords(radius=lambda c: paddle.concat(c, 1)), True, r"radius must return .* of shape \[1, 1, 4, 4\], got"),
    ],
)
def test_functions_of_ones_own_return_what_fits(coords, with_r, words):
    with pytest.raises((TypeError, ValueError), match=words):
        pcc.coord_grid([4, 4], coords, with_r)


def with_state():
    calls = []

    def counted(i, n):
        calls.append(1)
        return i * len(calls)

    return counted


@pytest.mark.parametrize(
    ("coords", "with_r", "words"),
    [
        (lambda scale: pcc.Coords(lambda i, n: i * scale), False, "coordinate must be of the index alone"),
        (lambda scale: pcc.Coords(radius=lambda c: c[0] * scale), True, "radius must be of the index alone"),
        (lambda scale: pcc.Coords(with_state()), False, "must return the same for the same index and length"),
        (lambda scale: pcc.Coords(lambda i, n: i + paddle.rand(i.shape)), False, "must return the same for the same"),
    ],
    ids=["a parameter", "a parameter in the radius", "a state", "at random"],
)
def test_what_would_be_used_stale_is_refused(coords, with_r, words):
    scale = paddle.create_parameter([1], "float32")
    with pytest.raises(ValueError, match=words):
        pcc.coord_grid([8, 8], coords(scale), with_r)


def test_long_axes_end_where_they_should():
    """Beyond what float32 counts."""
    n = 2**24 + 5
    line = pcc.coord_grid([n])[0, 0]
    assert (line[0].item(), line[-1].item(), line[(n - 1) // 2].item()) == (-1, 1, 0)
