"""COCO's keypoint files: what is read, what is left out and said, and what is refused."""

import copy
import json
import shutil

import numpy as np
import pytest
from keypoint_pictures import NAMES, write_faces

from ppcoordconv.data import DATASETS
from ppcoordconv.data.coco_keypoints import read_coco_keypoints
from ppcoordconv.data.keypoints import pairs_of
from ppcoordconv.utils.errors import UserError


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces") / "faces"
    write_faces(folder, (6, 3))
    return folder


@pytest.fixture
def changed(faces, tmp_path):
    """Reads the training set with its file changed."""
    tree = json.loads((faces / "train.json").read_text())

    def read(change, **options):
        given = copy.deepcopy(tree)
        change(given)
        (tmp_path / "a.json").write_text(json.dumps(given))
        return read_coco_keypoints(tmp_path / "a.json", faces / "train", **options)

    return read


def test_points_boxes_and_the_skeleton_are_those_of_the_file(faces):
    tree = json.loads((faces / "train.json").read_text())
    objects, skeleton = read_coco_keypoints(faces / "train.json", faces / "train")
    assert skeleton.names == NAMES
    assert skeleton.edges == [[0, 1], [0, 2], [1, 2], [2, 3]]
    assert skeleton.flip_pairs == [[0, 1]]
    assert skeleton.flip_order().tolist() == [1, 0, 2, 3]
    assert len(objects) == 6
    for one, annotation in zip(objects, tree["annotations"]):
        np.testing.assert_allclose(one.points.ravel(), annotation["keypoints"], rtol=1e-6)
        left, top, width, height = annotation["bbox"]
        np.testing.assert_allclose(one.box, [left, top, left + width, top + height], rtol=1e-6)
        assert one.area == pytest.approx(annotation["area"])
        assert one.pixels().shape == (48, 64, 3)


def test_what_is_not_labelled_is_left_out_and_said(changed, capsys):
    def change(tree):
        first, second, third, *_ = tree["annotations"]
        first["keypoints"][:3] = [0, 0, 0]
        second["keypoints"] = [0] * 12
        del tree["annotations"][3]["keypoints"]
        third["iscrowd"] = 1
        tree["categories"].append({"id": 7, "name": "hat"})
        tree["annotations"].append({"id": 99, "image_id": 1, "category_id": 7, "bbox": [0, 0, 2, 2]})

    objects, _ = changed(change)
    said = capsys.readouterr().err
    assert len(objects) == 3
    assert objects[0].points[0].tolist() == [0, 0, 0]
    for words in ("annotations of other categories", "crowds"):
        assert f"{words} are left out: 1 of 7" in said
    assert "objects without a labelled point are left out: 2 of 7" in said


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"bbox": [0, 0, 0, 0], "area": 0, "segmentation": []},
        {"segmentation": {"counts": [1], "size": [1, 1]}},
    ],
)
def test_without_a_box_it_is_that_around_the_points(changed, given):
    """As COCO Annotator writes points alone, and beside a mask."""

    def change(tree):
        for annotation in tree["annotations"]:
            del annotation["bbox"], annotation["area"]
            annotation.update(given)

    one = changed(change)[0][0]
    x, y = one.points[:, 0], one.points[:, 1]
    assert one.box.tolist() == [x.min(), y.min(), x.max(), y.max()]
    assert one.area == pytest.approx((x.max() - x.min()) * (y.max() - y.min()), rel=1e-5)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["left_eye", "right_eye", "nose"], [[0, 1]]),
        (["R_hand", "nose", "L_hand"], [[2, 0]]),
        (["hand_r", "hand_l"], [[1, 0]]),
        (["Left Ankle", "Right Ankle"], [[0, 1]]),
        (["leftEye", "rightEye", "nose"], [[0, 1]]),
        (["eye_l1", "eye_r1"], [[0, 1]]),
        (["left_eye", "nose"], []),
        (["eyelid", "eyerid", "cleft"], []),
    ],
)
def test_left_and_right_are_found_by_their_names(names, pairs):
    assert pairs_of(names) == pairs


def test_pairs_that_are_given_are_taken(changed):
    assert changed(lambda tree: None, flip_pairs=[["nose", "mouth"]])[1].flip_pairs == [[2, 3]]


def test_a_fifth_of_the_pictures_is_held_out(faces, tmp_path, capsys):
    (tmp_path / "train.json").write_text((faces / "train.json").read_text())
    (tmp_path / "train").symlink_to(faces / "train")
    data = DATASETS.build("coco_keypoints", path=str(tmp_path))
    assert (len(data.train), len(data.test)) == (4, 2)
    assert "2 of 6 pictures are held out" in capsys.readouterr().err


def of_first(**fields):
    return lambda tree: tree["annotations"][0].update(fields)


