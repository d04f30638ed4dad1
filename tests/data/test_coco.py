"""COCO's format: what is read, what is left out and said, and what is refused, with the name of the entry."""

import copy
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ppcoordconv.data import DATASETS
from ppcoordconv.data.coco import read_coco
from ppcoordconv.data.files import find_picture
from ppcoordconv.utils.errors import UserError

RIGHT = {
    "images": [
        {"id": 7, "file_name": "b.png", "width": 30, "height": 20},
        {"id": 3, "file_name": "a.png", "width": 8, "height": 9},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 10, 5.5]},
        {"id": 2, "image_id": 7, "category_id": 20, "bbox": [-2, 15, 40, 10], "iscrowd": 1},
        {"id": 4, "image_id": 7, "category_id": 20, "bbox": [5, 5, 0, 3]},
    ],
    "categories": [{"id": 90, "name": "cat"}, {"id": 20, "name": "dog"}],
}


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (30, 20)).save(tmp_path / split / "b.png")
        Image.new("L", (8, 9)).save(tmp_path / split / "a.png")
        (tmp_path / f"{split}.json").write_text(json.dumps(RIGHT))
    return tmp_path


def test_what_is_read(folder, capsys):
    (first, second), labels = read_coco(folder / "train.json", folder / "train")
    assert labels == ["dog", "cat"]  # by id
    assert first.size == (9, 8)
    assert first.boxes.shape == (0, 4)
    assert first.pixels().shape == (9, 8, 3)
    np.testing.assert_array_equal(second.boxes, np.float32([[1, 2, 11, 7.5], [0, 15, 30, 20]]))
    assert second.classes.tolist() == [1, 0]
    assert second.crowd.tolist() == [False, True]
    assert "1 boxes without width or height are left out, the first of annotation 4" in capsys.readouterr().err


def test_both_splits_name_the_same_categories(folder):
    data = DATASETS.build("coco", path=str(folder))
    assert (len(data.train), len(data.test), data.labels) == (2, 2, ["dog", "cat"])
    other = copy.deepcopy(RIGHT)
    other["categories"][0]["name"] = "cow"
    (folder / "test.json").write_text(json.dumps(other))
    data = DATASETS.build("coco", path=str(folder))
    with pytest.raises(UserError, match="the test set has the category 'cow', which is not trained on: 'dog', 'cat'"):
        _ = data.train, data.test


def test_a_picture_of_another_size_than_it_says(folder):
    Image.new("RGB", (31, 20)).save(folder / "train" / "b.png")
    images, _ = read_coco(folder / "train.json", folder / "train")
    with pytest.raises(UserError, match="b.png is 31x20 pixels, its annotations say 30x20"):
        images[1].pixels()


def test_pictures_that_are_missing_or_cannot_be_read_are_left_out(folder, capsys):
    extra = copy.deepcopy(RIGHT)
    for key, name in ((8, "missing.png"), (9, "broken.png"), (10, "large.png")):
        extra["images"].append({"id": key, "file_name": name, "width": 8, "height": 9})
    (folder / "train" / "broken.png").write_text("no picture")
    Image.new("L", (9, 9)).save(folder / "train" / "large.png")
    (folder / "train.json").write_text(json.dumps(extra))
    data = DATASETS.build("coco", path=str(folder), on_error="skip")
    assert [image.image.name for image in data.train] == ["a.png", "b.png"]
    assert "3 of 5 pictures can't be read and are left out, the first: there is no file" in capsys.readouterr().err
    with pytest.raises(UserError, match="image 8: there is no file .*missing.png"):
        _ = DATASETS.build("coco", path=str(folder)).train
    with pytest.raises(UserError, match="^on_error takes one of stop, skip"):
        DATASETS.build("coco", path=str(folder), on_error=True)


def test_what_tools_write_otherwise_is_the_same(folder):
    """Ids as texts and floats, sizes likewise, no crowd, a byte order mark, UTF-16, boxes left to polygons."""
    plain = read_coco(folder / "train.json", folder / "train")
    other = copy.deepcopy(RIGHT)
    other["images"][0].update(id="7", width=30.0, height="20")
    other["images"][1].update(id=3.0, file_name=r"..\media\upload\4\3f2a90bc-a.png")
    other["categories"][0]["id"] = 90.0
    first, second, third = other["annotations"]
    first.update(image_id=7.0, category_id="90", bbox=[], segmentation=[[1, 2, 11, 2, 11, 7.5]], iscrowd=None)
    second.update(image_id="7", category_id="20.0", segmentation=[])
    third.update(bbox=[0, 0, 0, 0], segmentation=[])
    for text in (
        b"\xef\xbb\xbf" + json.dumps(other).encode(),
        json.dumps(other).encode("utf-16"),
    ):
        (folder / "train.json").write_bytes(text)
        images, labels = read_coco(folder / "train.json", folder / "train")
        assert labels == plain[1]
        for image, same in zip(images, plain[0]):
            assert (image.image, image.size) == (same.image, same.size)
            for name in ("boxes", "classes", "crowd"):
                np.testing.assert_array_equal(getattr(image, name), getattr(same, name))


