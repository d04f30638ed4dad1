"""The figures are drawn, whole, with what they are told to show."""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, run_tool
from PIL import Image

import ppcoordconv as pcc
from ppcoordconv.viz.plots import (
    convention_grids,
    coordinate_shares,
    curves,
    data_and_splits,
    errors_over_the_canvas,
    predictions_and_coordinate_weights,
    rendered_squares,
)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_predictions_and_coordinate_weights(tmp_path):
    digit = np.full([32, 32, 3], 128, np.uint8)
    weights = np.random.default_rng(0).standard_normal([10, 2, 3, 3])
    for wrong in (0, 5):
        pictures = [(digit, "7", i >= wrong) for i in range(15)]
        predictions_and_coordinate_weights("title", pictures, weights, ["x", "y"], tmp_path / f"{wrong}.png")
    right, mixed = (pixels(tmp_path / f"{wrong}.png") for wrong in (0, 5))
    red = lambda p: ((p[..., 0] > 240) & (p[..., 1:].max(-1) < 30)).sum()  # noqa: E731
    assert red(right) == 0
    assert red(mixed) > 20


def test_convention_grids_show_the_numbers(tmp_path):
    def grid(sign):
        return dict(zip(("x", "y"), sign * np.linspace(-1, 1, 12).reshape(2, 2, 3)))

    convention_grids({"one": grid(1), "two": grid(1), "three": grid(1)}, tmp_path / "a.png")
    convention_grids({"one": grid(1), "two": grid(-1), "three": grid(1)}, tmp_path / "b.png")
    assert np.abs(pixels(tmp_path / "a.png") - pixels(tmp_path / "b.png")).max() > 100


def test_coordinate_shares(tmp_path):
    shares = np.array([0.1, 0.9])
    coordinate_shares({"": 0.5}, {"": shares}, tmp_path / "one.png")
    coordinate_shares({"a": 0.5, "b": 0.5}, {"a": shares, "b": shares}, tmp_path / "two.png")
    assert pixels(tmp_path / "two.png").shape[0] > pixels(tmp_path / "one.png").shape[0]


def test_the_tool_draws_conventions(tmp_path):
    result = run_tool("draw", "conventions", "--output", tmp_path / "a.png", cwd=tmp_path)
    assert result.status == 0, result.stderr
    assert (pixels(tmp_path / "a.png") < 250).mean() > 0.3
    for path in (tmp_path / "a.png", ROOT / "docs" / "conventions.png"):
        assert Image.open(path).text["Description"].split(", ") == pcc.list_coords()


def test_each_grid_is_drawn_under_its_own_names(monkeypatch, tmp_path):
    drawn = {}
    monkeypatch.setattr("ppcoordconv.viz.plots.convention_grids", lambda grids, path: drawn.update(grids))
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    runpy.run_path(str(ROOT / "tools" / "draw.py"))["draw_conventions"](SimpleNamespace(output=tmp_path))
    assert list(drawn) == pcc.list_coords()
    for name, channels in drawn.items():
        assert set(channels) == {"x", "y", "radius"}
        assert (channels["x"] == channels["x"][:1]).all(), name
        assert (channels["y"] == channels["y"][:, :1]).all(), name
        assert (np.stack(list(channels.values())) == pcc.coord_grid([3, 5], name, with_r=True)[0].numpy()).all()


@pytest.mark.parametrize(("name", "status"), [("coordconv", 0), ("conv", 2)])
def test_the_tool_draws_usage(trained, tmp_path, name, status):
    run = trained[name]
    arguments = ["-c", run.config, "-w", run.weights, "--output", tmp_path / "a.png"]
    result = run_tool("draw", "usage", *arguments, cwd=ROOT)
    assert result.status == status, result.stderr
    assert (tmp_path / "a.png").exists() == (status == 0)
    assert status == 0 or "has no CoordConv" in result.stderr


def test_the_tool_draws_predictions(trained, tmp_path):
    run = trained["conv"]
    arguments = ["-c", run.config, "-w", run.weights, "--output", tmp_path / "a.png"]
    result = run_tool("draw", "predictions", *arguments, cwd=ROOT)
    assert result.status == 0, result.stderr
    assert pixels(tmp_path / "a.png").shape[1] > 500


def assert_data_shows(draw, one, other, folder):
    for name, value in (("a", one), ("b", one), ("c", other)):
        draw(value, folder / f"{name}.png")
    a, b, c = (pixels(folder / f"{name}.png") for name in "abc")
    assert (a == b).all()
    assert a.shape == c.shape
    assert (a != c).any()


def test_figures_of_the_coordinate_tasks(tmp_path):
    centres = np.array([[4, 4], [59, 40]])
    splits = {"uniform": {"train": centres}, "quadrant": {"train": centres, "test": centres + 1}}
    canvas = np.eye(64)
    assert_data_shows(
        lambda value, path: data_and_splits({"one": value, "two": canvas}, splits, path),
        canvas,
        canvas.T[::-1],
        tmp_path,
    )
    assert_data_shows(
        lambda errors, path: errors_over_the_canvas("pixels off", {"net": {"train": (centres, errors)}}, 8, path),
        np.array([0.0, 1.0]),
        np.array([0.0, 7.0]),
        tmp_path,
    )
    assert_data_shows(
        lambda picture, path: rendered_squares({"net": [picture, canvas], "other": [canvas]}, path),
        canvas,
        1 - canvas,
        tmp_path,
    )
    assert_data_shows(
        lambda value, path: curves({"loss": {"net": [(1, 0.5), (2, value)]}, "accuracy": {"net": [(1, 0)]}}, path),
        0.25,
        0.3,
        tmp_path,
    )
