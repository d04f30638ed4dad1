"""The 3,136 squares are those of the definition, and the splits are the published ones."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from ppcoordconv.data import DATASETS
from ppcoordconv.data.not_so_clevr import all_centres, one_hot, square
from ppcoordconv.utils.errors import UserError


def test_the_images_are_those_of_the_two_line_definition():
    one_hots = np.pad(np.eye(3136, dtype=np.uint8).reshape(3136, 56, 56), ((0, 0), (4, 4), (4, 4)))
    centres = all_centres()
    assert centres.shape == (3136, 2)
    for centre, expected in zip(centres, one_hots):
        assert (one_hot(centre) == 255 * expected).all()
        convolved = sliding_window_view(np.pad(expected, 4), (9, 9)).sum(axis=(2, 3))
        assert (square(centre) == 255 * convolved).all()


@pytest.mark.parametrize(
    ("options", "train", "test"),
    [
        ({}, 2509, 627),
        ({"split": "quadrant"}, 2352, 784),
        ({"split": "quadrant", "quadrant_from": 33}, 2407, 729),
    ],
)
def test_splits(options, train, test):
    data = DATASETS.build("not_so_clevr", **options)
    assert (len(data.train), len(data.test)) == (train, test)
    everything = np.concatenate([data.train, data.test])
    assert (np.unique(everything, axis=0) == np.unique(all_centres(), axis=0)).all()
    if options:
        least = options.get("quadrant_from", 32)
        assert data.test.min() == least
        assert (data.train < least).any(axis=1).all()
    again = DATASETS.build("not_so_clevr", **options)
    assert (again.test == data.test).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "quarter"}, "^split takes one of uniform, quadrant, got 'quarter'"),
        ({"split": 3}, "^split takes one of uniform, quadrant, got 3"),
        ({"split": ["uniform"]}, "^split takes one of uniform, quadrant"),
        ({"quadrant_from": 4}, "^quadrant_from takes a whole number from 5 to 59, got 4"),
        ({"quadrant_from": 60}, "got 60"),
        ({"quadrant_from": 32.0}, "got 32.0"),
        ({"quadrant_from": True}, "got True"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(UserError, match=words):
        DATASETS.build("not_so_clevr", **options)