@pytest.mark.parametrize("bbox", [None, [], [0, 0, 0, 0]])
@pytest.mark.parametrize("segmentation", [[[3, 4, 9, 5], [6, 1, 7, 8]], [3, 1, 9, 8]])
def test_the_box_around_polygons(folder, bbox, segmentation):
    other = copy.deepcopy(RIGHT)
    other["annotations"][0].update(bbox=bbox, segmentation=segmentation)
    (folder / "train.json").write_text(json.dumps(other))
    images, _ = read_coco(folder / "train.json", folder / "train")
    assert images[1].boxes[0].tolist() == [3, 1, 9, 8]


def test_ids_that_are_texts(folder):
    other = json.loads(json.dumps(RIGHT).replace('"image_id": 7', '"image_id": "x"').replace('"id": 7', '"id": "x"'))
    (folder / "train.json").write_text(json.dumps(other))
    images, _ = read_coco(folder / "train.json", folder / "train")
    assert [(image.image.name, len(image.boxes)) for image in images] == [("a.png", 0), ("b.png", 2)]


def test_a_test_file_with_other_ids_of_the_same_names(folder):
    """A part of the categories, in another order and with other ids; found by name, with weights' labels too."""
    plain = DATASETS.build("coco", path=str(folder)).test
    other = json.loads(json.dumps(RIGHT))
    other["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    for annotation in other["annotations"]:
        annotation["category_id"] = {90: 1, 20: 2}[annotation["category_id"]]
    (folder / "test.json").write_text(json.dumps(other))
    data = DATASETS.build("coco", path=str(folder))
    assert data.test[1].classes.tolist() == plain[1].classes.tolist() == [1, 0]
    other["categories"].pop()
    other["annotations"] = other["annotations"][:1]
    (folder / "test.json").write_text(json.dumps(other))
    assert DATASETS.build("coco", path=str(folder)).test[1].classes.tolist() == [1]
    (folder / "train.json").unlink()
    alone = DATASETS.build("coco", path=str(folder))
    alone.labels = ["bird", "dog", "cat"]
    assert alone.test[1].classes.tolist() == [2]


def test_a_root_of_the_same_name_as_a_category(folder):
    """Roboflow's, without boxes."""
    other = copy.deepcopy(RIGHT)
    other["categories"].append({"id": 0, "name": "cat", "supercategory": "none"})
    (folder / "train.json").write_text(json.dumps(other))
    images, labels = read_coco(folder / "train.json", folder / "train")
    assert labels == ["cat", "dog"]
    assert images[1].classes.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("a.png", "a.png"),
        ("a.png", "images/a.png"),
        ("a.png", "/data/upload/1/3f2a90bc-a.png"),
        ("a.png", r"C:\pictures\a.png"),
        ("b/a.png", r"x\b\a.png"),
        ("3f2a90bc-a.png", "3f2a90bc-a.png"),
        (r"x\a.png", r"x\a.png"),
    ],
)
def test_pictures_are_found_by_the_end_of_their_path(tmp_path, stored, name):
    (tmp_path / stored).parent.mkdir(exist_ok=True)
    for file in (stored, "other.png"):
        (tmp_path / file).touch()
    assert find_picture(name, tmp_path / "nowhere", tmp_path) == tmp_path / stored
    assert find_picture("lost/c.png", tmp_path) == tmp_path / "lost" / "c.png"


def changed(*path_and_value):
    *path, last, value = path_and_value

    def change(tree):
        for key in path:
            tree = tree[key]
        if value is None:
            del tree[last]
        else:
            tree[last] = value

    return change


