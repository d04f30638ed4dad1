"""The benchmark of the necks times what computes the same."""

import sys

import numpy as np
import paddle
import pytest
from benchmarks import necks

from ppcoordconv.utils.errors import UserError


def test_without_paddledetection_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ppdet.modeling.necks", None)
    with pytest.raises(UserError, match="compared with PaddleDetection's, .* pip install --no-deps paddledet==2.6.0"):
        necks.measure(1)


def test_rows_and_ratios(monkeypatch):
    pytest.importorskip("ppdet")
    monkeypatch.setattr(necks, "SIZES", (96,))
    result = necks.measure(2)
    rows = result["rows"]
    assert [(row["what"], row["size"], row["batch"]) for row in rows] == [
        ("training", 96, 2),
        *[(what, 96, batch) for what in ("exported, oneDNN", "exported") for batch in (1, 4)],
    ]
    assert all(row["ratio"] == row["ours_ms"] / row["theirs_ms"] > 0 for row in rows)
    mean = result["ratios"]["exported"]["mean"]
    assert mean == pytest.approx(np.sqrt(rows[3]["ratio"] * rows[4]["ratio"]))
    assert result["ratios"]["exported"]["worst"] == max(rows[3]["ratio"], rows[4]["ratio"])
    assert len(necks.as_table(result).splitlines()) == 1 + len(rows) + len(result["ratios"])


def test_both_compute_the_same(tmp_path):
    pytest.importorskip("ppdet")
    both = necks._necks()
    for name, neck in both.items():
        neck.eval()
        found = necks._exported(neck, 64, tmp_path / name, True)([x.numpy() for x in necks._maps(64, 2)])
        with paddle.no_grad():
            for y, expected in zip(found, neck(necks._maps(64, 2))):
                np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(*(neck(necks._maps(64, 2)) for neck in both.values())):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
