"""The experiments are run once each, recorded in order, and shown from the records alone."""

import importlib
import json
import sys

import pytest
from conftest import ROOT, run_tool

CONFIG = "regression_coordconv_quadrant"


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.setattr(sys, "argv", ["results.py"])
    module = importlib.import_module("results")
    monkeypatch.setattr(module, "RECORDS", tmp_path / "records")
    return module


def arguments(results, *words):
    parser = results.Parser()
    parser.add_argument("configs", nargs="*")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args(words)


def test_what_is_recorded_is_not_run_again(results, monkeypatch):
    ran = []

    def train_export_measure(which):
        ran.append(which)
        return {"seconds": len(ran)}

    monkeypatch.setattr(results, "_train_export_measure", train_export_measure)
    results.run_experiments(arguments(results, CONFIG, "--seeds", "2"))
    assert [(e.config, seed) for e, seed in sorted(ran, key=str)] == [(CONFIG, 0), (CONFIG, 1)]
    results.run_experiments(arguments(results, CONFIG))
    assert {(e.config, seed) for e, seed in ran} == {(CONFIG, seed) for seed in range(10)}
    assert list(json.loads((results.RECORDS / f"{CONFIG}.json").read_text())) == [str(seed) for seed in range(10)]


def test_a_run_that_fails_leaves_those_before_it(results, monkeypatch):
    def train_export_measure(which):
        if which[1] == 3:
            raise ZeroDivisionError
        return {}

    monkeypatch.setattr(results, "_train_export_measure", train_export_measure)
    with pytest.raises(ZeroDivisionError):
        results.run_experiments(arguments(results, CONFIG))
    assert list(json.loads((results.RECORDS / f"{CONFIG}.json").read_text())) == ["0", "1", "2"]


def test_an_experiment_that_there_is_not(tmp_path):
    result = run_tool("results", "run", "regression_coordconv", cwd=tmp_path)
    assert result.status == 2
    assert result.stderr.startswith("results.py: there is no experiment 'regression_coordconv'; the experiments are ")
    assert len(result.stderr.splitlines()) == 1


def test_the_data_are_drawn(tmp_path):
    result = run_tool("draw", "splits", "--output", "a.png", cwd=tmp_path)
    assert (result.status, result.stdout) == (0, "a.png\n"), result.stderr
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
