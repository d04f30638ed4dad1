"""A run's weights go into the package with all that the table says of them."""

import importlib
import json
from types import SimpleNamespace

from conftest import ROOT, run_tool

from ppcoordconv.models import zoo

CONFIG = "configs/not_so_clevr/regression_coordconv_quadrant.yml"


def test_a_run_becomes_a_row(tmp_path, monkeypatch):
    done = run_tool("train", "-c", CONFIG, "-o", "epochs=2", "max_steps=5", "output_dir=run", cwd=tmp_path)
    assert done.status == 0, done.stderr
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("zoo")
    (tmp_path / "weights").mkdir()
    (tmp_path / "zoo.json").write_text(json.dumps({"other": {}}))
    monkeypatch.setattr(zoo, "TABLE", tmp_path / "zoo.json")
    tool.add(SimpleNamespace(config=CONFIG, run=tmp_path / "run"))
    row = zoo.rows().pop("coordinate_regression_coordconv")
    assert list(zoo.rows()) == ["coordinate_regression_coordconv", "other"]
    assert row["options"] == {"init": "centred"}
    assert (row["config"], row["seed"], row["metric"], row["parameters"]) == (CONFIG, 0, "accuracy", 906)
    assert row["last"] == json.loads(done.stdout)["last"]
    assert (
        zoo.weights_path("coordinate_regression_coordconv").read_bytes()
        == (tmp_path / "run" / "last.pdparams").read_bytes()
    )
