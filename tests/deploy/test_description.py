"""``inference.yml``: JSON that YAML readers take too, and what of it serving would stumble over."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.description import read_description, write_description
from ppcoordconv.deploy.infer import infer
from ppcoordconv.utils.errors import UserError

pytestmark = pytest.mark.any_paddle

TRAINED = Path(__file__).resolve().parents[2] / "docs" / "trained" / "regression"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(TRAINED, tmp_path / "model"))


def test_as_yaml_it_is_the_same(folder):
    description = read_description(folder)
    description["labels"] = ["plain", "日本", 'a "quoted" one: 1e-05', "- \\ {}", "5e-07"]
    description["checked"]["relative_error"] = {"a": 1e-05, "b": -3e-7, "c": 1e22, "d": 4.25e-07, "e": 0.5, "f": "no"}
    write_description(folder, description)
    assert read_description(folder) == description
    assert yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8")) == description


def test_the_yaml_of_earlier_versions_is_read_where_pyyaml_is(folder, monkeypatch):
    description = read_description(folder)
    (folder / "inference.yml").write_text(yaml.safe_dump(description, sort_keys=False))
    assert read_description(folder) == description
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "ppcoordconv.utils.yaml_files", raising=False)
    with pytest.raises(UserError, match="is YAML, and PyYAML is not installed: export again, .*pip install PyYAML"):
        read_description(folder)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("model_file", "../inference.pdmodel", "model_file is '../inference.pdmodel'"),
        ("model_file", ["inference.json"], "model_file is"),
        ("files", ["inference.json"], "files is"),
        ("files", {"inference.json": 5}, "files is"),
        ("input_shape", [1, "64"], "input_shape is"),
        ("input_shape", [1, True], "input_shape is"),
        ("input_shape", None, "input_shape is None"),
        ("input_shape", [], "input_shape is []"),
        ("input_shape", [1, 0, 64], "input_shape is"),
        ("input_shape", [1, -1, 64], "input_shape is"),
        ("input_shape", [10**30], "input_shape is"),
        ("files", {}, "files names [], and inference."),
        ("files", {"inference.pdiparams": "0"}, "files names ['inference.pdiparams'], and inference."),
        ("files", {"/etc/passwd": "0"}, "files names ['/etc/passwd']"),
        ("files", {"../a": "0", "inference.json": "0", "inference.pdiparams": "0"}, "files names ['../a'"),
        ("model_file", "inference.onnx", "and inference.onnx needs ['inference.onnx']"),
        ("precision", "int4", "precision is 'int4'"),
        ("served_form", 5, "served_form is 5"),
        ("preprocess", [], "preprocess is"),
        ("labels", [0, 1], "labels is"),
        ("score_threshold", 1.01, "score_threshold is 1.01"),
        ("score_threshold", -1, "score_threshold is -1"),
        ("score_threshold", True, "score_threshold is True"),
        ("score_threshold", "0.3", "score_threshold is '0.3'"),
        ("labels", ["a" * 1001], "labels is"),
        ("labels", ["a"] * 100_001, "labels is"),
        ("checked", {"paddle": "3.2.2", "onednn": True}, "checked.bf16 is None"),
        ("checked", {"paddle": 3, "onednn": True, "bf16": True}, "checked.paddle is 3"),
    ],
)
def test_a_wrong_value_is_named(folder, key, value, words):
    description = {**json.loads((folder / "inference.yml").read_text(encoding="utf-8")), key: value}
    write_description(folder, description)
    with pytest.raises(UserError, match="inference.yml is damaged, export again: ") as caught:
        read_description(folder)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "5", "null", "{", "{}"])
def test_what_is_no_description(folder, text):
    (folder / "inference.yml").write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        read_description(folder)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("preprocess", {}, "preprocess.kind takes one of image, letterbox, points, got None"),
        ("preprocess", {"kind": "sound"}, "preprocess.kind takes one of"),
        ("preprocess", {"kind": "image"}, "preprocess has other settings than its kind takes: .*image_size"),
        ("preprocess", {"kind": "image", "image_size": [64, 64], "crop": 3}, "preprocess has other settings"),
        ("preprocess", {"kind": "image", "image_size": [64, 0]}, "preprocess.image_size takes a height"),
        (
            "preprocess",
            {"kind": "image", "image_size": [64, 10**9]},
            "preprocess.image_size takes a height",
        ),
        ("preprocess", {"kind": "image", "image_size": 64}, "preprocess.image_size takes a height"),
        ("preprocess", {"kind": "image", "image_size": [64, 64], "mean": [0.5, 0.5]}, "preprocess.mean takes three"),
        ("preprocess", {"kind": "image", "image_size": [64, 64], "mean": ["a"] * 3}, "preprocess.mean takes a number"),
        ("preprocess", {"kind": "image", "image_size": [64, 64], "std": [0, 1, 1]}, "preprocess.std takes a number"),
        ("preprocess", {"kind": "image", "image_size": [64, 64], "std": [0.5]}, "preprocess.std takes three numbers"),
        (
            "preprocess",
            {"kind": "points", "size": 1, "normalised": True},
            "preprocess.size takes a whole number",
        ),
        (
            "preprocess",
            {"kind": "points", "size": 64, "normalised": "yes"},
            "preprocess.normalised takes true",
        ),
        ("preprocess", {"kind": "image", "image_size": [2**13, 2**13]}, "of at most 16777216 pixels, got"),
        (
            "preprocess",
            {"kind": "image", "image_size": [64, 65]},
            "inputs of shape .*64, 65], and the model takes",
        ),
        ("served_form", "telepathy", "there is no served form 'telepathy'"),
        ("served_form", "classification", "the model gives 2 classes, and inference.yml has 0 labels"),
        ("served_form", "detection", r"'detection' takes outputs of \['N', None, 6\], and the model gives \[1, 2\]"),
        ("served_form", "coordinate_rendering", "takes outputs of .*4096.*, and the model gives"),
    ],
)
def test_what_infer_would_stumble_over_is_a_sentence(folder, key, value, words):
    description = {**json.loads((folder / "inference.yml").read_text(encoding="utf-8")), key: value}
    write_description(folder, description)
    with pytest.raises(UserError, match=words):
        list(infer(Predictor(str(folder)), [TRAINED.parent / "pixel_40_17.png"]))


@pytest.mark.parametrize("kind", ["pipe", "deep", "aliases"])
def test_a_description_that_is_none(folder, kind):
    path = folder / "inference.yml"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("[" * 100_000 if kind == "deep" else "a: &a [*a]")
    with pytest.raises(UserError, match="not a file|is damaged"):
        read_description(folder)


def test_labels_that_no_file_can_hold(folder):
    text = (folder / "inference.yml").read_text(encoding="utf-8")
    (folder / "inference.yml").write_text(text.replace('"labels": []', '"labels": ["\\ud800"]'))
    with pytest.raises(UserError, match="inference.yml is damaged, export again: labels is"):
        read_description(folder)


def test_another_input_shape_than_the_models_is_a_sentence(tmp_path):
    folder = Path(shutil.copytree(TRAINED.parents[2] / "demo" / "models" / "detector", tmp_path / "model"))
    description = json.loads((folder / "inference.yml").read_text(encoding="utf-8"))
    description["input_shape"] = [5, *description["input_shape"][1:]]
    write_description(folder, description)
    with pytest.raises(UserError, match=r"the model can't compute a batch of shape \[2, 5, .*channels") as caught:
        Predictor(str(folder))(np.zeros([2, 5, 64, 64], np.float32))
    assert len(str(caught.value).splitlines()) == 1
