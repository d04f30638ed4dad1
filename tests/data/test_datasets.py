"""The datasets: sizes, splits, and what is said of folders and archives that are wrong."""

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ppcoordconv.data import DATASETS
from ppcoordconv.data.images import read_image
from ppcoordconv.utils.errors import UserError


def test_digits_are_the_real_ones_split_in_proportion():
    data = DATASETS.build("digits")
    assert (len(data.train), len(data.test), data.labels) == (1437, 360, list("0123456789"))
    assert all(image.shape == (32, 32, 3) and image.dtype == np.uint8 for image in data.test.images)
    shares = [np.bincount(samples.classes) / len(samples) for samples in (data.train, data.test)]
    assert np.abs(shares[0] - shares[1]).max() < 0.005
    seen = {image.tobytes() for image in data.train.images}
    assert not seen & {image.tobytes() for image in data.test.images}
    means = sorted(image.mean() for samples in (data.train, data.test) for image in samples.images)
    np.testing.assert_allclose(means, sorted(load_digits().images.mean((1, 2)) * 255 / 16), atol=1)


def test_the_split_is_fixed():
    data = DATASETS.build("digits")
    assert data.train.classes[:12].tolist() == [3, 9, 1, 3, 1, 9, 4, 4, 2, 8, 3, 5]
    assert data.test.classes[:12].tolist() == [7, 6, 3, 7, 7, 3, 2, 8, 9, 3, 2, 6]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog", "鸟"):
        (tmp_path / label).mkdir()
        for i in range(10):
            Image.fromarray(rng.integers(0, 255, (5, 7, 3), np.uint8)).save(tmp_path / label / f"{i}.png")
    return tmp_path


def test_image_folder(folder):
    (folder / ".hidden").mkdir()
    (folder / "notes.txt").write_text("not a class")
    (folder / "cat" / "notes.txt").write_text("not a picture")
    data = DATASETS.build("image_folder", path=str(folder))
    assert data.labels == ["cat", "dog", "鸟"]
    assert (len(data.train), len(data.test)) == (24, 6)
    assert np.bincount(data.test.classes).tolist() == [2, 2, 2]
    for path, label in zip(data.train.images, data.train.classes):
        assert path.parent.name == data.labels[label]
        assert read_image(path).shape == (5, 7, 3)
    assert not set(data.train.images) & set(data.test.images)


def test_the_smallest_image_folder(folder):
    for path in folder.rglob("*.png"):
        if path.stem not in "01":
            path.unlink()
    data = DATASETS.build("image_folder", path=str(folder))
    assert np.bincount(data.train.classes).tolist() == np.bincount(data.test.classes).tolist() == [1, 1, 1]


def test_wrong_image_folders(folder):
    def message(path=folder):
        with pytest.raises(UserError) as caught:
            DATASETS.build("image_folder", path=str(path))
        return str(caught.value)

    assert "there is no folder" in message(folder / "nowhere")
    assert "holds 0 class folders; at least 2" in message(folder / "cat")
    (folder / "empty").mkdir()
    assert "there is no picture in the folder" in message()
    Image.new("L", (3, 3)).save(folder / "empty" / "a.png")
    assert "the class 'empty' has one picture; at least 2 are needed, to train and to test" in message()


def test_a_class_whose_name_is_no_text(folder):
    (folder / "cat").rename(folder / os.fsdecode(b"caf\xe9"))
    with pytest.raises(UserError, match=r"the name of the class folder .*caf.* is not UTF-8; rename it"):
        DATASETS.build("image_folder", path=str(folder))


def test_pictures_that_cannot_be_read_are_left_out(folder, capsys):
    (folder / "cat" / "3.png").write_text("no picture")
    whole = (folder / "dog" / "4.png").read_bytes()
    (folder / "dog" / "4.png").write_bytes(whole[: len(whole) // 2])
    stopped = DATASETS.build("image_folder", path=str(folder))
    assert len(stopped.train) + len(stopped.test) == 30
    skipped = DATASETS.build("image_folder", path=str(folder), on_error="skip")
    assert "2 of 30 pictures can't be read and are left out, the first: " in (said := capsys.readouterr().err)
    assert "3.png is not a readable picture" in said
    for part in (skipped.train, skipped.test):
        assert all(part.pixels(i).shape == (5, 7, 3) for i in range(len(part)))
        assert all(path.parent.name == skipped.labels[label] for path, label in zip(part.images, part.classes))
    assert np.bincount(np.concatenate([skipped.train.classes, skipped.test.classes])).tolist() == [9, 9, 10]
    for label in ("cat", "dog", "鸟"):
        for picture in (folder / label).iterdir():
            if label != "dog" or picture.stem not in "01":
                picture.write_text("no picture")
    with pytest.raises(UserError, match="the class 'cat' has no picture that can be read; at least 2"):
        DATASETS.build("image_folder", path=str(folder), on_error="skip")
    for picture in (folder / "dog").iterdir():
        picture.write_text("no picture")
    with pytest.raises(UserError, match="none of 30 pictures can be read: .*0.png is not a readable picture"):
        DATASETS.build("image_folder", path=str(folder), on_error="skip")
    with pytest.raises(UserError, match="^on_error takes one of stop, skip, got 'ignore'"):
        DATASETS.build("image_folder", path=str(folder), on_error="ignore")


def cifar_archive(path, **batches):
    with tarfile.open(path, "w:gz") as archive:
        for name, batch in batches.items():
            content = pickle.dumps(batch)
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_cifar10(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 256, (7, 3072), np.uint8)
    labels = [3, 1, 4, 1, 5, 9, 2]
    cifar_archive(
        path,
        data_batch_1={b"data": planes[:3], b"labels": labels[:3]},
        data_batch_2={b"data": planes[3:5], b"labels": labels[3:5]},
        test_batch={b"data": planes[5:], b"labels": labels[5:]},
    )
    data = DATASETS.build("cifar10", path=str(path))
    assert data.train.classes.tolist() == labels[:5]
    assert data.test.classes.tolist() == labels[5:]
    assert data.labels[3] == "cat"
    assert (data.train.images[0] == planes[0].reshape(3, 32, 32).transpose(1, 2, 0)).all()


def test_wrong_cifar10(tmp_path):
    def message():
        with pytest.raises(UserError) as caught:
            DATASETS.build("cifar10", path=str(tmp_path / "a.tar.gz"))
        return str(caught.value)

    assert "there is no file" in message()
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    assert "is not cifar-10-python.tar.gz" in message()
    cifar_archive(tmp_path / "a.tar.gz", something={})
    assert "holds no data_batch" in message()
