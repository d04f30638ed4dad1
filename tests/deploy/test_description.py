"""``inference.yml``: JSON that YAML readers take too, and what of it serving would stumble over."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from ppcoordconv.deploy.description import read_description, write_description
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
        ("precision", "int8", "precision is 'int8'"),
        ("served_form", 5, "served_form is 5"),
        ("preprocess", [], "preprocess is"),
        ("labels", [0, 1], "labels is"),
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
