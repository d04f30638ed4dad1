"""Fields of digits: what is drawn is where the annotations say, held-out digits are held out, seeds repeat."""

import gzip
import json

import numpy as np
import pytest
from conftest import ROOT, run_tool

from ppcoordconv.data import DATASETS, ClassificationData, LabelledImages
from ppcoordconv.data.coco import read_coco
from ppcoordconv.data.scattered_digits import INK, mnist, write_fields
from ppcoordconv.utils.errors import UserError


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    result = run_tool("fields", "--output", folder, "--train", 30, "--test", 10, cwd=ROOT)
    assert result.status == 0, result.stderr
    return folder


def test_boxes_are_around_ink(fields):
    images, labels = read_coco(fields / "train.json", fields / "train")
    assert labels == [str(n) for n in range(10)]
    assert len(images) == 30
    for image in images:
        pixels = image.pixels()[..., 0]
        assert pixels.shape == (64, 64)
        assert len(image.boxes) == 5
        outside = np.ones([64, 64], bool)
        for left, top, right, bottom in image.boxes.astype(int):
            assert 14 <= max(right - left, bottom - top) <= 22
            ink = pixels[top:bottom, left:right] >= INK // 2
            assert all(edge.any() for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]))
            outside[top:bottom, left:right] = False
        assert not pixels[outside].any()


def test_a_seed_repeats_and_another_does_not(fields, tmp_path):
    digits = DATASETS.build("digits")
    for seed in (0, 1):
        write_fields(tmp_path / str(seed), digits, (30, 10), seed=seed)
    texts = [(folder / "train.json").read_text() for folder in (fields, tmp_path / "0", tmp_path / "1")]
    assert texts[0] == texts[1] != texts[2]


def test_held_out_digits_are_on_test_pictures_alone(tmp_path):
    """Digits that are told apart by their grey."""

    def of(grey):
        return LabelledImages([np.full([8, 8, 3], grey, np.uint8)] * 3, np.zeros(3, np.int64))

    write_fields(tmp_path / "f", ClassificationData(of(100), of(200), ["0"]), (4, 4))
    data = DATASETS.build("coco", path=str(tmp_path / "f"))
    assert {int(image.pixels().max()) for image in data.train} == {100}
    assert {int(image.pixels().max()) for image in data.test} == {200}


def test_by_position_the_class_is_the_half(tmp_path):
    write_fields(tmp_path / "f", DATASETS.build("digits"), (20, 5), canvas=128, by_position=True)
    data = DATASETS.build("coco", path=str(tmp_path / "f"))
    assert data.labels == ["left", "right"]
    for image in data.train:
        middles = (image.boxes[:, 0] + image.boxes[:, 2]) / 2
        assert ((middles >= 64) == image.classes).all()
        assert (abs(middles - 64) <= 17).all()
    assert {0, 1} == set(np.concatenate([image.classes for image in data.train]))


def test_nothing_there_is_written_over(fields):
    before = (fields / "train.json").read_text()
    result = run_tool("fields", "--output", fields, "--train", 5, "--test", 5, cwd=ROOT)
    assert result.status == 2
    assert f"the folder {fields} is not empty; choose another" in result.stderr
    assert (fields / "train.json").read_text() == before


def test_a_canvas_too_small(tmp_path):
    result = run_tool("fields", "--output", tmp_path / "f", "--canvas", 20, cwd=ROOT)
    assert result.status == 2
    assert "--canvas takes at least 48 pixels, got 20" in result.stderr


def write_idx(path, array):
    head = np.array([0x0800 + array.ndim, *array.shape], ">i4").tobytes()
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(head + array.astype(np.uint8).tobytes())


def test_mnist(tmp_path):
    rng = np.random.default_rng(0)
    for name, count, ending in (("train", 6, ".gz"), ("t10k", 4, "")):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte{ending}", rng.integers(100, 256, [count, 28, 28]))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte{ending}", np.arange(count))
    data = mnist(tmp_path)
    assert (len(data.train), len(data.test)) == (6, 4)
    assert data.train.images[0].shape == (28, 28, 3)
    assert data.test.classes.tolist() == [0, 1, 2, 3]
    run = run_tool(
        "fields", "--output", tmp_path / "f", "--mnist", tmp_path, "--train", 3, "--test", 2, "--digits", 2, cwd=ROOT
    )
    assert run.status == 0, run.stderr
    assert len(json.loads((tmp_path / "f" / "train.json").read_text())["annotations"]) == 6
    damaged = tmp_path / "t10k-labels-idx1-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte is not a valid MNIST file"):
        mnist(tmp_path)
    damaged.unlink()
    with pytest.raises(UserError, match="there is no file .*t10k-labels-idx1-ubyte, nor t10k-labels-idx1-ubyte.gz"):
        mnist(tmp_path)
