"""What is behind the page, without a browser: points to squares, strokes to digits, mistakes in a sentence."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ppcoordconv.deploy import Predictor
from ppcoordconv.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"
sys.path.insert(0, str(DEMO))

import colouring  # noqa: E402
import drawing  # noqa: E402
import rendering  # noqa: E402

pytestmark = pytest.mark.any_paddle


@pytest.fixture(scope="module")
def coordconv():
    return Predictor(str(ROOT / "docs" / "trained" / "rendering"))


@pytest.fixture(scope="module")
def convolution():
    return Predictor(str(DEMO / "models" / "convolution"))


@pytest.fixture(scope="module")
def detector():
    return Predictor(str(DEMO / "models" / "detector"))


def test_coordconv_is_right_everywhere_and_the_convolution_where_it_was_trained(coordconv, convolution):
    for predictor, train, test in ((coordconv, (1, 1), (1, 1)), (convolution, (0.9, 1), (0, 0.4))):
        ious = rendering.ious_everywhere(predictor)
        for centres, (least, most) in zip(rendering.places(), (train, test)):
            assert least <= ious[centres[:, 1], centres[:, 0]].mean() <= most


@pytest.mark.parametrize(("at", "place"), [((46, 44), (46, 44)), ((0, 63), (4, 59)), ((4.4, 20.6), (4, 21))])
def test_the_square_is_around_the_point_or_the_nearest_with_room(coordconv, at, place):
    x, y = rendering.nearest_place(*at)
    assert (x, y) == place
    assert rendering.render(coordconv, x, y).box == [x - 4, y - 4, x + 4, y + 4]


def test_the_page_says_what_was_rendered(coordconv, convolution):
    networks = [rendering.Network("CoordConv", "", coordconv), rendering.Network("Convolution", "", convolution)]
    maps = {network.title: np.full([64, 64], 0.5) for network in networks}
    said = rendering.page(networks, maps, 50, 40)
    assert re.findall(r'class="card network (\w+)" data-network="(\w+)"', said) == [
        ("right", "CoordConv"),
        ("wrong", "Convolution"),
    ]
    assert 'data-box="[46, 36, 54, 44]"' in said
    assert "(50, 40) was never seen" in said
    assert "(20, 40) was trained on" in rendering.page(networks, maps, 20, 40)


@pytest.mark.parametrize(("example", "digits"), enumerate(["42730", "3145", "6", "2025"]))
def test_the_examples_are_read(detector, example, digits):
    _, objects, _ = drawing.detect(detector, drawing.EXAMPLES[example])
    assert sorted(found["label"] for found in objects) == sorted(digits)


@pytest.mark.parametrize("scale", [0.1, 0.3, 1])
def test_digits_are_found_where_they_were_drawn_at_any_size(detector, scale):
    strokes = [[(0.5 + scale * (x - 0.5), 0.5 + scale * (y - 0.5)) for x, y in s] for s in drawing.EXAMPLES[2]]
    _, objects, placement = drawing.detect(detector, strokes)
    assert [found["label"] for found in objects] == ["6"]
    (left, top, width, height) = map(
        float,
        re.findall(r'rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', drawing.overlay(objects, placement))[0],
    )
    points = np.array([point for stroke in strokes for point in stroke])
    low, high = points.min(axis=0), points.max(axis=0)
    drawn = np.prod(high - low)
    both = np.prod(np.maximum(0, np.minimum(high, [left + width, top + height]) - np.maximum(low, [left, top])))
    assert both / (drawn + width * height - both) > 0.5


def test_what_the_detector_gets_looks_like_what_it_was_trained_on():
    for strokes in drawing.EXAMPLES:
        placement = drawing.place(strokes)
        pixels = drawing.rasterise(strokes, placement)
        assert pixels.shape == (64, 64, 3) and pixels.max() == 255 and np.median(pixels) == 0
        lit = np.argwhere(pixels[:, :, 0] > 64)
        # Nothing was cut off.
        assert lit.min() > 0 and lit.max() < 63
        heights = [bottom - top for _, top, _, bottom in drawing.figures(strokes)]
        assert 14 <= placement.scale * np.median(heights) <= 22


@pytest.mark.parametrize(
    ("strokes", "said"),
    [
        ([], "the canvas is empty: draw a digit, or take an example"),
        ([[]], "the canvas is empty"),
        ("zero", "a drawing is a list of strokes"),
        (None, "a drawing is a list of strokes"),
        ([[[0.5, 1.5]]], "x and y from 0 to 1"),
        ([[[float("nan"), 0.5]]], "x and y from 0 to 1"),
        ([[["x", 0.5]]], "x and y from 0 to 1"),
        ([[[10**400, 0.5]]], "x and y from 0 to 1"),
        ([[[0.5, 0.5, 0.5]]], "x and y from 0 to 1"),
        ({"a": [[0.5, 0.5]]}, "a drawing is a list of strokes"),
        ([[[0.5, 0.5]] * 20_001], "at most 300 strokes and 20,000 points"),
        ([[[0.5, 0.5]]] * 20_000, "at most 300 strokes and 20,000 points"),
    ],
)
def test_a_wrong_drawing_is_said_in_a_sentence(detector, strokes, said):
    with pytest.raises(UserError, match=re.escape(said)):
        drawing.read_strokes(strokes)
    answer = drawing.answer(detector, strokes)
    assert answer["boxes"] == "" and said[1:] in answer["said"]


@pytest.mark.parametrize(
    "place", [None, "x", [], [1], [1, 2, 3], ["x", 1], [float("nan"), 1], [1, float("inf")], [10**400, 1], {"a": 1}, 5]
)
def test_a_wrong_point_is_said_in_a_sentence(place):
    with pytest.raises(UserError, match="a point is two finite numbers"):
        rendering.read_point(place)
    assert "A point is two finite numbers" in rendering.answer([], {}, place)


@pytest.fixture(scope="module")
def quarters():
    folders = {"CoordConv": "quarters", "Convolution": "quarters_without"}
    return [rendering.Network(name, "", Predictor(str(DEMO / "models" / path))) for name, path in folders.items()]


def test_coordconv_knows_the_quarter_of_a_dot_and_the_convolution_guesses(quarters):
    rng, right, count = np.random.default_rng(0), np.zeros(2, int), 0
    for _ in range(20):
        # In the middle of a quarter, far from each other.
        dots = [[(n + rng.uniform(0.2, 0.8)) / 4, y] for n, y in zip(rng.permutation(4), (0.1, 0.35, 0.6, 0.85))]
        said = colouring.answer(quarters, dots)
        assert re.findall(r'data-network="(\w+)"', said) == ["CoordConv", "Convolution"]
        right += [int(number) for number in re.findall(r'data-right="(\d+)"', said)]
        count += 4
    assert right[0] == count
    assert right[1] < 0.6 * count


def test_without_a_dot_and_with_dots_on_the_rim_there_is_an_answer(quarters):
    assert "0 of 0 right" in colouring.answer(quarters, [])
    assert "of 4 right" in colouring.answer(quarters, [[0, 0], [1, 1], [1, 0], [0, 1]])


@pytest.mark.parametrize(
    ("dots", "said"),
    [
        (None, "dots are a list of x and y from 0 to 1"),
        ([[0.5]], "dots are a list of x and y from 0 to 1"),
        ([[0.5, 2]], "dots are a list of x and y from 0 to 1"),
        ([[float("nan"), 0.5]], "dots are a list of x and y from 0 to 1"),
        ([["x", 0.5]], "dots are a list of x and y from 0 to 1"),
        ([[10**400, 0.5]], "dots are a list of x and y from 0 to 1"),
        ([[0.5, 0.5]] * 21, "a picture has at most 20 dots"),
    ],
)
def test_wrong_dots_are_said_in_a_sentence(quarters, dots, said):
    with pytest.raises(UserError, match=said):
        colouring.read_dots(dots)
    assert said in colouring.answer(quarters, dots)


def test_the_longest_drawing_is_answered(detector):
    shape = [drawing.MOST_STROKES, drawing.MOST_POINTS // drawing.MOST_STROKES, 2]
    assert drawing.answer(detector, np.random.default_rng(0).random(shape).tolist())["said"]


def test_a_dot_is_no_digit_and_no_error(detector):
    answer = drawing.answer(detector, [[[0.5, 0.5]]])
    assert answer["boxes"] == "" and "No digit that it knows" in answer["said"]


def run_app(*code):
    return subprocess.run([sys.executable, "-c", ";".join(code)], cwd=DEMO, capture_output=True, text=True)


def test_without_gradio_the_page_says_what_to_install():
    run = run_app("import sys", "sys.modules['gradio'] = None", "import app")
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "app.py: the page needs Gradio, which is not installed: make demo, or pip install -r demo/requirements.txt"
    ]


def test_models_are_small():
    files = [path for path in (DEMO / "models").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    for folder in (DEMO / "models").iterdir():
        assert {path.name for path in folder.iterdir()} == {"inference.pdmodel", "inference.pdiparams", "inference.yml"}


def test_examples_are_strokes():
    for strokes in json.loads((DEMO / "examples.json").read_text()):
        assert drawing.read_strokes(strokes)
