"""Each labelling tool's export gives the boxes that were drawn, and what is wrong in one is named."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, commands_of, run_tool
from labelled import EXPORTS, HEIGHT, LABELS, WIDTH, scene
from PIL import ExifTags, Image

from ppcoordconv.data import DATASETS
from ppcoordconv.utils.errors import UserError

# By the export: the data set that reads it, and its options.
READ_BY = {
    "label_studio": ("coco", {"train_annotations": "result.json", "train_images": "images"}),
    "cvat": (
        "coco",
        {"train_annotations": "annotations/instances_default.json", "train_images": "images/default"},
    ),
    "roboflow": (
        "coco",
        {
            "train_annotations": "train/_annotations.coco.json",
            "test_annotations": "valid/_annotations.coco.json",
            "test_images": "valid",
        },
    ),
    "voc": ("voc", {}),
    "labelimg": ("voc", {}),
    "yolo": ("yolo", {}),
    "yolo_of_label_studio": ("yolo", {}),
    "labelme": ("labelme", {}),
    "via": ("via", {"train_annotations": "via_project.json", "train_images": "images"}),
}


def read(folder, export, **options):
    name, usual = READ_BY[export]
    return DATASETS.build(name, path=str(folder), **{**usual, **options})


@pytest.fixture
def exported(tmp_path):
    def export(name):
        EXPORTS[name](tmp_path, scene())
        return tmp_path

    return export


@pytest.mark.parametrize("export", EXPORTS)
def test_the_boxes_are_those_that_were_drawn(exported, export):
    data = read(exported(export), export)
    drawn = {picture.name: picture for picture in scene()}
    split = {"roboflow": (6, 2), "voc": (8, 2), "yolo": (8, 2)}
    assert (len(data.train), len(data.test)) == split.get(export, (8, 2))
    assert [label for label in data.labels if label != "animals"] == LABELS
    for image in [*data.train, *data.test]:
        picture = drawn[image.image.name[-7:]]
        assert image.size == (HEIGHT, WIDTH)
        assert (image.pixels() == picture.pixels).all()
        assert [data.labels[n] for n in image.classes] == [label for label, _ in picture.boxes]
        np.testing.assert_allclose(image.boxes, [box for _, box in picture.boxes], atol=1e-3)
        assert not image.crowd.any()


def test_a_set_without_parts_is_split_by_seed_and_by_picture(exported, capsys):
    folder = exported("cvat")
    names = [sorted(image.image.name for image in read(folder, "cvat", split_seed=seed).test) for seed in (0, 0, 1, 2)]
    assert names[0] == names[1]
    assert len({tuple(found) for found in names}) > 1
    assert "2 of 10 pictures are held out as the test set, drawn by split_seed=0" in capsys.readouterr().err
    # A picture that is listed twice, with other boxes, is on one side; and it is said.
    file = folder / "annotations" / "instances_default.json"
    tree = json.loads(file.read_text())
    tree["images"] += [{**image, "id": image["id"] + 100} for image in tree["images"]]
    file.write_text(json.dumps(tree))
    data = read(folder, "cvat")
    sides = [{image.image for image in images} for images in (data.train, data.test)]
    assert [len(data.train), len(data.test)] == [16, 4]
    assert not sides[0] & sides[1]
    assert "pictures that are listed twice: 10 of 20, " in capsys.readouterr().err
    with pytest.raises(UserError, match="^split_seed takes a whole number from 0"):
        read(folder, "cvat", split_seed=-1)


@pytest.mark.parametrize("export", ["labelme", "voc"])
def test_what_a_mac_puts_beside_files_is_passed_over(exported, export):
    folder = exported(export)
    count = len(read(folder, export).train)
    (folder / "__MACOSX").mkdir()
    for name in ("__MACOSX/._001", "._001"):
        for ending in (".json", ".xml"):
            (folder / f"{name}{ending}").write_bytes(b"\x00\x05\x16\x07")
    assert len(read(folder, export).train) == count


def test_one_picture_cannot_be_split(tmp_path):
    EXPORTS["labelme"](tmp_path, scene(1))
    with pytest.raises(UserError, match="at least 2 pictures are needed, to train and to test, and it has 1"):
        _ = read(tmp_path, "labelme").train


def test_the_same_file_to_train_and_test_is_said(exported, capsys):
    folder = exported("label_studio")
    data = read(folder, "label_studio", test_annotations="result.json", test_images="images")
    assert len(data.train) == len(data.test) == 10
    assert "result.json is the training and the test set" in capsys.readouterr().err
    shutil.copy(folder / "result.json", folder / "other.json")
    data = read(folder, "label_studio", test_annotations="other.json", test_images="images")
    assert len(data.train) == len(data.test) == 10
    assert "10 of 10 pictures of the test set are in the training set, too, the first" in capsys.readouterr().err


def test_what_is_odd_is_said_once_with_counts(exported, capsys):
    folder = exported("roboflow")
    file = folder / "valid" / "_annotations.coco.json"
    tree = json.loads(file.read_text())
    file.write_text(json.dumps({**tree, "annotations": []}))
    train = folder / "train" / "_annotations.coco.json"
    tree = json.loads(train.read_text())
    first = tree["annotations"][0]
    tree["annotations"] += [{**first, "id": 98}, {**first, "id": 99, "bbox": [1, 1, 0, 9]}]
    train.write_text(json.dumps(tree))
    data = read(folder, "roboflow")
    for _ in range(2):
        assert len(data.train) + len(data.test) == 8
    lines = capsys.readouterr().err.splitlines()
    for words in (
        f"{train}: 1 boxes without width or height are left out, the first of annotation 99",
        f"{train}: categories without a box: 1 of 3, 'animals'",
        f"{train}: boxes that are there twice: 1 of 14, annotation 98",
        f"{file}: categories without a box: 3 of 3, 'animals', 'cat', 'dog'",
        f"{file}: pictures without a box: 2 of 2, {folder}/valid/006.png, {folder}/valid/007.png",
        "the test set has no box: nothing can be measured on it",
    ):
        assert lines.count(words) == 1, words
    assert len(lines) == 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("is_shown", [True, False])
def test_boxes_of_a_photo_as_it_is_shown_or_as_it_is_stored(tmp_path, orientation, is_shown):
    """By the size in the annotations; where that is the same either way, they are of what is shown."""
    EXPORTS["cvat"](tmp_path, scene(2))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = scene(1)[0].pixels
    file = tmp_path / "images" / "default" / "000.png"
    Image.fromarray(stored).save(file, exif=exif)
    is_turned = orientation > 4
    json_file = tmp_path / "annotations" / "instances_default.json"
    tree = json.loads(json_file.read_text())
    if is_turned and is_shown:
        tree["images"][0].update(width=HEIGHT, height=WIDTH)
        tree["annotations"] = [a for a in tree["annotations"] if a["image_id"] == 2]
    json_file.write_text(json.dumps(tree))
    data = read(tmp_path, "cvat")
    (image,) = [image for image in [*data.train, *data.test] if image.image == file]
    turns = {1: 0, 3: 2, 6: 3, 8: 1, 2: 0, 4: 2, 5: 1, 7: 3}[orientation]
    upright = np.rot90(stored, turns)
    upright = upright[:, ::-1] if orientation in (2, 4) else upright[::-1] if orientation in (5, 7) else upright
    assert (image.pixels() == (stored if is_turned and not is_shown else upright)).all()


def test_yolo_means_the_picture_as_it_is_shown(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name, options in (("a.jpg", {"exif": exif, "quality": 95}), ("b.png", {"exif": exif})):
        Image.new("RGB", (40, 20)).save(tmp_path / name, **options)
        (tmp_path / name).with_suffix(".txt").write_text("0 0.5 0.25 1 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    data = DATASETS.build("yolo", path=str(tmp_path))
    for image in [*data.train, *data.test]:
        assert image.size == image.pixels().shape[:2] == (40, 20)
        assert image.boxes.tolist() == [[0, 0, 20, 20]]


def yolo_line(line):
    return ("yolo", "valid/labels/008.txt", lambda text: text + line)


def swapped(export, file, old, new):
    return (export, file, lambda text: text.replace(old, new))


def without_names(text):
    return text.replace("names", "nams")


WRONG = {
    "a class that is not there": (yolo_line("2 0.5 0.5 0.1 0.1"), "008.txt: line 3: there is no class '2'; .* 0 to 1"),
    "a class that is text": (yolo_line("cat 0.5 0.5 0.1 0.1"), "008.txt: line 3: there is no class 'cat'"),
    "pixels": (yolo_line("1 20 20 8 8"), "008.txt: line 3 takes parts of the picture's width and height"),
    "a number too few": (yolo_line("1 0.5 0.5 0.1"), "008.txt: line 3 takes class, x, y, width and height, or"),
    "a score": (yolo_line("1 0.5 0.5 0.1 0.1 0.9"), "008.txt: line 3 takes class, x, y, width and height, or"),
    "not a number": (yolo_line("1 nan 0.5 0.1 0.1"), "008.txt: line 3 takes parts of the picture's"),
    "no names": (("yolo", "data.yaml", without_names), "names of data.yaml takes the names of the classes"),
    "no YAML": (("yolo", "data.yaml", lambda text: "a: [" + text), "data.yaml is not valid YAML"),
    "no such part": (swapped("yolo", "data.yaml", "valid/", "vlid/"), "val of data.yaml names '../vlid/images', which"),
    "xmax before xmin": (
        ("voc", "Annotations/001.xml", lambda text: text.replace("<xmax>", "<xmax>-")),
        "001.xml: object 1: bndbox takes xmin <= xmax",
    ),
    "no xmin": (
        swapped("voc", "Annotations/001.xml", "xmin", "xmn"),
        "001.xml: object 1: xmin of bndbox takes a number",
    ),
    "infinite": (
        swapped("voc", "Annotations/001.xml", "<xmax>", "<xmax>1e"),
        "object 1: xmax of bndbox takes a number",
    ),
    "no name": (swapped("voc", "Annotations/001.xml", "name>", "nam>"), "001.xml: object 1: name takes a text of 1 to"),
    "half of a file": (("voc", "Annotations/001.xml", lambda text: text[:200]), "001.xml is not valid XML"),
    "another root": (swapped("voc", "Annotations/001.xml", "annotation>", "a>"), "001.xml takes VOC's <annotation>"),
    "a document type": (
        ("voc", "Annotations/001.xml", lambda text: '<!DOCTYPE a [<!ENTITY b "bb">]>' + text),
        "001.xml declares a document type, 'a', which is not taken",
    ),
    "an XML file that is not there": (
        ("voc", "ImageSets/Main/train.txt", lambda text: text + "x\n"),
        "there is no file .*x.xml",
    ),
    "outside": (
        ("labelme", "001.json", lambda text: change_json(text, "shapes", 0, "points", [[64, 0], [70, 9]])),
        "001.json: shape 0: the bbox from 64, 0 to 70, 9 lies outside its image of 64x48 pixels",
    ),
    "one point": (
        ("labelme", "001.json", lambda text: change_json(text, "shapes", 0, "points", [[64, 0]])),
        "001.json: shape 0: points takes at least two",
    ),
    "no label": (
        ("labelme", "001.json", lambda text: change_json(text, "shapes", 0, "label", None)),
        "001.json: shape 0: label takes a text",
    ),
    "no shapes": (swapped("labelme", "001.json", "shapes", "shaps"), "001.json takes LabelMe's object with shapes"),
    "no picture": (swapped("labelme", "001.json", "001.png", "x.png"), "001.json: there is no file .*x.png"),
    "no regions": (swapped("via", "via_project.json", "regions", "rgions"), "'000.png.*' takes VIA's object"),
    "no width": (swapped("via", "via_project.json", '"width"', '"w"'), "region 0: a rect takes x, y, width, height in"),
    "no region attributes": (
        swapped("via", "via_project.json", "region_attributes", "attributes"),
        "region 0 takes shape_attributes and region_attributes",
    ),
    "no class": (swapped("via", "via_project.json", '"dog"', '""'), "the attribute 'type' takes one text of 1 to"),
}


def change_json(text, *path_and_value):
    *path, last, value = path_and_value
    part = tree = json.loads(text)
    for key in path:
        part = part[key]
    part[last] = value
    return json.dumps(tree)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_entries_are_named(exported, name):
    (export, file, change), words = WRONG[name]
    folder = exported(export)
    (folder / file).write_text(change((folder / file).read_text()))
    with pytest.raises(UserError, match=words) as raised:
        data = read(folder, export)
        _ = data.train, data.test
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("export", "options", "words"),
    [
        ("voc", {"path": "nowhere"}, "^path takes the folder of the data set's files, got 'nowhere', which is none"),
        (
            "labelme",
            {"test_split": "later"},
            "^test_split takes the name of a part of the data set; there is none .*'later'",
        ),
        ("voc", {"train_split": 5}, "^train_split takes the name of a part of the data set"),
        ("via", {"path": ""}, "^path takes the folder"),
        ("yolo", {"on_error": "ignore"}, "^on_error takes one of stop, skip"),
    ],
)
def test_wrong_options(exported, export, options, words):
    folder = exported(export)
    with pytest.raises(UserError, match=words):
        DATASETS.build(READ_BY[export][0], **{"path": str(folder), **READ_BY[export][1], **options})


def test_shapes_give_the_box_around_them(tmp_path, capsys):
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "b.png")
    shapes = [
        {"label": "cat", "shape_type": "polygon", "points": [[5, 6], [20, 3.5], [11, 30]]},
        {"label": "cat", "shape_type": "circle", "points": [[30, 20], [33, 24]]},
        {"label": "cat", "shape_type": "rectangle", "points": [[40, 30], [20, 10]]},
        {"label": "cat", "shape_type": "point", "points": [[4, 3]]},
    ]
    for name in "ab":  # as older versions write it, without the size
        tree = {"shapes": shapes, "imagePath": rf"..\pictures\{name}.png", "imageHeight": None}
        (tmp_path / f"{name}.json").write_text(json.dumps(tree), encoding="utf-8-sig")
    image = DATASETS.build("labelme", path=str(tmp_path)).train[0]
    assert image.boxes.tolist() == [[5, 3.5, 20, 30], [25, 15, 35, 25], [20, 10, 40, 30]]
    assert "2 shapes without inside are left out, the first a point, " in capsys.readouterr().err
    around = {
        "polygon": {"all_points_x": [5, 20, 11], "all_points_y": [6, 3.5, 30]},
        "circle": {"cx": 30, "cy": 20, "r": 5},
        "ellipse": {"cx": 30, "cy": 20, "rx": 8, "ry": 3, "theta": math.pi / 2},
        "point": {"cx": 3, "cy": 3},
    }
    regions = {  # VIA 1 has an object in the place of a list, and no attributes here
        str(n): {"shape_attributes": {"name": name, **shape}, "region_attributes": {}}
        for n, (name, shape) in enumerate(around.items())
    }
    tree = {f"{name}.png77": {"filename": f"{name}.png", "regions": regions} for name in "ab"}
    (tmp_path / "via.txt").write_text(json.dumps(tree))
    data = DATASETS.build("via", path=str(tmp_path), train_annotations="via.txt", train_images="")
    np.testing.assert_allclose(data.train[0].boxes, [[5, 3.5, 20, 30], [25, 15, 35, 25], [27, 12, 33, 28]])
    assert data.labels == ["object"]
    assert "2 shapes without inside are left out, the first of 'a.png77', region 3" in capsys.readouterr().err


def test_the_attribute_of_via_that_says_the_class(exported):
    folder = exported("via")
    text = (folder / "via_project.json").read_text()
    several = text.replace('"type": ', '"colour": "", "type": ').replace(
        '"type": "cat"', '"type": {"cat": true, "dog": false}'
    )
    (folder / "via_project.json").write_text(several)
    with pytest.raises(UserError, match="^attribute takes the one that says the class; .* has colour, type"):
        _ = read(folder, "via").train
    assert read(folder, "via", attribute="type").labels == LABELS


def test_yolo_in_the_other_places(exported, tmp_path):
    """A list of pictures with paths of another machine, names by number, polygons, a missing text file."""
    folder = exported("yolo_of_label_studio")
    (folder / "classes.txt").unlink()
    listed = [f"data/images/{picture.name}\n" for picture in scene()]
    (folder / "train.txt").write_text("".join(listed[:8]))
    (folder / "later.txt").write_text("".join(listed[8:]))
    (folder / "mine.yaml").write_text(
        "path: /nowhere\ntrain: [train.txt]\ntest: later.txt\nval:\nnames:\n  1: dog\n  0: no\n", encoding="utf-8-sig"
    )
    (folder / "labels" / "000.txt").unlink()
    (folder / "labels" / "001.txt").write_text("1 0.25 0.5 0.5 0.25 0.75 1.0\n\n")
    data = DATASETS.build("yolo", path=str(folder / "mine.yaml"))
    assert data.labels == ["no", "dog"]
    assert (len(data.train), len(data.test)) == (8, 2)
    assert data.train[0].boxes.shape == (0, 4)
    np.testing.assert_allclose(data.train[1].boxes, [[16, 12, 48, 48]])
    shutil.rmtree(folder / "labels")
    with pytest.raises(UserError, match="there is no text file of boxes for any picture in .*, as .*labels/000.txt"):
        _ = DATASETS.build("yolo", path=str(folder / "mine.yaml")).train


def test_text_files_of_yolo_without_a_picture_are_said(exported, capsys):
    folder = exported("yolo_of_label_studio")
    for number in (0, 3):
        (folder / "images" / f"{number:03}.png").rename(folder / "images" / f"{number:03}_new.png")
    (folder / "labels" / "classes.txt").write_text("cat\ndog\n")
    assert len(read(folder, "yolo_of_label_studio").train) == 8
    said = f"{folder}: text files of boxes without a picture: 2 of 10, {folder}/labels/000.txt, {folder}/labels/003.txt"
    assert said in capsys.readouterr().err


def test_the_points_of_a_pose_are_not_a_polygon(exported):
    """A box, and four points after it, as YOLO's pose has them; without kpt_shape they would be one of six points."""
    folder = exported("yolo")
    (folder / "train/labels/000.txt").write_text("1 0.5 0.5 0.25 0.5 0.4 0.3 0.6 0.3 0.4 0.6 0.6 0.6\n")
    (folder / "data.yaml").write_text((folder / "data.yaml").read_text() + "kpt_shape: [4, 2]\n")
    np.testing.assert_allclose(read(folder, "yolo").train[0].boxes, [[24, 12, 40, 36]])


