"""The command check names every problem of a data set at once, and tells and draws what is in it."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import ROOT, run_tool
from labelled import EXPORTS, HEIGHT, WIDTH, scene
from PIL import Image

from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.problems import by_kind, collect_problems, entry

BOXES = ROOT / "configs" / "detection" / "custom.yml"
PICTURES = ROOT / "configs" / "digits" / "coordconv.yml"


def check(folder, config, *overrides):
    done = run_tool("check", "-c", config, "--output", folder / "checked", "-o", *overrides, cwd=folder)
    return done, json.loads(done.stdout) if done.stdout else None


@pytest.fixture
def boxes(tmp_path):
    EXPORTS["cvat"](tmp_path / "own", scene(12))
    names = ["annotations/instances_default.json", "images/default"]
    overrides = [f"data.path={tmp_path / 'own'}", f"data.train_annotations={names[0]}", f"data.train_images={names[1]}"]
    return tmp_path, overrides, tmp_path / "own" / names[0], tmp_path / "own" / names[1]


def test_right_boxes(boxes):
    folder, overrides, *_ = boxes
    done, found = check(folder, BOXES, *overrides)
    assert done.status == 0, done.stderr
    assert found["problems"] == 0
    train, test = found["statistics"]["train"], found["statistics"]["test"]
    assert train["pictures"] + test["pictures"] == 12
    assert train["width"] == {"min": WIDTH, "median": WIDTH, "max": WIDTH}
    assert train["height"]["max"] == HEIGHT
    drawn = scene(12)
    for label in ("cat", "dog"):
        assert train["classes"][label] + test["classes"][label] == sum(
            name == label for picture in drawn for name, _ in picture.boxes
        )
    assert sum(train["boxes_by_area"].values()) == train["boxes"] == 2 * train["pictures"]
    assert json.loads((folder / "checked" / "check.json").read_text()) == found
    with Image.open(folder / "checked" / "samples.png") as sheet:
        assert sheet.width > 6 * 256
    assert "no problem was found" in done.stderr


def test_every_wrong_box_and_picture_is_named(boxes):
    folder, overrides, file, images = boxes
    tree = json.loads(file.read_text())
    first, second, third, fourth, *_ = tree["annotations"]
    first["bbox"] = [1, 2, -3, 4]
    second["bbox"] = [1, 2, -3, 5]
    third["category_id"] = 9
    fourth["bbox"] = [WIDTH, 2, 3, 4]
    tree["images"].append({"id": 99, "file_name": "gone.png", "width": 3, "height": 3})
    file.write_text(json.dumps(tree))
    (images / "005.png").write_text("no picture")
    (images / "007.png").write_bytes((images / "006.png").read_bytes()[:20])
    done, found = check(folder, BOXES, *overrides)
    assert done.status == 1
    assert found["problems"] == 7
    said = [message for kind in found["kinds"] for message in kind["first"]]
    for words in (
        "annotation 1: bbox is left, top, width and height",
        "annotation 2: bbox is left, top, width and height",
        "annotation 3: there is no category of category_id 9",
        "annotation 4: the bbox from 64, 2",
        "image 99: there is no file",
        "005.png is not a readable picture",
        "007.png is not a readable picture",
    ):
        assert sum(words in message for message in said) == 1, (words, said)
    assert [kind["count"] for kind in found["kinds"]][0] == 2
    assert f"{found['problems']} problems of {len(found['kinds'])} kinds" in done.stderr


@pytest.mark.parametrize(
    ("export", "config", "broken"),
    [
        ("voc", "voc", [("Annotations/001.xml", "xmin", "xmn"), ("Annotations/002.xml", "name>", "nam>")]),
        ("yolo", "yolo", [("train/labels/001.txt", "0.", "9."), ("train/labels/002.txt", "0.", "x.")]),
        ("labelme", "labelme", [("001.json", "cat", ""), ("001.json", "dog", ""), ("002.json", "shapes", "shaps")]),
    ],
)
def test_each_format_goes_on_after_a_wrong_entry(tmp_path, export, config, broken):
    EXPORTS[export](tmp_path, scene())
    for file, old, new in broken:
        path = tmp_path / file
        path.write_text(path.read_text().replace(old, new))
    done, found = check(tmp_path, BOXES, f"data={{name: {config}, path: {tmp_path}}}")
    assert done.status == 1, done.stderr
    said = " ".join(message for kind in found["kinds"] for message in kind["first"])
    assert all(file.rpartition("/")[2] in said for file, *_ in broken)
    assert found["statistics"]["train"]["boxes"] < 16


def test_pictures_of_classes(tmp_path):
    rng = np.random.default_rng(0)
    for label, count in (("many", 40), ("few", 5)):
        (tmp_path / "own" / label).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 255, [20, 60, 3], np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / label / f"{number}.png")
    done, found = check(tmp_path, PICTURES, "data.name=image_folder", f"data.path={tmp_path / 'own'}")
    assert done.status == 0, done.stderr
    assert found["statistics"]["train"]["classes"] == {"few": 4, "many": 32}
    assert any("task.image_size=[32, 32] changes their shape" in words for words in found["suggestions"])
    assert any("task.class_weights=balanced" in words for words in found["suggestions"])
    assert not any("the same" in words for words in found["suggestions"])
    for number in range(40):
        shutil.copy(tmp_path / "own" / "few" / "0.png", tmp_path / "own" / "many" / f"{number}.png")
    done, found = check(tmp_path, PICTURES, "data.name=image_folder", f"data.path={tmp_path / 'own'}")
    (same,) = (words for words in found["suggestions"] if "the same" in words)
    assert re.search("the same as others: 40, of which 1 are trained on and held out; the first: .*png and .*png", same)
    for number in range(3):
        (tmp_path / "own" / "many" / f"{number}.png").write_bytes(b"x")
    done, found = check(tmp_path, PICTURES, "data.name=image_folder", f"data.path={tmp_path / 'own'}")
    assert (done.status, found["problems"]) == (1, 3)


@pytest.mark.parametrize(
    ("config", "overrides", "words"),
    [
        (PICTURES, ["data.name=image_folder", "data.path=nowhere"], "there is no folder nowhere"),
        (PICTURES, ["data.nam=x"], "has no option 'nam'"),
        (ROOT / "configs" / "not_so_clevr" / "rendering_coordconv_uniform.yml", ["epochs=1"], "has no data to check"),
    ],
)
def test_mistakes(tmp_path, config, overrides, words):
    done, found = check(tmp_path, config, *overrides)
    assert (done.status, found) == (2, None)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_problems_are_collected_in_their_context_alone():
    with pytest.raises(UserError), entry():
        raise UserError("first")
    with collect_problems() as problems:
        for number in range(3):
            with entry():
                raise UserError(f"a/b{number}.png: line {number}: takes 4 numbers, got {number}")
        with entry():
            raise UserError("something else")
    assert len(problems) == 4
    assert [kind["count"] for kind in by_kind(problems, limit=1)] == [3, 1]
    with pytest.raises(UserError), entry():
        raise UserError("last")
