"""The tables come from the runs' records, and from nothing else."""

import json

import numpy as np
import pytest
import yaml
from conftest import ROOT
from experiments import (
    EXPERIMENTS,
    TABLES,
    Experiment,
    Table,
    cost_table,
    detection_table,
    headline_table,
    page,
    read_records,
    record_of,
    table_of,
)

from ppcoordconv.config import load_config
from ppcoordconv.training.checkpoints import save_state
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.files import with_section

ROWS = [Experiment("a", 2, "CoordConv"), Experiment("b", 1, "convolution"), Experiment("c", 1, "not run")]

NAMES = [*TABLES, "Cost", "Detection"]


def record(test, train=1.0, **others):
    exported = {"test": {"accuracy": test}, "train": {"accuracy": train}}
    versions = {"paddle": "3.2.2", "numpy": "2.0", "python": "3.11", "device": "cpu", "git": "0123456789"}
    made = {"seconds": 90.0, "epochs": 30, "parameters": 7553, "made_with": versions}
    return {"exported": exported, "history": [{"accuracy": test, "seconds": 3.0}], **made, **others}


def test_a_table():
    records = {"a": {"0": record(1.0), "1": record(0.9, train=0.98, seconds=30.0)}, "b": {"0": record(0.25)}}
    lines = table_of(Table("accuracy", ROWS), records).splitlines()
    assert len(lines) == 6
    assert lines[5] == "Made with Paddle 3.2.2, numpy 2.0, Python 3.11, cpu, commit 0123456."
    assert lines[2] == "| CoordConv<br>`a` | 7,553 | 2 | 0.9500 ± 0.0707 (0.9000) | 0.9900 (0.9800) | 30 | 1.0 |"
    assert lines[3] == "| convolution<br>`b` | 7,553 | 1 | 0.2500 ± 0.0000 (0.2500) | 1.0000 (1.0000) | 30 | 1.5 |"


def test_a_page_keeps_its_words_and_gets_its_tables():
    empty = "# Title\n" + "".join(f"<!-- {name} -->\nold\n<!-- end -->\nwords on {name}\n" for name in NAMES)
    first = TABLES["Classification"].rows[0].config
    made = page(empty, {first: {"0": record(0.5)}})
    assert "old" not in made
    assert "0.5000 ± 0.0000" in made
    assert all(f"words on {name}\n" in made for name in NAMES)
    assert page(made, {first: {"0": record(0.5)}}) == made
    with pytest.raises(UserError, match="the page lacks '<!-- Classification -->'"):
        page("# Title", {})


def test_the_page_of_the_documentation_is_what_the_records_say():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    records = {name: read_records(ROOT / "docs" / "results" / f"{name}.json") for name in EXPERIMENTS}
    assert page(text, records) == text
    for readme, language in (("README.md", "en"), ("README_cn.md", "cn")):
        text = (ROOT / readme).read_text(encoding="utf-8")
        assert with_section(text, "Results", headline_table(records, language)) == text


def test_the_table_of_the_readmes():
    runs = {"classification_coordconv_quadrant": {"0": record(1.0), "1": record(0.5)}}
    assert len(headline_table(runs, "en").splitlines()) == 2
    runs["classification_conv_quadrant"] = {"0": record(0.25)}
    row = headline_table(runs, "en").splitlines()[2]
    assert "| 0.750 | 0.250 | 2, 1 |" in row
    assert "(configs/not_so_clevr/classification_conv_quadrant.yml)" in row
    assert "是哪个像素" in headline_table(runs, "cn")


def test_the_worst_of_errors_is_the_largest():
    runs = {"a": {str(seed): record(0, mean_error=error) for seed, error in enumerate((1.0, 3.0))}}
    for run in runs["a"].values():
        run["exported"] = {split: {"mean_error": run["mean_error"]} for split in ("test", "train")}
    lines = table_of(Table("mean_error", ROWS), runs).splitlines()
    assert "test mean error, mean ± std (worst)" in lines[0]
    assert "| 2.0000 ± 1.4142 (3.0000) |" in lines[2]


def test_what_the_best_accuracy_costs():
    def run(parameters, accuracies):
        history = [{"accuracy": value, "seconds": 10.0 * n} for n, value in enumerate(accuracies, 1)]
        return record(1.0, parameters=parameters, history=history)

    lines = cost_table({
        "classification_coordconv_uniform": {"0": run(10, [0.5, 1, 1]), "1": run(10, [0.5, 0.5, 1, 0.5])},
        "classification_conv_uniform": {"0": run(60, [0.1, 0.2, 0.5, 0.4])},
        "classification_coordconv_quadrant": {"0": run(10, [1, 1, 1])},
    }).splitlines()  # fmt: skip
    assert lines[2:] == [
        "| CoordConv, uniform | 10 | 1.0000 | 25 | 1.0 | 1.0 |",
        "| deconvolution, uniform | 60 | 0.5000 | 30 | 6.0 | 1.2 |",
        "| CoordConv, quadrant | 10 | 1.0000 | 10 | 1.0 | 1.0 |",
    ]


def test_a_table_of_detectors():
    def run(ap):
        return record(0, exported={"test": {"ap": ap, "ap50": 0.9, "mean_iou": 0.8}}, epochs=4)

    lines = detection_table({"digits_conv_short": {"0": run(0.7), "1": run(0.6)}}).splitlines()
    assert lines[2].startswith(
        "| convolution, digits<br>`digits_conv_short` "
        "| 7,553 | 2 | 0.6500 ± 0.0707 (0.6000) | 0.9000 | 0.8000 | 4 | 1.5"
    )
    assert len(lines) == 5


def test_what_is_recorded_of_a_run(tmp_path):
    last = {"epoch": 2, "accuracy": 0.5}
    history = [{"epoch": 1, "accuracy": 0.25}, {"epoch": 2, "accuracy": 0.5}]
    (tmp_path / "metrics.json").write_text(json.dumps({"best": last, "last": last, "epochs": 2, "seconds": 3.0}))
    made_with = {"paddle": "3", "python": "3", "numpy": "2", "ppcoordconv": "0", "device": "cpu", "git": None}
    (tmp_path / "run.json").write_text(json.dumps({**made_with, "command": ["train.py"]}))
    (tmp_path / "config.yml").write_text(yaml.safe_dump({"seed": 4}))
    save_state({"w": np.zeros([3, 4], "float32"), "bn._mean": np.zeros(9, "float32")}, tmp_path / "last.pdparams")
    save_state({"history": history}, tmp_path / "last.pdopt")
    got = record_of(tmp_path, {"test": {"accuracy": 0.5}})
    assert (got["seed"], got["parameters"], got["history"], got["seconds"]) == (4, 12, history, 3.0)
    assert got["made_with"] == made_with
    assert json.loads(json.dumps(got)) == got


def test_records_that_are_none(tmp_path):
    assert read_records(tmp_path / "nowhere.json") == {}
    (tmp_path / "half.json").write_text('{"0": {')
    with pytest.raises(UserError, match="half.json holds no records of runs"):
        read_records(tmp_path / "half.json")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_a_config_of_what_its_title_says(name):
    experiment = EXPERIMENTS[name]
    config = load_config(ROOT / "configs" / experiment.folder / f"{name}.yml", [])
    options = config.model.options()
    has_coordinates = options.get("coordconv", options.get("coord_conv", config.model.name.endswith("_coordconv")))
    assert has_coordinates == (experiment.title.split(",")[0] not in ("convolution", "deconvolution"))
    assert all(split in name for split in ("uniform", "quadrant") if split in experiment.title)
