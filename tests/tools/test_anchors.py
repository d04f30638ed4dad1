"""Anchors fit the boxes that they are made from."""

import json

import numpy as np
import pytest
from conftest import ROOT, run_tool

from ppcoordconv.data.anchors import anchors_of, fit
from ppcoordconv.utils.errors import UserError


def test_of_clear_groups_each_gets_one():
    rng = np.random.default_rng(0)
    groups = np.array([[10, 20], [40, 12], [100, 90]])
    sizes = (groups[rng.integers(3, size=300)] * rng.uniform(0.95, 1.05, [300, 2])).astype(np.float32)
    anchors = anchors_of(sizes, 3)
    np.testing.assert_allclose(anchors, groups, rtol=0.06)
    assert fit(sizes, anchors) > 0.93
    assert fit(sizes, anchors[:2]) < fit(sizes, anchors)
    assert anchors == anchors_of(sizes, 3)


def test_a_perfect_fit_is_one():
    assert fit(np.array([[3.0, 4.0]]), [[3, 4], [9, 9]]) == 1
    assert fit(np.array([[2.0, 4.0]]), [[4, 2]]) == pytest.approx(4 / 12)


def test_too_few_sizes():
    with pytest.raises(UserError, match="3 anchors take boxes of at least as many different sizes, and here are 2"):
        anchors_of(np.array([[1, 2], [3, 4], [1, 2]]), 3)


def test_the_tool(tmp_path):
    made = run_tool("fields", "--output", tmp_path / "f", "--train", 20, "--test", 2, cwd=ROOT)
    assert made.status == 0, made.stderr
    config = ROOT / "configs" / "detection" / "digits_coordconv.yml"
    result = run_tool("anchors", "-c", config, "-o", f"data.path={tmp_path / 'f'}", cwd=tmp_path)
    assert result.status == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found["anchors"]) == 6
    assert found["boxes"] == 100
    assert 0.8 < found["mean_iou"] < 1
