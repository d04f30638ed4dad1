"""Pictures of any size: the pixels of read_image, from top to bottom, and reduced."""

import struct
import zlib

import numpy as np
import pytest
import pyvips
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppcoordconv.data import streaming
from ppcoordconv.data.images import read_image
from ppcoordconv.data.streaming import Streamed, open_of_any_size, read_reduced
from ppcoordconv.utils.errors import UserError

pytestmark = pytest.mark.any_paddle

HEIGHT, WIDTH = 211, 133


@pytest.fixture(scope="module")
def pictures():
    """By mode, pictures of smooth noise."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (41, 27, 3), np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    grey, alpha = rgb.convert("L"), Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8))
    found = {mode: rgb.convert(mode) for mode in ("RGB", "L", "1", "P", "CMYK", "YCbCr")}
    found["RGBA"] = Image.merge("RGBA", [*rgb.split(), alpha])
    found["LA"] = Image.merge("LA", [grey, alpha])
    found["I;16"] = Image.fromarray(rng.integers(0, 2**16, (HEIGHT, WIDTH)).astype(np.uint16))
    found["I"] = Image.fromarray(rng.integers(0, 2**16, (HEIGHT, WIDTH)).astype(np.int32))
    return found


def cropped(path, tile=64, overlap=16):
    """The pixels, put together of rows of tiles, and whether they were streamed."""
    with open_of_any_size(path) as picture:
        width, height = picture.size
        pixels = np.empty([height, width, 3], np.uint8)
        for start in range(0, max(1, height - overlap), tile - overlap):
            top = min(start, max(0, height - tile))
            bottom = min(top + tile, height)
            for left, right in ((0, width // 2), (width // 2, width)):
                pixels[top:bottom, left:right] = picture.crop((left, top, right, bottom))
        return pixels, isinstance(picture, Streamed)


@pytest.mark.parametrize(
    ("mode", "ending", "options", "streams"),
    [
        *[("RGB", "jpg", {"quality": 75, "subsampling": s}, True) for s in ("4:4:4", "4:2:2", "4:2:0")],
        ("RGB", "jpg", {"quality": 40, "progressive": True}, True),
        ("RGB", "jpg", {"keep_rgb": True}, True),
        ("L", "jpg", {}, True),
        ("CMYK", "jpg", {}, True),
        *[(mode, "png", {}, True) for mode in ("RGB", "RGBA", "L", "LA")],
        ("RGB", "png", {"transparency": (1, 2, 3)}, False),
        ("L", "png", {"transparency": 5}, False),
        ("P", "png", {}, False),
        ("1", "png", {}, False),
        *[(mode, "tif", {}, True) for mode in ("RGB", "RGBA", "L", "LA", "I;16", "CMYK")],
        *[("RGB", "tif", {"compression": name}, True) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg")],
        ("YCbCr", "tif", {"compression": "jpeg"}, True),
        ("YCbCr", "tif", {"compression": "tiff_lzw"}, False),
        *[(mode, "tif", {}, False) for mode in ("P", "1", "I")],
        *[("RGB", ending, {}, False) for ending in ("bmp", "gif", "ppm", "webp")],
        *[("RGB", ending, {"exif": turned}, False) for ending in ("jpg", "png", "tif") for turned in (3, 6)],
        ("RGB", "jpg", {"exif": 1}, True),
    ],
)
def test_the_pixels_are_those_of_read_image(pictures, tmp_path, mode, ending, options, streams):
    if "exif" in options:
        exif = Image.Exif()
        exif[0x112] = options["exif"]
        options = {"exif": exif}
    path = tmp_path / f"a.{ending}"
    pictures[mode].save(path, **options)
    pixels, streamed = cropped(path)
    assert (pixels == read_image(path)).all()
    assert streamed == streams


def test_grey_of_16_bits_in_a_png(pictures, tmp_path):
    """Older versions of Pillow call it of 32 bits, and it is not streamed."""
    pictures["I;16"].save(tmp_path / "a.png")
    assert (cropped(tmp_path / "a.png")[0] == read_image(tmp_path / "a.png")).all()


@pytest.mark.parametrize(
    ("options", "streams"),
    [
        ({"tile": True, "tile_width": 64, "tile_height": 32}, True),
        ({"bigtiff": True}, True),
        ({"miniswhite": True}, True),
        ({"bitdepth": 4}, True),
        ({"pyramid": True, "tile": True, "tile_width": 64, "tile_height": 64}, True),
        ({"premultiply": True}, False),
    ],
)
def test_kinds_of_tiff(pictures, tmp_path, options, streams):
    pixels = np.asarray(pictures["RGBA" if "premultiply" in options else "L"])
    picture = pyvips.Image.new_from_array(pixels)
    colours = "srgb" if "premultiply" in options else "b-w"
    picture.copy(interpretation=colours).tiffsave(str(tmp_path / "a.tif"), **options)
    got, streamed = cropped(tmp_path / "a.tif")
    assert (got == read_image(tmp_path / "a.tif")).all()
    assert streamed == streams


@settings(max_examples=examples(30))
@given(st.integers(1, 300), st.integers(1, 30), st.integers(1, 200), st.data())
def test_any_size_and_any_tile(tmp_path_factory, height, width, tile, data):
    path = tmp_path_factory.mktemp("any") / "a.png"
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    got, streamed = cropped(path, tile, data.draw(st.integers(0, tile - 1)))
    assert streamed
    assert (got == pixels).all()


def test_a_png_that_says_at_its_end_that_it_is_turned(pictures, tmp_path):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x112] = 6
    pictures["RGB"].save(path)
    whole, note = path.read_bytes(), exif.tobytes()[6:]
    chunk = struct.pack(">I", len(note)) + b"eXIf" + note + struct.pack(">I", zlib.crc32(b"eXIf" + note))
    path.write_bytes(whole[:-12] + chunk + whole[-12:])
    pixels, streamed = cropped(path)
    assert pixels.shape == (WIDTH, HEIGHT, 3)
    assert (pixels == read_image(path)).all()
    assert not streamed


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("jpg", {}),
        ("jpg", {"progressive": True}),
        ("png", {}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("webp", {}),
    ],
)
@pytest.mark.parametrize("left", [0.5, 0.98])
def test_what_is_cut_off_is_no_picture(pictures, tmp_path, ending, options, left):
    path = tmp_path / f"a.{ending}"
    pictures["RGB"].save(path, **options)
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    for read in (read_image, cropped, read_reduced):
        with pytest.raises(UserError, match=f"a.{ending} is not a readable picture: "):
            read(path)


def test_what_is_overwritten_is_no_picture(pictures, tmp_path):
    path = tmp_path / "a.png"
    pictures["RGB"].save(path)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 255
    path.write_bytes(whole)
    with pytest.raises(UserError, match="a.png is not a readable picture: vipspng: "):
        cropped(path)


def test_other_files_are_refused_as_by_read_image(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    for name in ("text.png", "empty.jpg", "none.png", "", "nul\0.png"):
        with pytest.raises(UserError) as expected:
            read_image(tmp_path / name)
        with pytest.raises(UserError) as got:
            cropped(tmp_path / name)
        assert str(got.value) == str(expected.value)


@pytest.mark.parametrize("name", ["a[page=1].png", "b[", "c d,e:f.png", "ü.png", "g\udcff.png"])
def test_any_name_any_number_of_times(pictures, tmp_path, name):
    path = tmp_path / name
    for mode in ("RGB", "L"):
        pictures[mode].save(path, format="PNG")
        for _ in range(2):
            pixels, streamed = cropped(path)
            assert (pixels == read_image(path)).all()
            assert streamed


@pytest.mark.parametrize("ending", ["png", "bmp"])
@pytest.mark.parametrize(("most", "factor"), [(HEIGHT * WIDTH, 1), (HEIGHT * WIDTH - 1, 2), (3000, 4), (1000, 6)])
def test_reduced(pictures, tmp_path, monkeypatch, ending, most, factor):
    path = tmp_path / f"a.{ending}"
    pictures["RGB"].save(path)
    monkeypatch.setattr(streaming, "MAX_DRAWN", most)
    monkeypatch.setattr(streaming, "ROWS", 16)
    pixels, found = read_reduced(path)
    assert found == factor
    assert (pixels == np.asarray(pictures["RGB"].reduce(factor))).all()