def point(*values):
    return lambda tree: tree["annotations"][0]["keypoints"].__setitem__(slice(0, 3), list(values))


def category(**fields):
    return lambda tree: tree["categories"][0].update(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (of_first(keypoints=[1, 1, 2]), "annotation 1: keypoints takes x, y and visibility of 4 points, got 3 numbers"),
        (of_first(keypoints="1"), "annotation 1: keypoints takes .* of 4 points, got '1'"),
        (point(1, 1, 3), "annotation 1: keypoint 'left_eye': visibility takes 0, 1 or 2, got 3"),
        (point(1, 1, True), "visibility takes 0, 1 or 2, got True"),
        (point(float("nan"), 1, 2), "annotation 1: keypoint 'left_eye': takes x and y in pixels, got .nan"),
        (point("1", 1, 2), "keypoint 'left_eye': takes x and y in pixels, got .'1'"),
        (
            point(65, 1, 1),
            "keypoint 'left_eye' lies at 65, 1, outside its image of 64x48 pixels; what is not seen has ",
        ),
        (of_first(area=-1), "annotation 1: area takes a number above 0, got -1"),
        (of_first(bbox=[70, 0, 5, 5]), "annotation 1: its box has no width or no height in the picture"),
        (of_first(image_id=77), "annotation 1: there is no image of image_id 77"),
        (category(skeleton=[[1, 5]]), "category 'face': skeleton takes pairs of numbers from 1 to 4, .*, got .1, 5"),
        (category(skeleton=[[1, 2, 3]]), "category 1: skeleton takes a list of pairs of numbers, got .*1, 2, 3"),
        (category(skeleton="1-2"), "category 1: skeleton takes a list of pairs of numbers, got '1-2'"),
        (category(keypoints=["a", "a", "b", "c"]), "category 1: keypoints takes a list of different texts"),
        (category(keypoints=[]), "one category with keypoints is taken, and it has 0: none"),
        (
            lambda tree: tree["categories"].append({"id": 2, "name": "cat", "keypoints": ["tail"]}),
            "one category with keypoints is taken, and it has 2: 'face', 'cat'",
        ),
        (lambda tree: tree.update(annotations=[]), "it has no object with a labelled keypoint"),
    ],
)
def test_wrong_entries_are_named(changed, change, words):
    with pytest.raises(UserError, match=words):
        changed(change)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (
            [["left_eye", "tail"]],
            "flip_pairs names 'tail', which is none of the keypoints left_eye, right_eye, nose, mo",
        ),
        ([["nose", "nose"]], "flip_pairs takes pairs of names of keypoints, each once"),
        (["nose"], "flip_pairs takes pairs of names of keypoints, each once, got ..nose"),
        (3, "flip_pairs takes pairs"),
    ],
)
def test_wrong_pairs(faces, pairs, words):
    with pytest.raises(UserError, match=words):
        _ = DATASETS.build("coco_keypoints", path=str(faces), flip_pairs=pairs).train


def test_a_test_set_of_other_points_is_refused(faces, tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).symlink_to(faces / part)
        tree = json.loads((faces / f"{part}.json").read_text())
        if part == "test":
            tree["categories"][0]["keypoints"] = ["a", "b", "c", "d"]
        (tmp_path / f"{part}.json").write_text(json.dumps(tree))
    data = DATASETS.build("coco_keypoints", path=str(tmp_path))
    assert len(data.train) == 6
    with pytest.raises(
        UserError, match="the test set has the keypoints a, b, c, d, not left_eye, right_eye, nose, mouth"
    ):
        _ = data.test


def test_pictures_that_are_missing_or_damaged_are_skipped_where_that_is_asked_for(faces, tmp_path, capsys):
    shutil.copytree(faces / "train", tmp_path / "train")
    (tmp_path / "train" / "1.png").unlink()
    (tmp_path / "train" / "2.png").write_text("no picture")
    with pytest.raises(UserError, match="image 1: there is no file"):
        read_coco_keypoints(faces / "train.json", tmp_path / "train")
    objects, _ = read_coco_keypoints(faces / "train.json", tmp_path / "train", on_error="skip")
    assert len(objects) == 4
    assert "2 of 6 pictures can't be read and are left out" in capsys.readouterr().err


def test_the_same_file_to_train_and_to_test_on_is_said(faces, capsys):
    names = {"test_annotations": "train.json", "test_images": "train"}
    data = DATASETS.build("coco_keypoints", path=str(faces), **names)
    assert len(data.train) == len(data.test) == 6
    said = capsys.readouterr().err
    assert "is the training and the test set" in said
    assert "6 of 6 pictures of the test set are in the training set, too" in said


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="there is no file .*train.json; data.train_annotations and"):
        _ = DATASETS.build("coco_keypoints", path=str(tmp_path)).train
