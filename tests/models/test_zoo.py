"""The weights that come with the package are what their table says, and no others are taken for them."""

import json
import os
import pickle

import numpy as np
import pytest
from conftest import ROOT, run_tool
from experiments import zoo_table

import ppcoordconv as pcc
from ppcoordconv.commands import Parser
from ppcoordconv.commands import eval as eval_command
from ppcoordconv.config import load_config
from ppcoordconv.models import zoo
from ppcoordconv.tasks import build_task
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.files import with_section
from ppcoordconv.utils.weights import load_state

ROWS = zoo.rows()
# What makes the data that a row was measured on.
MADE_BY = {
    "yolo": ("fields", "--output", "output/fields"),
    "unet": ("position_data", "bands", "--output", "output/position/bands"),
    "solo_net": (
        *("fields", "--masks", "--copies", "--canvas", "128", "--digits", "8", "--train", "500", "--test", "100"),
        *("--output", "output/copied_digits"),
    ),
    "keypoint_net": ("position_data", "pairs", "--output", "output/position/pairs"),
}
# Of data that are made for it, a row is measured with one version of Paddle; yolo's take half a minute, twice.
MARKS = {**dict.fromkeys(MADE_BY, pytest.mark.any_paddle), "yolo": (pytest.mark.any_paddle, pytest.mark.slow)}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in ROWS])
def test_the_weights_measure_what_the_table_says(name, tmp_path, monkeypatch, capsys):
    row = ROWS[name]
    if name in MADE_BY:
        assert run_tool(*MADE_BY[name], cwd=tmp_path).status == 0
    monkeypatch.chdir(tmp_path)
    parser = Parser()
    eval_command.add_arguments(parser)
    assert eval_command.main(parser.parse_args(["-c", row["config"], "-w", str(zoo.weights_path(name))])) == 0
    metrics = json.loads(capsys.readouterr().out)
    # Detectors rank boxes whose scores are equal but for rounding.
    of_training = ("epoch", "train_loss")
    known = {key: pytest.approx(value, 1e-3, 1e-5) for key, value in row["last"].items() if key not in of_training}
    assert {key: metrics[key] for key in known} == known
    assert row["metric"] in metrics


@pytest.mark.parametrize("name", ROWS)
def test_pretrained_models_have_these_weights(name):
    network = pcc.models.create(name, pretrained=True)
    assert sum(p.size for p in network.parameters() if not p.stop_gradient) == ROWS[name]["parameters"]
    for key, value in load_state(zoo.weights_path(name)).items():
        np.testing.assert_array_equal(network.state_dict()[key].numpy(), value)
    assert pcc.models.create(name, pretrained=True, **ROWS[name]["options"])


@pytest.mark.parametrize("name", ROWS)
def test_the_options_are_those_of_the_config(name):
    config = load_config(ROOT / ROWS[name]["config"], [])
    assert config.model.name == name
    assert config.seed == ROWS[name]["seed"]
    assert {**ROWS[name]["options"], **config.model.options()} == ROWS[name]["options"]
    assert len(ROWS[name]["history"]) == ROWS[name]["epochs"]


def test_the_page_shows_the_table():
    page = (ROOT / "docs" / "model_zoo.md").read_text(encoding="utf-8")
    assert with_section(page, "Models", zoo_table()) == page


def test_every_file_has_a_row_and_all_are_small():
    files = list(zoo.weights_path("any").parent.iterdir())
    assert {path.stem for path in files} == set(ROWS)
    assert all(path.stat().st_size < 2_000_000 for path in files)
    assert sum(path.stat().st_size for path in files) < 7_000_000


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("coordinate_corner", {}, "there are no weights of the model 'coordinate_corner'; there are those of aistudio"),
        (
            "aistudio_conv",
            {"num_classes": 5},
            "the weights of .*'aistudio_conv' are for num_classes=10, got .*=5; leave",
        ),
        ("aistudio_coordconv", {"coords": "uber"}, "are for coords='paddle', got coords='uber'"),
        ("aistudio_coordconv", {"with_r": True}, "are for with_r=False, got with_r=True"),
        ("yolo", {"anchors": [[1, 2], [3, 4]]}, "are for anchors="),
        ("aistudio_conv", {"num_clases": 5}, "has no option 'num_clases': did you mean 'num_classes'"),
        ("aistudio_con", {}, "there is no model 'aistudio_con'"),
    ],
)
def test_weights_for_something_else(name, options, words):
    with pytest.raises(UserError, match=words):
        pcc.models.create(name, pretrained=True, **options)


def test_pretrained_is_true_or_false():
    with pytest.raises(UserError, match="pretrained takes True or False, got 'yes'"):
        pcc.models.create("aistudio_conv", pretrained="yes")


def test_loading_runs_no_code_of_the_file(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "done"),)

    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({"conv1.weight": Evil()}))
    monkeypatch.setattr(zoo, "weights_path", lambda name: tmp_path / "a.pdparams")
    with pytest.raises(UserError, match="is not a valid weights file"):
        pcc.models.create("aistudio_conv", pretrained=True)
    assert not (tmp_path / "done").exists()


def test_a_config_begins_from_them():
    task = build_task(load_config(ROOT / "configs" / "digits" / "coordconv.yml", ["model.pretrained=true"]))
    weights = load_state(zoo.weights_path("aistudio_coordconv"))
    np.testing.assert_array_equal(task.network.linear2.weight.numpy(), weights["linear2.weight"])
