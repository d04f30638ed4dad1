"""Folders of one's own pictures: both forms, what is passed over and left out, and what is said of it."""

import shutil

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppcoordconv.data import DATASETS, LabelledImages, stratified_split
from ppcoordconv.data.images import read_image
from ppcoordconv.data.listing import ENDINGS, list_images
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.progress import flush_deferred


@pytest.fixture(scope="module")
def one_picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("one") / "a.png"
    Image.new("RGB", (3, 2)).save(path)
    return path


def put(root, picture, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, root / name)


def read(root, **options):
    return DATASETS.build("image_folder", path=str(root), **options)


def refusal(root, **options):
    with pytest.raises(UserError) as caught:
        read(root, **options)
    return str(caught.value)


def said(capsys):
    flush_deferred()
    return capsys.readouterr().err


def counts(data):
    return [np.bincount(part.classes, minlength=len(data.labels)).tolist() for part in (data.train, data.test)]


def test_pictures_below_a_class_folder_are_its_own(tmp_path, one_picture):
    put(tmp_path, one_picture, "cat/a.png", "cat/2023/b.png", "cat/2023/05/c.png", "dog/x/a.png", "dog/y/a.png")
    data = read(tmp_path)
    assert data.labels == ["cat", "dog"]
    assert np.add(*counts(data)).tolist() == [3, 2]


def test_a_class_folder_may_be_a_link(tmp_path, one_picture):
    put(tmp_path, one_picture, "elsewhere/0.png", "elsewhere/1.png", "mine/dog/0.png", "mine/dog/1.png")
    (tmp_path / "mine" / "cat").symlink_to(tmp_path / "elsewhere")
    assert counts(read(tmp_path / "mine")) == [[1, 1], [1, 1]]


