"""The figures are drawn, whole, with what they are told to show."""

import runpy
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, run_tool
from PIL import Image

import ppcoordconv as pcc
from ppcoordconv.viz import plots
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


@pytest.fixture
def figure(monkeypatch):
    """Its axes are those of the figure that was written last."""
    written, write = SimpleNamespace(), plots._write

    def record(figure, path, **options):
        write(figure, path, **options)
        assert pixels(path).std() > 1
        written.axes = figure.axes

    monkeypatch.setattr(plots, "_write", record)
    return written


def rows_go_down(axes):
    (bottom, top), (left, right) = axes.get_ylim(), axes.get_xlim()
    return bottom > top and left < right


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


def test_coordinate_shares(figure, tmp_path):
    shares = {"": np.array([0.1, 0.9, 0.4]), "b": np.array([0.3, 0.2])}
    coordinate_shares({"": 0.5, "b": 0.25}, shares, tmp_path / "a.png")
    one, two = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["the layer", "b"]
    assert [bar.get_height() for bar in one.patches] == [0.9, 0.4, 0.1]
    assert [bar.get_height() for bar in two.patches] == [0.3, 0.2]
    assert [axes.lines[0].get_ydata()[0] for axes in figure.axes] == [0.5, 0.25]
    assert one.get_ylim() == (0, 1)


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


def test_data_and_splits(figure, tmp_path):
    centres = np.array([[4, 4], [59, 40], [10, 30]])
    splits = {"uniform": {"train": centres}, "quadrant": {"train": centres, "test": centres + 1}}
    canvas = np.eye(64)[:, ::-1].cumsum(0)
    data_and_splits({"one": canvas, "two": canvas.T}, splits, tmp_path / "a.png")
    one, two, uniform, quadrant = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "uniform", "quadrant"]
    for axes, picture in ((one, canvas), (two, canvas.T)):
        assert (axes.images[0].get_array() == picture).all()
        assert rows_go_down(axes)
    for axes, sets in ((uniform, [centres]), (quadrant, [centres, centres + 1])):
        assert [points.get_offsets().tolist() for points in axes.collections] == [c.tolist() for c in sets]
        assert rows_go_down(axes)
    assert [text.get_text() for text in quadrant.get_legend().get_texts()] == ["train: 3", "test: 3"]


def test_errors_over_the_canvas(figure, tmp_path):
    centres, errors = np.array([[4, 7], [59, 40], [60, 1]]), np.array([0.0, 0.4, 7.0])
    sets = {"train": (centres, errors), "test": (centres + 1, errors + 1)}
    errors_over_the_canvas("pixels off", {"net": sets}, 8, tmp_path / "a.png")
    train, test, colours = figure.axes
    assert train.get_title() == "net\ntrain: 67% within 0.5"
    assert test.get_title() == "net\ntest: 0% within 0.5"
    assert colours.get_ylabel() == "pixels off"
    for axes, (places, values) in zip((train, test), sets.values()):
        drawn = axes.images[0].get_array().filled(np.nan)
        assert drawn[places[:, 1], places[:, 0]].tolist() == values.tolist()
        assert np.isfinite(drawn).sum() == 3
        assert axes.images[0].get_clim() == (0, 8)
        assert rows_go_down(axes)


def test_rendered_squares(figure, tmp_path):
    canvas = np.eye(64)[:, ::-1].cumsum(0).clip(0, 1)
    rendered_squares({"net": [canvas, canvas.T], "other": [1 - canvas]}, tmp_path / "a.png")
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert all((got == expected).all() for got, expected in zip(drawn, [canvas, canvas.T, 1 - canvas]))
    assert [axes.get_ylabel() for axes in figure.axes] == ["net", "", "other", ""]
    assert all(axes.images[0].get_clim() == (0, 1) for axes in figure.axes if axes.images)


def test_curves(figure, tmp_path):
    points = [(60, 0.5), (120, 0.25)]
    curves({"loss": {"net": points, "other": points[:1]}, "accuracy": {"net": [(60, 0)]}}, tmp_path / "a.png")
    loss, accuracy = figure.axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [[[1, 0.5], [2, 0.25]], [[1, 0.5]]]
    assert [line.get_label() for line in loss.lines] == ["net", "other"]
    assert (loss.get_yscale(), accuracy.get_yscale()) == ("log", "linear")