def test_a_line_of_classes_that_is_empty_moves_no_other(exported):
    folder = exported("yolo_of_label_studio")
    (folder / "classes.txt").write_text("cat\ndog\n\n \n")
    assert read(folder, "yolo_of_label_studio").labels == LABELS
    (folder / "classes.txt").write_text("\ncat\ndog\n")
    with pytest.raises(UserError, match=r"classes.txt takes the names of the classes, .*, got \['', 'cat', 'dog'\]"):
        _ = read(folder, "yolo_of_label_studio").train


def test_voc_with_what_other_tools_write(exported, capsys):
    """Label Studio's pictures in images/ and names without an ending, sizes of 0, what is difficult, edges over it."""
    folder = exported("labelimg")
    (folder / "images").mkdir()
    for picture in folder.glob("*.png"):
        picture.rename(folder / "images" / f"{picture.stem}.PNG")
    for file in folder.glob("*.xml"):
        text = file.read_text().replace(".png</filename>", "</filename>").replace(f"<width>{WIDTH}", "<width>0")
        file.write_text(text)
    first = folder / "000.xml"
    first.write_text(first.read_text().replace("<difficult>0", "<difficult>1").replace("<xmax>", "<xmax>9"))
    data = DATASETS.build("voc", path=str(folder))
    (image,) = [image for image in [*data.train, *data.test] if image.image.name == "000.PNG"]
    assert image.size == (HEIGHT, WIDTH)
    assert image.crowd.all()
    assert (image.boxes[:, 2] == WIDTH).all()


