"""Pictures of classification are cropped, mirrored, turned, coloured and covered as their preset says."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ppcoordconv.data.picture_augmentation import PRESETS, Augmentation, SoftTargets
from ppcoordconv.utils.errors import UserError

STILL = {"colour": 0.0}


def ramp(height, width):
    """Whose red tells the column and whose green tells the row."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8))


def augmented(seed, image=None, size=(40, 48), **options):
    augmentation = Augmentation(**{"area": 0.3, **STILL, **options})
    made, part = augmentation(image or ramp(200, 240), size, np.random.default_rng(seed))
    return np.asarray(made).astype(float), part


@given(st.integers(0, 1000))
def test_a_crop_is_what_its_part_says(seed):
    """Row and column of each pixel are those of the picture, mirrored where its whole is."""
    pixels, (left, top, right, bottom) = augmented(seed)
    assert 0 <= left < right <= 240 and 0 <= top < bottom <= 200
    width, height = (right - left) / 240, (bottom - top) / 200
    assert 0.295 <= width * height <= 1
    assert 0.74 <= width / height <= 1.35
    columns = left + (np.arange(48) + 0.5) * (right - left) / 48 - 0.5
    rows = top + (np.arange(40) + 0.5) * (bottom - top) / 40 - 0.5
    red = pixels[20, :, 0]
    is_mirrored = red[0] > red[-1]
    expected = 239 - columns if is_mirrored else columns
    assert np.abs(red - expected)[2:-2].max() <= 1.5
    assert np.abs(pixels[:, 24, 1] - rows)[2:-2].max() <= 1.5


def test_half_are_mirrored():
    mirrored = [pixels[20, 0, 0] > pixels[20, -1, 0] for pixels, _ in map(augmented, range(400))]
    assert 150 < sum(mirrored) < 250


def test_colours_change_as_far_as_they_may():
    grey = Image.new("RGB", (8, 8), (100, 100, 100))
    values = [augmented(seed, grey, colour=0.2)[0][0, 0] for seed in range(300)]
    assert all(value[0] == value[1] == value[2] for value in values)
    assert 78 <= min(value[0] for value in values) < 85
    assert 115 < max(value[0] for value in values) <= 122
    red = Image.new("RGB", (8, 8), (200, 50, 50))
    assert all((augmented(seed, red)[0] == [200, 50, 50]).all() for seed in range(5))
    assert len({tuple(augmented(seed, red, hue=0.1)[0][0, 0]) for seed in range(20)}) > 10


def test_turns():
    """A bar that stood upright leans by no more than it may, in both directions."""
    bar = Image.fromarray(
        np.where(abs(np.arange(101) - 50)[None, :, None] < 6, 255, 0).repeat(101, 0).repeat(3, 2).astype(np.uint8)
    )
    slopes = []
    for seed in range(40):
        pixels, _ = augmented(seed, bar, size=(101, 101), area=1.0, degrees=15)
        columns = [(row * np.arange(101)).sum() / row.sum() for row in pixels[[30, 70], :, 0]]
        slopes.append(np.degrees(np.arctan((columns[1] - columns[0]) / 40)))
    assert -22 < min(slopes) < -8
    assert 8 < max(slopes) < 22


def test_a_part_is_covered_as_often_as_is_said():
    black = Image.new("RGB", (50, 50))
    shares = [(augmented(seed, black, erase=0.25)[0].max(axis=2) > 0).mean() for seed in range(400)]
    covered = [share for share in shares if share]
    assert 70 < len(covered) < 130
    assert 0.01 < min(covered) < max(covered) < 0.25


@pytest.mark.parametrize("preset", PRESETS)
def test_threads_do_not_matter(preset):
    """What a sample's generator draws is drawn from nothing else."""
    image = ramp(60, 50)

    def made(seed):
        return np.asarray(PRESETS[preset](image, (32, 32), np.random.default_rng(seed))[0]).tobytes()

    alone = [made(seed) for seed in range(40)]
    np.random.seed(3)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(made, range(40))) == alone
    assert len(set(alone)) == 40


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (3, 2)])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_smallest_pictures(preset, size):
    for seed in range(20):
        made, part = PRESETS[preset](Image.new("RGB", size[::-1]), (8, 9), np.random.default_rng(seed))
        assert made.size == (9, 8)
        assert part[0] < part[2] and part[1] < part[3]


@given(st.integers(2, 9), st.floats(0, 1), st.floats(0.5, 1), st.data())
def test_a_soft_target_is_one_in_all(classes, smoothing, share, data):
    label, other = (data.draw(st.integers(0, classes - 1)) for _ in range(2))
    target = SoftTargets(classes, smoothing)(label, other, share)
    expected = (1 - smoothing) * (share * np.eye(classes)[label] + (1 - share) * np.eye(classes)[other])
    np.testing.assert_allclose(target, expected + smoothing / classes, atol=1e-6)
    assert target.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("alpha", [1e-12, 0.2, 1, 10])
def test_shares_of_the_beta_distribution(alpha):
    rng = np.random.default_rng(0)
    shares = [SoftTargets(2, 0, alpha).draw_share(rng) for _ in range(300)]
    reference = np.random.default_rng(0).beta(alpha, alpha, 300)
    assert np.isfinite(shares).all()
    np.testing.assert_array_equal(shares, np.maximum(reference, 1 - reference))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label_smoothing": 1.1}, "^label_smoothing takes a number from 0 to 1, got 1.1"),
        ({"label_smoothing": True}, "^label_smoothing takes a number"),
        ({"mixup": -1}, "^mixup takes a number from 0 to 10, got -1"),
        ({"mixup": "0.2"}, "^mixup takes a number"),
    ],
)
def test_wrong_numbers(options, words):
    with pytest.raises(UserError, match=words):
        SoftTargets(3, **options)
