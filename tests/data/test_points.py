"""Files of points: what is read, what is refused, and what becomes of it."""

import numpy as np
import pytest

from ppcoordconv.data.points import PointPreprocess
from ppcoordconv.data.preprocessing import preprocess_of
from ppcoordconv.utils.errors import UserError


def test_a_file_of_points(tmp_path):
    file = tmp_path / "points.csv"
    file.write_text("40,17\n 4.5 , 59 \n1e1,0\n")
    preprocess = PointPreprocess(64, normalised=True)
    inputs = preprocess.inputs(file)
    assert [(i.name, i.stem) for i in inputs] == [(f"{file}:{n}", f"points_{n}") for n in (1, 2, 3)]
    assert [list(i.read()) for i in inputs] == [[40, 17], [4.5, 59], [10, 0]]


@pytest.mark.parametrize("line", ["", "4", "4,5,6", "x,y", "4;5", "nan,4", "4,inf", "1e300,2"])
def test_a_line_that_is_no_point(tmp_path, line):
    file = tmp_path / "points.csv"
    file.write_text(f"1,2\n{line}\n3,4")
    first, wrong, last = PointPreprocess(64, normalised=True).inputs(file)
    assert (list(first.read()), list(last.read())) == ([1, 2], [3, 4])
    with pytest.raises(UserError, match="a point (is two numbers|has numbers of at most)"):
        wrong.read()


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "there is no file"), (b"", "is empty"), (b"\xff\xfe", "is not a readable text file")],
)
def test_a_file_that_can_not_be_read(tmp_path, content, words):
    file = tmp_path / "points.csv"
    if content is not None:
        file.write_bytes(content)
    (only,) = PointPreprocess(64, normalised=True).inputs(file)
    assert only.name == str(file)
    with pytest.raises(UserError, match=words):
        only.read()


@pytest.mark.parametrize("normalised", [True, False])
def test_preprocess_is_its_formula(normalised):
    preprocess = PointPreprocess(64, normalised)
    x = preprocess(np.array([0, 63]))
    assert x.dtype == np.float32
    assert x.tolist() == ([-1, 1] if normalised else [0, 63])
    assert preprocess_of(preprocess.to_dict()) == preprocess