BOX = ("annotations", 0, "bbox")
WRONG = {
    "no images": (changed("images", None), "'images' takes a list, got nothing"),
    "no annotations": (changed("annotations", None), "'annotations' takes a list, got nothing"),
    "categories no list": (changed("categories", {}), "'categories' takes a list, got {}"),
    "no category at all": (changed("categories", []), "it has no category"),
    "no image at all": (changed("images", []), "it has no image"),
    "an image is a number": (changed("images", 0, 5), "number 0 of 'images' is not an object: 5"),
    "an image without id": (changed("images", 1, "id", None), "image number 1: id takes a whole number or a text"),
    "an image id is a list": (
        changed("images", 1, "id", [3]),
        r"image number 1: id takes a whole number or a text, got",
    ),
    "the same id as number and text": (changed("images", 1, "id", "7.0"), "two entries have the image id 7"),
    "two images of one id": (changed("images", 1, "id", 7), "two entries have the image id 7"),
    "no file name": (changed("images", 0, "file_name", None), "image 7: file_name takes a text, got None"),
    "no width": (changed("images", 0, "width", None), "image 7: width takes a whole number of pixels, from 1"),
    "a height of 0": (changed("images", 0, "height", 0), "image 7: height takes a whole number of pixels"),
    "no such picture": (changed("images", 0, "file_name", "c.png"), "image 7: there is no file"),
    "two categories of one id": (changed("categories", 0, "id", 20), "two entries have the category id 20"),
    "two of one name": (changed("categories", 0, "name", "dog"), "two categories have the name 'dog'"),
    "a category without name": (
        changed("categories", 0, "name", None),
        "category 90: name takes a text of 1",
    ),
    "half a letter": (
        changed("categories", 0, "name", "a\ud800"),
        "category 90: name takes a text of 1",
    ),
    "a long name": (
        changed("categories", 0, "name", "a" * 1001),
        "category 90: name takes a text of 1",
    ),
    "an unknown image": (changed("annotations", 0, "image_id", 8), "annotation 1: there is no image of image_id 8"),
    "an unknown category": (
        changed("annotations", 0, "category_id", 1),
        "annotation 1: there is no category of category_id 1",
    ),
    "no category_id": (changed("annotations", 0, "category_id", None), "no category of category_id None"),
    "iscrowd 2": (changed("annotations", 0, "iscrowd", 2), "annotation 1: iscrowd takes 0 or 1, got 2"),
    "no bbox": (changed(*BOX, None), "annotation 1: bbox takes left, top, width and height, got None"),
    "three numbers": (changed(*BOX, [1, 2, 3]), r"annotation 1: bbox takes left, top, width and height, got \[1, 2, 3"),
    "text in a bbox": (changed(*BOX, [1, 2, 3, "4"]), "annotation 1: bbox takes left, top, width and height"),
    "a bbox of NaN": (changed(*BOX, [1, float("nan"), 3, 4]), "annotation 1: bbox takes numbers of at most 1e\\+09"),
    "400 digits": (changed(*BOX, [1, 2, 10**400, 4]), "annotation 1: bbox takes numbers of at most 1e\\+09"),
    "a width of 400 digits": (changed("images", 0, "width", 10**400), "image 7: width takes a whole number of pixels"),
    "infinite": (changed(*BOX, [1, 2, float("inf"), 4]), "annotation 1: bbox takes numbers of at most 1e\\+09"),
    "a negative width": (changed(*BOX, [5, 5, -3, 4]), "annotation 1: .* no size is negative"),
    "to the right of it": (changed(*BOX, [30, 5, 3, 4]), "annotation 1: the bbox .* lies outside its image of 30x20"),
    "above it": (changed(*BOX, [3, -9, 3, 4]), "annotation 1: the bbox .* lies outside its image of 30x20 pixels"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_entries_are_named(folder, name):
    change, words = WRONG[name]
    tree = copy.deepcopy(RIGHT)
    change(tree)
    (folder / "train.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=words) as raised:
        read_coco(folder / "train.json", folder / "train")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "takes an object with images"),
        ("[" * 100000, "is not valid JSON"),
        (
            None,
            "no file .*train.json; coco takes a folder .*, as python tools/fields.py --output FOLDER writes one$",
        ),
    ],
)
def test_wrong_files(folder, text, words):
    path = folder / "train.json"
    if text is None:
        shutil.rmtree(folder)
    else:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_coco(path, folder / "train")


def test_what_lies_in_the_place_of_a_file_is_named(folder):
    (folder / "train.json").rename(folder / "result.json")
    (folder / "test.json").unlink()
    with pytest.raises(UserError, match="train.json; result.json is there: data.train_annotations and data.test_anno"):
        read_coco(folder / "train.json", folder / "train")
    (folder / "data.yaml").touch()
    with pytest.raises(UserError, match="train.json; data.yaml is there, which data.name=yolo reads"):
        read_coco(folder / "train.json", folder / "train")


def test_no_folder():
    with pytest.raises(UserError, match="path takes the folder of the data set's files, got nothing"):
        DATASETS.build("coco")
