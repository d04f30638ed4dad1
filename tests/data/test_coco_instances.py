"""Objects with outlines from COCO's files: what is read, what is left out, and what is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instance_pictures import write_instances
from PIL import Image
from segmentation_pictures import COLOURS, NAMES

from ppcoordconv.data import DATASETS
from ppcoordconv.data.digits import digits
from ppcoordconv.data.outlines import read_outline
from ppcoordconv.data.scattered_digits import INK, write_fields
from ppcoordconv.ops.masks import box_around, run_lengths
from ppcoordconv.utils.errors import UserError

pytestmark = pytest.mark.any_paddle
SQUARE = [1, 2, 5, 2, 5, 6, 1, 6]


@pytest.fixture
def shapes(tmp_path):
    write_instances(tmp_path / "shapes", (4, 2))
    return tmp_path / "shapes"


def change(folder, edit, part="train"):
    tree = json.loads((folder / f"{part}.json").read_text())
    edit(tree)
    (folder / f"{part}.json").write_text(json.dumps(tree))


def read(folder, **options):
    return DATASETS.build("coco_instances", path=str(folder), **options)


def test_each_object_has_its_mask_its_class_and_its_box(shapes):
    data = read(shapes)
    assert data.labels == NAMES[1:]
    assert len(data.train) == 4
    for image in [*data.train, *data.test]:
        pixels, masks = image.pixels(), image.masks()
        assert masks.shape == (3, 64, 64)
        assert masks.dtype == np.uint8
        assert (masks.sum(axis=0) == (pixels != COLOURS[0]).any(axis=2)).all()
        for mask, category, box in zip(masks, image.classes, image.boxes):
            assert (pixels[mask > 0] == COLOURS[category + 1]).all()
            np.testing.assert_allclose(box_around(mask > 0), box, atol=1)
        assert not image.crowd.any()


def test_a_crowd_stays_one(shapes):
    change(shapes, lambda tree: tree["annotations"][1].update(iscrowd=1))
    assert read(shapes).train[0].crowd.tolist() == [False, True, False]


def test_what_has_no_outline_or_no_pixel_is_left_out_and_said(shapes, capsys):
    def edit(tree):
        first, second, third, *_ = tree["annotations"]
        del first["segmentation"]
        second["segmentation"] = [[70, 70, 80, 70, 80, 80]]
        third["segmentation"] = {"size": [64, 64], "counts": [64 * 64]}

    change(shapes, edit)
    assert [len(image.classes) for image in read(shapes).train] == [0, 3, 3, 3]
    said = capsys.readouterr().err
    assert "annotations without a segmentation are left out: 1 of 12" in said
    assert "objects without a pixel in their picture, which are left out: 2 of 12" in said
    assert "pictures without an object: 1 of 4" in said


def test_classes_are_matched_by_name(shapes):
    def edit(tree):
        tree["categories"] = [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}]
        for annotation in tree["annotations"]:
            annotation["category_id"] = 3 - annotation["category_id"]

    before = [image.classes.tolist() for image in read(shapes).test]
    change(shapes, edit, "test")
    data = read(shapes)
    assert data.labels == NAMES[1:]
    assert [image.classes.tolist() for image in data.test] == before


def test_a_fifth_is_held_out_where_there_is_no_test_set(shapes):
    (shapes / "test.json").unlink()
    data = read(shapes)
    assert (len(data.train), len(data.test)) == (3, 1)


def test_boxes_of_such_data_are_detections(shapes):
    """A detector takes the boxes around the outlines."""
    from ppcoordconv.data.boxes import DetectionData

    assert isinstance(read(shapes), DetectionData)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda tree: tree["annotations"][0].update(segmentation=[[1, 2, 3, 4]]), "annotation 1: a polygon takes at"),
        (lambda tree: tree["annotations"][0].update(segmentation="x"), "annotation 1: segmentation takes polygons or"),
        (lambda tree: tree["annotations"][0].update(category_id=9), "annotation 1: there is no category of category_"),
        (lambda tree: tree["annotations"][0].update(iscrowd=2), "annotation 1: iscrowd takes 0 or 1, got 2"),
        (
            lambda tree: tree["annotations"][0].update(segmentation={"size": [2, 2], "counts": [4]}),
            r"annotation 1: the size of its run lengths is \[2, 2\], that of its picture \[64, 64\]",
        ),
        (lambda tree: tree["categories"].__setitem__(1, {"id": 2, "name": "disc"}), "two categories have the name"),
        (lambda tree: tree["images"][0].update(file_name="none.png"), "image 1: there is no file .*none.png"),
        (lambda tree: [a.pop("segmentation") for a in tree["annotations"]], "it has no annotation with a segmentation"),
    ],
)
def test_what_is_wrong_is_a_sentence_that_names_the_entry(shapes, edit, words):
    change(shapes, edit)
    with pytest.raises(UserError, match=words) as caught:
        _ = read(shapes).train
    assert "\n" not in str(caught.value)


def test_a_picture_of_another_size_is_named(shapes):
    Image.new("RGB", (10, 10)).save(shapes / "train" / "1.png")
    with pytest.raises(UserError, match=r"1.png is 10x10 pixels, its annotations say 64x64"):
        read(shapes).train[0].pixels()


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="there is no file .*train.json; data.train_annotations and data.test_"):
        _ = read(tmp_path).train


masks = st.builds(
    lambda height, width, seed, share: np.random.default_rng(seed).random([height, width]) < share,
    *(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99), st.sampled_from([0, 0.1, 0.5, 1])),
)


@given(masks)
def test_run_lengths_are_read_as_the_mask_that_they_were_made_of(inside):
    outline = read_outline("it", run_lengths(inside), inside.shape)
    assert (outline.mask() == inside).all()
    places = np.argwhere(inside)
    box = [*places.min(0)[::-1], *(places.max(0)[::-1] + 1)] if len(places) else [0, 0, 0, 0]
    assert outline.box().tolist() == box


def test_the_box_of_polygons_ends_at_the_edges_of_the_picture():
    outline = read_outline("it", [SQUARE, [3, 3, 30, 3, 30, 5]], (8, 20))
    assert outline.box().tolist() == [1, 2, 20, 6]


def test_fields_of_digits_have_their_ink(tmp_path):
    write_fields(tmp_path / "with", digits(), (3, 1), canvas=64, number=4, masks=True)
    write_fields(tmp_path / "without", digits(), (3, 1), canvas=64, number=4)
    data, boxes = read(tmp_path / "with"), DATASETS.build("coco", path=str(tmp_path / "without"))
    for image, other in zip(data.train, boxes.train):
        assert (image.pixels() == other.pixels()).all()
        np.testing.assert_array_equal(image.classes, other.classes)
        assert (image.masks().max(axis=0) == (image.pixels()[..., 0] >= INK)).all()
        for mask, (left, top, right, bottom) in zip(image.masks(), other.boxes.astype(int)):
            assert mask.sum() == mask[top:bottom, left:right].sum() > 20


def test_copies_differ_in_their_place_alone(tmp_path):
    write_fields(tmp_path / "copies", digits(), (4, 1), canvas=96, number=5, masks=True, copies=True)
    shown = set()
    assert read(tmp_path / "copies").labels == ["digit"]
    for image in read(tmp_path / "copies").train:
        cut = []
        for mask, (left, top, right, bottom) in zip(image.masks(), image.boxes.astype(int)):
            cut.append(mask[top:bottom, left:right])
        assert all(np.array_equal(cut[0], other) for other in cut)
        assert len({*image.classes.tolist()}) == 1
        shown.add(cut[0].tobytes())
    assert len(shown) > 1