def test_pictures_of_no_known_size_that_cannot_be_read(exported, capsys):
    folder = exported("yolo_of_label_studio")
    (folder / "images" / "003.png").write_text("no picture")
    with pytest.raises(UserError, match="003.png is not a readable picture"):
        _ = DATASETS.build("yolo", path=str(folder)).train
    data = DATASETS.build("yolo", path=str(folder), on_error="skip")
    assert len(data.train) + len(data.test) == 9
    assert capsys.readouterr().err.count("1 of 10 pictures can't be read and are left out") == 1


SHORT = ["epochs=1", "max_steps=1", "batch_size=2", "task.image_size=[32, 32]"]


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path):
    """Each export trains, in one step, and the last one is served."""
    for name, export in EXPORTS.items():
        (tmp_path / name).mkdir()
        export(tmp_path / name, scene())
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    trained = set()
    for script, *words in commands_of("own_boxes.md"):
        is_training = script == "tools/train.py"
        trained |= {name for name in EXPORTS if is_training and re.search(rf"\b{name}\b", " ".join(words[3:]))}
        done = run_tool(Path(script).stem, *words, *(SHORT if is_training else []), cwd=tmp_path)
        assert done.status == 0, (words, done.stderr)
    assert trained == {*EXPORTS}
    assert len(list((tmp_path / "output" / "found").glob("*.png"))) == 2
