"""Maps of one size share their grid, and no more of them are kept than is said."""

import numpy as np
import paddle
import pytest

import ppcoordconv as pcc
from ppcoordconv.grids import grid_of


@pytest.fixture
def kept(monkeypatch):
    """What is kept of grids, empty at first."""
    grids = {}
    monkeypatch.setattr("ppcoordconv.grids._GRIDS", grids)
    return grids


def grid_of_map(*size, dtype="float32", with_r=False):
    return grid_of(paddle.zeros([2, 3, *size], dtype), pcc.Coords(), with_r)


def test_maps_of_one_size_share_their_grid(kept):
    grid = grid_of_map(4, 5)
    assert grid_of_map(4, 5) is grid
    np.testing.assert_array_equal(grid.numpy(), pcc.coord_grid([4, 5]).numpy())
    assert grid_of_map(5, 4) is not grid
    assert grid_of_map(4, 5, with_r=True).shape == [1, 3, 4, 5]
    assert len(kept) == 3


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [("float64", "float64"), ("float32", "float32"), ("float16", "float32"), ("bfloat16", "float32")],
)
def test_the_grid_of_a_map_is_in_float32_or_float64(kept, dtype, wanted):
    assert grid_of_map(3, 3, dtype=dtype).dtype == getattr(paddle, wanted)


def test_sixteen_sizes_are_kept_and_then_begun_anew(kept):
    for width in range(1, 17):
        grid_of_map(1, width)
        assert len(kept) == width
    grid_of_map(1, 17)
    assert len(kept) == 1


def test_so_many_numbers_are_kept(kept, monkeypatch):
    """A grid of two channels and 10 places has 20 numbers."""
    monkeypatch.setattr("ppcoordconv.grids._MAX_ELEMENTS", 40)
    grid_of_map(2, 5)
    grid_of_map(5, 2)
    assert len(kept) == 2
    last = grid_of_map(1, 1)
    assert [id(grid) for grid in kept.values()] == [id(last)]
    assert grid_of_map(3, 7).shape == [1, 2, 3, 7]
    assert [id(grid) for grid in kept.values()] == [id(last)]
    grid_of_map(4, 5)
    assert len(kept) == 1
