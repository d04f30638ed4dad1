"""Boxes move with their pictures: letterbox, crops, flips; and their overlaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from ppcoordconv.data.augment import Augmentation
from ppcoordconv.data.boxes import BoxedImage, Letterbox
from ppcoordconv.ops.boxes import areas, clipped, ious
from ppcoordconv.postprocess.detection import Detection
from ppcoordconv.utils.errors import UserError

SIDES = st.integers(1, 40)


def marked(height, width, box):
    """A black picture with one white box."""
    pixels = np.zeros([height, width, 3], np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    return pixels


def box_of(pixels):
    rows, columns = np.nonzero(pixels[..., 0] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@given(SIDES, SIDES)
def test_letterbox_keeps_the_aspect_and_back_again(height, width):
    letterbox = Letterbox((32, 64))
    x = letterbox(np.full([height, width, 3], 255, np.uint8))
    assert x.shape == (3, 32, 64)
    scale = letterbox.scale((height, width))
    assert scale == min(32 / height, 64 / width)
    inside = x[0, : max(1, round(height * scale)), : max(1, round(width * scale))]
    assert (inside == 1).all()
    assert (x[0] == 1).sum() == inside.size  # what is left over is grey
    whole = {"objects": [{"box": [0, 0, width * scale, height * scale]}]}
    (found,) = Detection().to_image(whole, letterbox, (height, width, 3))["objects"]
    assert found["box"] == pytest.approx([0, 0, width, height], abs=0.01)


@given(st.integers(0, 10**6))
def test_a_box_stays_around_what_it_was_around(seed):
    rng = np.random.default_rng(seed)
    pixels = marked(40, 60, (20, 10, 35, 30))
    boxes = np.float32([[20, 10, 35, 30], [0, 0, 2, 2]])
    pixels, moved, kept, _ = Augmentation(flip=True, crop=0.5)(pixels, boxes, rng)
    assert len(moved) == kept.sum()
    if kept[0]:
        assert moved[0].tolist() == box_of(pixels)
    height, width = pixels.shape[:2]
    assert (moved >= 0).all()
    assert (moved <= [width, height, width, height]).all()
    assert height >= 20
    assert width >= 30


def test_what_is_drawn_is_drawn():
    pixels, boxes = marked(8, 8, (1, 1, 4, 4)) // 2, np.float32([[1, 1, 4, 4]])
    flips = [Augmentation(flip=True)(pixels, boxes, np.random.default_rng(n))[1][0, 0] for n in range(40)]
    assert set(flips) == {1, 4}
    coloured = [Augmentation(colour=0.5)(pixels, boxes, np.random.default_rng(n))[0].max() for n in range(20)]
    assert len(set(coloured)) > 5
    untouched, same, kept, part = Augmentation()(pixels, boxes, np.random.default_rng(0))
    assert (untouched == pixels).all()
    assert (same == boxes).all()
    assert kept.all()
    assert part.tolist() == [0, 0, 8, 8]


@given(st.integers(0, 10**6))
def test_a_picture_knows_which_part_of_the_whole_it_is(seed):
    """Every pixel says in red where along x it was, in green along y."""
    rng = np.random.default_rng(seed)
    y, x = np.indices([40, 60])
    pixels = np.stack([x, y, 0 * x], axis=2).astype(np.uint8)
    crop, _, _, (left, top, right, bottom) = Augmentation(flip=True, crop=0.5)(pixels, np.zeros([0, 4]), rng)
    is_mirrored = crop[0, 0, 0] > crop[0, -1, 0]
    whole = pixels[:, ::-1] if is_mirrored else pixels
    assert (crop == whole[top:bottom, left:right]).all()


@given(SIDES, SIDES, st.integers(0, 10**6))
def test_a_window_has_the_places_of_the_whole_input(height, width, seed):
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, [width, height])
    right, bottom = rng.integers([left, top], [width, height]) + 1
    letterbox, whole = Letterbox((32, 64)), Letterbox((48, 48))
    window = letterbox.window(np.array([left, top, right, bottom]), (height, width), whole)
    # A point of the crop's input; where it is in the picture, and then in the whole's input.
    point = rng.random(2) * [64, 32]
    picture = point / letterbox.scale((bottom - top, right - left)) + [left, top]
    expected = picture * whole.scale((height, width)) / [48, 48]
    box, size = np.split(window.astype(float), [4])
    got = (box[:2] + point / [64, 32] * (box[2:] - box[:2])) / size[::-1]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    same = whole.window(np.array([0, 0, width, height]), (height, width), whole)
    np.testing.assert_allclose(same, [0, 0, *same[:3:-1], *same[4:]], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flip": 1}, "^flip takes true or false, got 1"),
        ({"crop": 0.95}, r"^crop takes a number from 0 to 0.9, got 0.95"),
        ({"crop": "a"}, "^crop takes a number"),
        ({"colour": -0.1}, "^colour takes a number from 0 to 1, got -0.1"),
        ({"colour": True}, "^colour takes a number from 0 to 1, got True"),
    ],
)
def test_wrong_augmentations(options, words):
    with pytest.raises(UserError, match=words):
        Augmentation(**options)


def test_overlaps():
    a = np.float32([[0, 0, 2, 2], [5, 5, 5, 9]])
    b = np.float32([[1, 0, 3, 2], [0, 0, 2, 2], [8, 8, 9, 9]])
    np.testing.assert_allclose(ious(a, b), [[1 / 3, 1, 0], [0, 0, 0]])
    assert areas(a).tolist() == [4, 0]
    assert clipped(np.float32([[-1, 2, 9, 30]]), 10, 5).tolist() == [[0, 2, 5, 10]]


@pytest.mark.parametrize(("size", "first"), [((20, 30), 0), ((30, 20), 19)])
def test_a_photo_that_was_taken_upright_has_boxes_of_either_kind(tmp_path, size, first):
    """Of the pixels as they are stored, 30 wide, or as they are shown, 20 wide: by the size in the annotations."""
    ramp = np.arange(20, dtype=np.uint8)[:, None].repeat(30, axis=1)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(ramp).save(tmp_path / "a.png", exif=exif)
    nothing = np.zeros([0, 4], np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
    pixels = BoxedImage(tmp_path / "a.png", size, *nothing).pixels()
    assert pixels.shape == (*size, 3)
    assert pixels[0, 0, 0] == first


def test_a_square_photo_has_boxes_of_what_is_shown(tmp_path):
    """Its size does not tell which they are of."""
    ramp = np.arange(20, dtype=np.uint8)[:, None].repeat(20, axis=1)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(ramp).save(tmp_path / "a.png", exif=exif)
    nothing = np.zeros([0, 4], np.float32), np.zeros(0, np.int64), np.zeros(0, bool)
    assert BoxedImage(tmp_path / "a.png", (20, 20), *nothing).pixels()[0, 0, 0] == 19