def test_what_systems_and_archives_leave_is_passed_over_and_the_rest_counted(tmp_path, one_picture, capsys):
    put(tmp_path, one_picture, *(f"{label}/{i}.png" for label in ("cat", "dog") for i in range(3)))
    put(tmp_path, one_picture, "cat/._0.png", "cat/.hidden.png", "__MACOSX/cat/0.png", "dog/__MACOSX/0.png")
    put(tmp_path, one_picture, ".git/0.png", "dog/.thumbnails/0.png", "cat/Thumbs.db", "dog/desktop.ini", "loose.png")
    put(tmp_path, one_picture, "cat/a.HEIC", "cat/b.txt", "dog/c.txt", "dog/below/d.TXT", "dog/README")
    data = read(tmp_path)
    assert np.add(*counts(data)).tolist() == [3, 3]
    assert said(capsys).splitlines() == [
        f"{tmp_path}: 1 pictures lie beside the class folders, in none of them, and are left out",
        "left out: 3 .txt, 1 .heic, 1 without an ending",
        f"{tmp_path}: 4 pictures to train on, 2 held out: a fifth of each class, by split_seed 0; 2 classes, of 3 "
        "pictures each",
    ]
    assert [path.name for path in list_images(tmp_path / "cat")] == ["0.png", "1.png", "2.png"]
    put(tmp_path, one_picture, "hidden/.a.png", "hidden/.below/a.png")
    with pytest.raises(UserError, match="there is no picture in the folder"):
        list_images(tmp_path / "hidden", recursive=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_read_in_upper_case_too(tmp_path, ending):
    formats = {".jfif": "jpeg", ".jpg": "jpeg", ".tif": "tiff"}
    for name in (f"a{ending}", f"B{ending.upper()}"):
        Image.new("RGB", (3, 2), "red").save(tmp_path / name, format=formats.get(ending, ending[1:]))
    found = list_images(tmp_path)
    assert len(found) == 2
    assert all(read_image(path).shape == (2, 3, 3) for path in found)


def test_the_split_is_that_of_its_seed(tmp_path, one_picture):
    put(tmp_path, one_picture, *(f"{label}/{i}.png" for label in ("cat", "dog") for i in range(20)))
    held_out = [set(read(tmp_path, split_seed=seed).test.images) for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]
    assert held_out[0] == set(read(tmp_path).test.images)


@settings(max_examples=examples(50))
@given(st.lists(st.integers(2, 60), min_size=2, max_size=8), st.integers(0, 99))
def test_each_class_is_on_both_sides_of_a_split(sizes, seed):
    classes = np.repeat(np.arange(len(sizes)), sizes)
    numbers = range(len(classes))  # in the place of pictures
    data = stratified_split(LabelledImages(numbers, classes), ["x"] * len(sizes), seed)
    for part in (data.train, data.test):
        assert set(part.classes) == set(classes)
        assert part.classes.tolist() == classes[part.images].tolist()
    assert sorted([*data.train.images, *data.test.images]) == list(numbers)


@pytest.mark.parametrize(
    ("parts", "taken", "unused"),
    [
        (["train", "val", "test"], "val", ", and test is not used"),
        (["train", "valid"], "valid", ""),
        (["Train", "VALIDATION", "notes"], "VALIDATION", ", and notes is not used"),
        (["train", "test"], "test", ""),
        (["Training", "Testing"], "Testing", ""),
        (["training_set", "test_set"], "test_set", ""),
        (["train", "dev"], "dev", ""),
    ],
)
def test_a_split_that_is_given(tmp_path, one_picture, capsys, parts, taken, unused):
    put(tmp_path, one_picture, *(f"{part}/{label}/{i}.png" for part in parts for label in ("cat", "dog") for i in "01"))
    put(tmp_path, one_picture, f"{parts[0]}/cat/below/2.png")
    data = read(tmp_path)
    assert data.labels == ["cat", "dog"]
    assert counts(data) == [[3, 2], [2, 2]]
    assert {path.relative_to(tmp_path).parts[0] for path in data.train.images} == {parts[0]}
    assert {path.relative_to(tmp_path).parts[0] for path in data.test.images} == {taken}
    assert all(
        path.relative_to(tmp_path).parts[1] == data.labels[c] for path, c in zip(data.test.images, data.test.classes)
    )
    assert f"5 pictures to train on, 4 held out: those in {taken}{unused}; 2 classes" in said(capsys)


def test_what_is_measured_on_after_all_training(tmp_path, one_picture, capsys):
    names = [f"{part}/{label}/{i}.png" for part in ("train", "val", "test") for label in ("cat", "dog") for i in "01"]
    put(tmp_path, one_picture, *names)
    test = read(tmp_path, held_out="test").test
    assert {path.relative_to(tmp_path).parts[0] for path in test.images} == {"test"}
    assert "held out: those in test, and val is not used; 2 classes, of 4 pictures each" in said(capsys)
    shutil.rmtree(tmp_path / "test")
    assert "and neither val/<class> nor test/<class>" not in (words := refusal(tmp_path, held_out="test"))
    assert "has train/<class>, and not test/<class>" in words
    assert "held_out takes one of val, test" in refusal(tmp_path, held_out="valid")
    assert "train has none" in refusal(tmp_path / "train", held_out="test")


def test_classes_of_a_split_that_is_given(tmp_path, one_picture, capsys):
    put(tmp_path, one_picture, "train/cat/0.png", "train/dog/0.png", "val/dog/0.png")
    (tmp_path / "val" / "cat").mkdir()
    assert counts(read(tmp_path)) == [[1, 1], [0, 1]]
    assert f"{tmp_path}: no picture is held out of cat" in said(capsys)
    put(tmp_path, one_picture, "val/bird/0.png")
    assert "val has the classes bird, which " in refusal(tmp_path)
    (tmp_path / "train" / "bird").mkdir()
    assert "there is no picture in the folder" in refusal(tmp_path)
    (tmp_path / "train" / "bird" / "0.png").write_text("broken")
    assert "the class 'bird' has no picture that can be read to train on" in refusal(tmp_path, on_error="skip")
    shutil.copy(one_picture, tmp_path / "train" / "bird")
    for path in (tmp_path / "val").rglob("*.png"):
        path.unlink()
    assert "no picture that can be read is held out, those in val; at least 1 is needed" in refusal(tmp_path)
    shutil.rmtree(tmp_path / "train" / "dog")
    shutil.rmtree(tmp_path / "train" / "cat")
    shutil.rmtree(tmp_path / "val")
    assert "and neither val/<class> nor test/<class>; the path " in refusal(tmp_path)
    put(tmp_path, one_picture, "test/unlabelled.png")
    assert "and neither val/<class> nor test/<class>; the path " in refusal(tmp_path)
    put(tmp_path, one_picture, "val/bird/0.png")
    assert "train holds 1 class folders; at least 2" in refusal(tmp_path)


def test_classes_may_be_called_train_and_test(tmp_path, one_picture):
    put(tmp_path, one_picture, *(f"{label}/{i}.png" for label in ("train", "test", "plane") for i in "01"))
    assert read(tmp_path).labels == ["plane", "test", "train"]


@pytest.mark.parametrize("options", [{"path": 5}, {"path": ""}, {"split_seed": -1}, {"split_seed": 1.0}])
def test_wrong_options(tmp_path, options):
    (name,) = options
    with pytest.raises(UserError, match=f"^{name} takes "):
        DATASETS.build("image_folder", **{"path": str(tmp_path), **options})
