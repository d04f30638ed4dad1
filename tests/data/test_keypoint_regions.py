"""The part of a picture that a keypoint network is given: points stay on what they are of."""

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from ppcoordconv.data.keypoint_regions import Region
from ppcoordconv.data.keypoints import KeypointObject
from ppcoordconv.utils.errors import ArgumentError

MIRROR = np.array([1, 0, 2])


def marked(seed, size=(40, 60)):
    """Each point is in a pixel of its own colour, the third not labelled."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros([*size, 3], np.uint8)
    places = rng.permutation(size[0] * size[1])[:2]
    rows, columns = np.divmod(places, size[1])
    pixels[rows, columns] = [[255, 0, 0], [0, 255, 0]]
    points = np.zeros([3, 3], np.float32)
    points[:2] = np.stack([columns + 0.5, rows + 0.5, [2, 1]], axis=1)
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
    return KeypointObject(pixels, size, box, points, 100.0)


@settings(max_examples=examples(60))
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from(["box", "whole"]), st.floats(0, 1), st.floats(0, 0.5))
def test_points_stay_on_their_pixels(seed, flip, region, margin, jitter):
    one = marked(seed)
    pixels, points, part = Region(region, margin, flip, jitter)(one, np.random.default_rng(seed), MIRROR)
    left, top, right, bottom = part
    assert pixels.shape == (bottom - top, right - left, 3)
    assert left >= 0
    assert top >= 0
    assert right <= 60
    assert bottom <= 40
    is_mirrored = (pixels != one.image[top:bottom, left:right]).any()
    for number, (x, y, visibility) in enumerate(points[:2]):
        if visibility:
            wanted = [[255, 0, 0], [0, 255, 0]][1 - number if is_mirrored else number]
            assert pixels[int(y), int(x)].tolist() == wanted
    assert points[2, 2] == 0


def test_a_mirrored_point_is_the_other_side():
    one = marked(3)
    flips = [Region("whole", flip=True)(one, np.random.default_rng(seed), MIRROR) for seed in range(20)]
    is_mirrored = [(pixels != one.image).any() for pixels, _, _ in flips]
    assert 0 < sum(is_mirrored) < 20
    pixels, points, part = flips[is_mirrored.index(True)]
    assert (pixels == one.image[:, ::-1]).all()
    np.testing.assert_allclose(points[0], [60 - one.points[1, 0], one.points[1, 1], 1])
    np.testing.assert_allclose(points[1], [60 - one.points[0, 0], one.points[0, 1], 2])
    assert part.tolist() == [0, 0, 60, 40]


def test_the_margin_is_a_part_of_the_longer_side():
    one = KeypointObject(
        np.zeros([100, 100, 3], np.uint8), (100, 100), np.array([40, 40, 60, 50.0]), np.zeros([1, 3]), 1
    )
    assert Region(margin=0.5)(one)[2].tolist() == [30, 30, 70, 60]
    assert Region("whole", margin=0.5)(one)[2].tolist() == [0, 0, 100, 100]


def test_points_outside_of_a_drawn_part_are_not_labelled():
    points = np.array([[50, 45, 2], [10, 10, 2]], np.float32)
    one = KeypointObject(np.zeros([100, 100, 3], np.uint8), (100, 100), np.array([40, 40, 60, 50.0]), points, 1)
    drawn = Region(margin=0)(one, np.random.default_rng(0))[1]
    assert drawn.tolist() == [[10, 5, 2], [0, 0, 0]]
    # What is measured counts them.
    assert Region(margin=0)(one)[1].tolist() == [[10, 5, 2], [-30, -30, 2]]
    assert one.points.tolist() == points.tolist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"region": "half"}, "region"),
        ({"margin": -1}, "margin"),
        ({"flip": 1}, "flip"),
        ({"jitter": 0.6}, "jitter"),
        ({"colour": 2}, "colour"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ArgumentError, match=words):
        Region(**options)
