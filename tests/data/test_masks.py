"""Masks: every kind of file and outline that is read, and a sentence that names what can't be."""

import json
import struct
import zlib

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from segmentation_pictures import NAMES, runs, shapes, write_coco, write_masks

from ppcoordconv.data import DATASETS
from ppcoordconv.data.boxes import Letterbox
from ppcoordconv.data.mask_files import read_mask
from ppcoordconv.data.outlines import read_outline
from ppcoordconv.ops.masks import box_around
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.problems import collect_problems

MASK = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)


def pair(folder, mask=MASK, name="a", labels=True, **save):
    """A picture and its mask, an array or an image."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    Image.new("RGB", image.size, (9, 9, 9)).save(folder / "images" / f"{name}.png")
    image.save(folder / "masks" / f"{name}.png", **save)
    if labels:
        (folder / "labels.txt").write_text("\n".join(NAMES))


def two(folder, mask=MASK, **options):
    """A data set of two such pairs."""
    pair(folder, mask, "a", **options)
    pair(folder, mask, "b", **options)
    return DATASETS.build("mask_folder", path=str(folder))


def with_palette(mask):
    image = Image.fromarray(mask, "P")
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, *range(3, 250)] * 3)
    return image


def sixteen_bits(mask):
    return Image.fromarray(np.where(mask == 255, 65535, mask).astype(np.uint16))


@pytest.mark.parametrize(
    "make",
    [
        Image.fromarray,
        with_palette,
        sixteen_bits,
        lambda mask: Image.fromarray(np.stack([mask] * 3, axis=2)),
        lambda mask: Image.fromarray(np.stack([mask] * 3 + [np.full_like(mask, 255)], axis=2)),
    ],
    ids=["grey", "palette", "16 bits", "three equal samples", "and opaque"],
)
def test_every_kind_that_holds_numbers(tmp_path, make):
    mask = MASK.copy()
    mask[1, 0] = 255
    data = two(tmp_path, make(mask))
    assert data.labels == NAMES
    np.testing.assert_array_equal(data.train[0].mask(), mask)
    assert data.train[0].pixels().shape == (2, 3, 3)


def test_black_and_white_are_two_classes_and_without_names_have_numbers(tmp_path, capfd):
    data = two(tmp_path, Image.fromarray(MASK > 0), labels=False)
    np.testing.assert_array_equal(data.train[0].mask(), MASK > 0)
    assert data.labels == ["0", "1"]
    assert "its classes have no names, which labels.txt would give" in capfd.readouterr().err
    data = two(tmp_path / "255", np.where(MASK > 0, 255, 0).astype(np.uint8), labels=False)
    np.testing.assert_array_equal(data.train[0].mask(), MASK > 0)


def test_a_class_may_begin_with_the_sign_of_a_comment(tmp_path):
    two(tmp_path)
    (tmp_path / "labels.txt").write_text("bg\n#1\ncat\n")
    assert DATASETS.build("mask_folder", path=str(tmp_path)).labels == ["bg", "#1", "cat"]


def test_black_and_white_is_said_and_masks_of_nothing_are_an_error(tmp_path, capfd):
    two(tmp_path / "a", np.where(MASK > 0, 255, 0).astype(np.uint8), labels=False)
    assert DATASETS.build("mask_folder", path=str(tmp_path / "a"), labels=["no", "yes"]).labels == ["no", "yes"]
    assert "its masks are black and white, and white, 255, is the class yes" in capfd.readouterr().err
    data = two(tmp_path / "b", np.zeros([2, 3], np.uint8), labels=False)
    with pytest.raises(UserError, match="all pixels of its masks are of class 0; at least 2 classes are needed"):
        _ = data.labels


@pytest.mark.parametrize(
    ("mask", "labels", "words"),
    [
        (np.full([2, 3], 255, np.uint8), NAMES, "no pixel of its masks counts, as all are 255"),
        (
            np.where(MASK > 0, 255, 0).astype(np.uint8),
            NAMES,
            "are 0 and 255 alone, and of which of 3 classes is not said",
        ),
    ],
)
def test_what_255_alone_can_not_mean(tmp_path, mask, labels, words):
    pair(tmp_path, mask, "a")
    pair(tmp_path, mask, "b")
    with pytest.raises(UserError, match=words):
        _ = DATASETS.build("mask_folder", path=str(tmp_path), labels=labels).train


def test_colours_of_16_bits_a_sample_are_refused(tmp_path):
    rows = np.stack([MASK] * 3, axis=2).astype(">u2").reshape(2, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(UserError, match="a.png: its colours have 16 bits a sample"):
        read_mask(tmp_path / "a.png")


@settings(max_examples=examples(40))
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 8))
def test_the_box_of_run_lengths_is_that_around_their_mask(seed, height, width):
    inside = np.random.default_rng(seed).random([height, width]) < 0.2
    found = read_outline("here", runs(inside), (height, width)).box()
    expected = box_around(inside) if inside.any() else np.zeros(4)
    np.testing.assert_array_equal(found, expected)


def test_two_files_of_one_name_are_an_error(tmp_path):
    data = two(tmp_path)
    Image.fromarray(MASK).save(tmp_path / "masks" / "a.bmp")
    with pytest.raises(UserError, match=r"masks/a.bmp and .*masks/a.png have one name but for the ending"):
        _ = data.train


def test_a_mask_that_lies_on_its_side_is_of_another_size(tmp_path):
    data = two(tmp_path)
    Image.fromarray(MASK.T.copy()).save(tmp_path / "masks" / "a.png")
    with pytest.raises(UserError, match=r"masks/a.png is 2x3 pixels, its picture .*images/a.png 3x2"):
        _ = data.train


def test_255_is_ignored_where_there_is_another_class(tmp_path):
    mask = np.array([[0, 255], [1, 0]], np.uint8)
    data = two(tmp_path, mask, labels=False)
    np.testing.assert_array_equal(data.train[0].mask(), mask)
    assert data.labels == ["0", "1"]


def test_colours_are_read_by_the_map_that_cvat_writes(tmp_path):
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndisc:128,0,0::\nsquare:0,128,0::\n"
    (tmp_path / "labelmap.txt").write_text(text)
    data = two(tmp_path, colours[MASK], labels=False)
    assert data.labels == NAMES
    np.testing.assert_array_equal(data.train[0].mask(), MASK)
    pair(tmp_path, np.full([2, 3, 3], 7, np.uint8), "c", labels=False)
    with pytest.raises(UserError, match=r"masks/c.png: no class has the colour \(7, 7, 7\); its labelmap.txt names 3"):
        _ = DATASETS.build("mask_folder", path=str(tmp_path)).train


def test_both_ways_in_which_parts_lie(tmp_path):
    write_masks(tmp_path / "a", (6, 3))
    for part in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / "b" / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / "a" / kind / part).rename(tmp_path / "b" / part / kind)
    data = DATASETS.build("mask_folder", path=str(tmp_path / "b"), labels=NAMES)
    assert (len(data.train), len(data.test)) == (6, 3)
    write_masks(tmp_path / "c", (6, 3))
    other = DATASETS.build("mask_folder", path=str(tmp_path / "c"))
    assert (len(other.train), len(other.test)) == (6, 3)
    np.testing.assert_array_equal(data.test[2].mask(), other.test[2].mask())


def test_the_lists_of_paddleseg(tmp_path):
    write_masks(tmp_path, (6, 3))
    for part in ("train", "val"):
        names = sorted(path.name for path in (tmp_path / "images" / part).iterdir())
        lines = [f"images/{part}/{name} masks\\{part}\\{name}" for name in names]
        (tmp_path / f"{part}.txt").write_text("\n".join(lines) + "\n\n")
    data = DATASETS.build("mask_list", path=str(tmp_path))
    assert (len(data.train), len(data.test), data.labels) == (6, 3, NAMES)
    (tmp_path / "val.txt").write_text("images/train/0.png\n")
    with pytest.raises(UserError, match=r"val.txt, line 1: takes a picture and its mask, got 'images/train/0.png'"):
        _ = DATASETS.build("mask_list", path=str(tmp_path)).test
    (tmp_path / "val.txt").write_text("images/train/0.png masks/train/9.png\n")
    with pytest.raises(UserError, match=r"val.txt, line 1: there is no file .*masks/train/9.png"):
        _ = DATASETS.build("mask_list", path=str(tmp_path)).test


@pytest.mark.parametrize(
    ("mask", "save", "words"),
    [
        (np.zeros([3, 3], np.uint8), {}, r"masks/c.png is 3x3 pixels, its picture .*images/c.png 4x3"),
        (
            np.full([3, 4], 3, np.uint8),
            {},
            "masks/c.png: there is no class 3; the classes are 0 to 2, backg",
        ),
        (np.full([3, 4], 300, np.uint16), {}, r"masks/c.png: classes are numbered from 0 to 254, got 300"),
        (
            np.arange(36, dtype=np.uint8).reshape(3, 4, 3),
            {},
            r"masks/c.png: its pixels have colours, and nothing says of which class; a labelmap.txt",
        ),
        (np.zeros([3, 4], np.uint8), {"format": "JPEG"}, r"masks/c.png: a mask is a PNG.*; JPEG does not keep numbers"),
        (np.full([3, 4], -1, np.int32), {"format": "TIFF"}, r"masks/c.png: classes are numbered from 0 to 254, got -1"),
        (np.zeros([3, 4], np.float32), {"format": "TIFF"}, r"masks/c.png: a mask has one whole number a pixel, this"),
    ],
    ids=["another size", "beyond the classes", "beyond all", "colours", "JPEG", "negative", "floats"],
)
def test_what_is_no_mask_is_named_or_left_out(tmp_path, mask, save, words, capfd):
    two(tmp_path)
    Image.new("RGB", (4, 3)).save(tmp_path / "images" / "c.png")
    Image.fromarray(mask).save(tmp_path / "masks" / "c.png", **save)
    with pytest.raises(UserError, match=words):
        _ = DATASETS.build("mask_folder", path=str(tmp_path)).train
    with collect_problems() as problems:
        data = DATASETS.build("mask_folder", path=str(tmp_path))
        assert len(data.train) + len(data.test) == 2
    assert len(problems) == 1
    data = DATASETS.build("mask_folder", path=str(tmp_path), on_error="skip")
    assert len(data.train) + len(data.test) == 2
    assert "1 of 3 pictures can't be read and are left out, the first:" in capfd.readouterr().err


def test_a_picture_without_a_mask_is_an_error_and_a_mask_without_a_picture_is_said(tmp_path, capfd):
    two(tmp_path)
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "c.png")
    with pytest.raises(UserError, match=r"images/a.png: there is no file '.*masks/a.png'"):
        _ = DATASETS.build("mask_folder", path=str(tmp_path)).train
    assert "masks without a picture are left out: 1, " in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one\n", r"labels.txt: takes 2 to 255 different classes, the background among them, got 1: 'one'"),
        ("one\none\n", "takes 2 to 255 different classes"),
        ("\n".join(map(str, range(256))), "takes 2 to 255 different classes"),
        (
            "a:1,2,3::\nb:1,2::\n",
            "labels.txt: 'b': takes name:red,green,blue:: with numbers from 0 to 255, got '1,2::'",
        ),
        ("a:1,2,3::\nb:1,2,256::\n", "with numbers from 0 to 255, got '1,2,256::'"),
        ("a:1,2,3::\nb\n", "labels.txt: 'b': takes name:red,green,blue::"),
        ("a:1,2,3::\nb:²,2,3::\n", "labels.txt: 'b': takes name:red,green,blue::"),
        ("a:1,2,3::\nb:1,2,3::\n", r"labels.txt: 'a' and 'b' have one colour, \(1, 2, 3\)"),
    ],
)
def test_labels_that_are_none(tmp_path, text, words):
    pair(tmp_path)
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        DATASETS.build("mask_folder", path=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": ""}, "^path takes the folder"),
        ({"images": 5}, "^images takes"),
        ({"labels": 3}, "^labels takes names, or the file that has them, got 3"),
        (
            {"masks": "annotations"},
            "there is no folder .*annotations; mask_folder takes one with pictures",
        ),
        ({"test_split": "holdout"}, "^test_split takes the name of a part"),
    ],
)
def test_wrong_options(tmp_path, options, words):
    pair(tmp_path)
    with pytest.raises(UserError, match=words):
        _ = DATASETS.build("mask_folder", **{"path": str(tmp_path), **options}).train


def test_a_picture_that_was_held_sideways_is_as_its_mask_is(tmp_path):
    pair(tmp_path, labels=False)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3, 2)).save(tmp_path / "images" / "a.png", exif=exif)
    Image.new("RGB", (3, 2)).save(tmp_path / "images" / "b.png", exif=exif)
    Image.fromarray(MASK.T.copy()).save(tmp_path / "masks" / "b.png")
    data = DATASETS.build("mask_folder", path=str(tmp_path), labels=NAMES)
    images = sorted([*data.train, *data.test], key=lambda one: str(one.image))
    for one in images:
        assert one.pixels().shape[:2] == one.mask().shape


# COCO's outlines.


@settings(max_examples=examples(60))
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_run_lengths_are_cocos(seed, height, width, in_letters):
    coco = pytest.importorskip("pycocotools.mask")
    inside = np.random.default_rng(seed).random([height, width]) < 0.4
    given = runs(inside)
    if in_letters:
        letters = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
        given = {"size": letters["size"], "counts": letters["counts"].decode()}
    found = read_outline("here", json.loads(json.dumps(given)), (height, width))
    np.testing.assert_array_equal(found.mask(), inside)


def test_polygons_are_drawn_as_coco_draws_them_and_beyond_the_picture_too():
    coco = pytest.importorskip("pycocotools.mask")
    polygons = [[1.5, 1, 9, 2, 6, 8.5], [-50, 4, 3, 4, 3, 40, -50, 40]]
    found = read_outline("here", polygons, (10, 12)).mask()
    expected = coco.decode(coco.merge(coco.frPyObjects(polygons, 10, 12))).astype(bool)
    np.testing.assert_array_equal(found, expected)
    far = read_outline("here", [[0, 0, 1e9, 0, 0, 1e9]], (4, 4)).mask()
    assert far.all()


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([[1, 2, 3, 4]], "here: a polygon takes at least 3 points, x and y in turn, got 2 points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "got 7 numbers, of which one has no other"),
        ([[1, 2, 3, 4, 5, float("nan")]], "here: a polygon takes numbers, x and y in turn"),
        ([[1, 2, 3, 4, 5, "6"]], "a polygon takes numbers"),
        ([[1, 2, 3, 4, 5, 6], 7], "a polygon takes numbers, x and y in turn, got 7"),
        ("abc", "segmentation takes polygons or run lengths, got 'abc'"),
        ({"size": [4, 5], "counts": [3, 16]}, "here: its run lengths are of 19 pixels, its picture has 4x5=20"),
        (
            {"size": [5, 4], "counts": [20]},
            r"the size of its run lengths is \[5, 4\], that of its picture \[4, 5\]",
        ),
        ({"size": [4, 5], "counts": [21, -1]}, "counts takes run lengths, or their letters"),
        ({"size": [4, 5], "counts": [True, 19]}, "counts takes run lengths, or their letters"),
        ({"size": [4, 5]}, "counts takes run lengths, or their letters, got None"),
        ({"size": 4, "counts": [20]}, "here: the size of its run lengths is 4"),
        ({"size": [4, 5], "counts": "\n"}, "counts has '.n', which is none of COCO's letters"),
        ({"size": [4, 5], "counts": "o" * 40}, "none of COCO's letters|ends within a number"),
        ({"size": [4, 5], "counts": "o"}, "counts ends within a number"),
        ({"size": [4, 5], "counts": "d0d0"}, "its run lengths are of|counts takes run lengths"),
    ],
)
def test_what_is_no_outline_is_named(segmentation, words):
    with pytest.raises(UserError, match=words):
        read_outline("here", segmentation, (4, 5))


def test_cocos_objects_become_a_mask_with_the_small_on_top(tmp_path):
    write_coco(tmp_path, (3, 2))
    tree = json.loads((tmp_path / "train.json").read_text())
    whole = {"size": [48, 64], "counts": [0, 48 * 64]}
    tree["annotations"].append({"id": 99, "image_id": 1, "category_id": 2, "segmentation": whole, "iscrowd": 1})
    tree["annotations"].append({"id": 100, "image_id": 1, "category_id": 2, "bbox": [1, 1, 4, 4]})
    (tmp_path / "train.json").write_text(json.dumps(tree))
    data = DATASETS.build("coco_masks", path=str(tmp_path))
    assert data.labels == NAMES
    rng = np.random.default_rng(0)
    for number, one in enumerate(data.train):
        _, mask, (disc, square) = shapes(rng)
        expected = np.where(mask == 0, 2, mask) if number == 0 else mask
        # The rims of a polygon are COCO's, half a pixel from Pillow's; where both are, the smaller one is on top.
        differs = one.mask() != expected
        inside = np.zeros_like(differs)
        for left, top, right, bottom in (disc, square):
            inside[top : bottom + 1, left : right + 1] = True
        assert differs.mean() < 0.05
        assert not differs[~inside].any()


def test_a_root_without_objects_may_have_the_name_of_a_category(tmp_path):
    write_coco(tmp_path, (3, 2))
    expected = DATASETS.build("coco_masks", path=str(tmp_path)).train[0].mask()
    tree = json.loads((tmp_path / "train.json").read_text())
    tree["categories"].insert(0, {"id": 0, "name": "disc"})
    (tmp_path / "train.json").write_text(json.dumps(tree))
    data = DATASETS.build("coco_masks", path=str(tmp_path))
    np.testing.assert_array_equal(data.train[0].mask(), expected)
    assert data.labels == NAMES


def test_the_test_sets_classes_are_matched_by_name(tmp_path):
    write_coco(tmp_path, (3, 2))
    data = DATASETS.build("coco_masks", path=str(tmp_path))
    expected = [one.mask() for one in data.test]
    tree = json.loads((tmp_path / "test.json").read_text())
    tree["categories"] = [{"id": 8, "name": "square"}, {"id": 9, "name": "disc"}]
    for annotation in tree["annotations"]:
        annotation["category_id"] = {1: 9, 2: 8}[annotation["category_id"]]
    (tmp_path / "test.json").write_text(json.dumps(tree))
    other = DATASETS.build("coco_masks", path=str(tmp_path))
    for one, mask in zip(other.test, expected):
        np.testing.assert_array_equal(one.mask(), mask)
    tree["categories"][0]["name"] = "star"
    (tmp_path / "test.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match="the test set has the class 'star', which is not trained on: 'background'"):
        _ = DATASETS.build("coco_masks", path=str(tmp_path)).test


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree["annotations"][0].update(category_id=7), "there is no category of category_id 7"),
        (
            lambda tree: tree["annotations"][0].update(segmentation=[[1, 2]]),
            "annotation 1: a polygon takes",
        ),
        (lambda tree: tree["images"][0].update(file_name="no.png"), "image 1: there is no file"),
        (lambda tree: [one.pop("segmentation") for one in tree["annotations"]], "no annotation with a segmentation"),
        (lambda tree: tree["categories"][0].update(name="square"), "two categories have the name 'square'"),
        (lambda tree: tree["categories"][1].update(name="background"), "none but the first is the background"),
    ],
)
def test_wrong_entries_of_coco_are_named(tmp_path, change, words):
    write_coco(tmp_path, (3, 2))
    tree = json.loads((tmp_path / "train.json").read_text())
    change(tree)
    (tmp_path / "train.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=words):
        _ = DATASETS.build("coco_masks", path=str(tmp_path)).train


# Between a picture and the network's input.


@settings(max_examples=examples(40))
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_a_mask_in_the_input_lies_where_its_picture_does(height, width, seed):
    letterbox = Letterbox((32, 48))
    mask = np.random.default_rng(seed).integers(0, 3, [height, width]).astype(np.uint8)
    fitted = letterbox.of_mask(mask)
    picture = letterbox(np.repeat(np.full_like(mask, 255)[..., None], 3, axis=2))
    filled = (picture > 0.5).all(axis=0)
    np.testing.assert_array_equal(fitted != 255, filled)
    if letterbox.scale(mask.shape) >= 1:  # nothing is lost
        np.testing.assert_array_equal(letterbox.mask_to_image(fitted, mask.shape), mask)


def test_read_mask_takes_what_is_written(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), MASK)
    (tmp_path / "b.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"b.png is not a readable picture"):
        read_mask(tmp_path / "b.png")
