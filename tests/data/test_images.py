"""Any picture becomes the same kind of pixels, or a sentence; pixels become a network's input."""

import contextlib
import io
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from ppcoordconv.data.boxes import Letterbox
from ppcoordconv.data.images import Preprocess, read_image, shifted
from ppcoordconv.data.listing import list_images
from ppcoordconv.data.preprocessing import preprocess_of
from ppcoordconv.utils.errors import UserError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def picture(mode):
    image = Image.fromarray(GREY)
    if mode == "I;16":
        return Image.fromarray(GREY.astype(np.uint16) * 257)
    if mode == "RGBA":
        image = image.convert("RGBA")
        image.putalpha(Image.fromarray(np.where(GREY > 100, 255, 0).astype(np.uint8)))
        return image
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "ending", "expected"),
    [
        ("L", "png", GREY),
        ("RGB", "png", GREY),
        ("RGB", "bmp", GREY),
        ("P", "png", GREY),
        ("P", "gif", GREY),
        ("I;16", "png", GREY),
        ("I;16", "tiff", GREY),
        ("RGBA", "png", np.where(GREY > 100, GREY, 255)),
        ("LA", "png", GREY),
        ("1", "png", None),
        ("CMYK", "tiff", GREY),
        ("CMYK", "jpg", None),
        ("RGB", "webp", None),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, ending, expected):
    path = tmp_path / f"a.{ending}"
    picture(mode).save(path)
    pixels = read_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (6, 8, 3)
    if expected is not None:
        assert (pixels == expected[:, :, None]).all()


def test_16_bit_samples_are_scaled(tmp_path):
    Image.fromarray(np.array([[0, 1000, 40000, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == [0, 4, 156, 255]


def test_a_palette_with_a_transparent_colour_is_laid_on_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_the_cameras_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture("RGB").save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png").shape == (8, 6, 3)


def test_one_pixel_is_a_picture(tmp_path):
    Image.new("RGB", (1, 1), (255, 0, 0)).save(tmp_path / "a.png")
    x = Preprocess((4, 5))(read_image(tmp_path / "a.png"))
    assert x.shape == (3, 4, 5)
    assert (x == np.array([1, -1, -1]).reshape(3, 1, 1)).all()


def png_bytes():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture at all", png_bytes()[:40], png_bytes()[: len(png_bytes()) // 2], b"\x89PNG\r\n\x1a\n"],
    ids=["empty", "text", "header", "half", "signature"],
)
def test_files_that_are_no_pictures(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match="a.png is not a readable picture"):
        read_image(path)


def test_flipped_bytes_give_a_picture_or_a_sentence(tmp_path):
    good = png_bytes()
    rng = np.random.default_rng(0)
    for _ in range(50):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        (tmp_path / "a.png").write_bytes(bytes(bad))
        with contextlib.suppress(UserError):
            assert read_image(tmp_path / "a.png").ndim == 3


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(UserError, match="is a folder, not a file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(UserError, match="is a pipe or a device, not a file"):
        read_image(tmp_path / "b.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no picture in the folder"):
        list_images(tmp_path / "empty")


def test_floating_samples_are_refused_with_a_reason(tmp_path):
    Image.fromarray(np.ones([2, 2], np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(UserError, match="floating-point"):
        read_image(tmp_path / "a.tiff")


def test_preprocess_is_its_formula():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    preprocess = Preprocess((32, 32), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    expected = (pixels / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    x = preprocess(pixels)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, expected.transpose(2, 0, 1), atol=1e-6)
    assert preprocess_of(preprocess.to_dict()) == preprocess


def test_preprocess_to_grey():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    preprocess = Preprocess((16, 16), mean=(0.0,), std=(0.1,))
    x = preprocess(np.stack([grey] * 3, axis=2))
    assert x.shape == (1, 16, 16)
    assert preprocess.input_shape == [1, 16, 16]
    np.testing.assert_allclose(x[0], grey / 25.5, rtol=1e-6)
    assert preprocess_of(preprocess.to_dict()) == preprocess


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_shifted_moves_by_whole_pixels(down, right):
    x = np.arange(2 * 7 * 9).reshape(2, 7, 9)
    y = shifted(x, down, right)
    assert y.shape == x.shape
    for row in range(7):
        for col in range(9):
            source = x[:, np.clip(row - down, 0, 6), np.clip(col - right, 0, 8)]
            assert (y[:, row, col] == source).all()


@pytest.mark.parametrize("kind", [Preprocess, Letterbox])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("size", "decoded"), [((640, 480), (160, 120)), ((100, 80), (100, 80)), ((655, 491), (164, 123))]
)
def test_a_jpeg_is_decoded_no_larger_than_needed(tmp_path, monkeypatch, kind, orientation, size, decoded):
    """And gives nearly what it gives in full."""
    width, height = size
    ramps = np.stack(np.meshgrid(np.linspace(0, 250, width), np.linspace(250, 0, height)), axis=2)
    pixels = np.concatenate([ramps, ramps.mean(axis=2, keepdims=True)], axis=2).round().astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=exif)
    preprocess = kind((48, 60))
    (item,) = preprocess.inputs(tmp_path / "a.jpg")
    seen = []
    of_image = kind.of_image
    monkeypatch.setattr(kind, "of_image", lambda self, image: (seen.append(image.size), of_image(self, image))[1])
    x, full = item.prepare()
    in_full = read_image(tmp_path / "a.jpg")
    assert full == in_full.shape[:2] == ((height, width) if orientation == 1 else (width, height))
    assert seen == [decoded if orientation == 1 else decoded[::-1]]
    assert np.abs(x - preprocess(in_full)).max() < 0.05  # of a range of 2
