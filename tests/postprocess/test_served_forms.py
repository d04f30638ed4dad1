"""Served forms: what they decode, where they place it in the picture, and what they draw."""

import numpy as np
import paddle
import pytest

from ppcoordconv.data.boxes import Letterbox
from ppcoordconv.data.images import Preprocess
from ppcoordconv.data.not_so_clevr import square
from ppcoordconv.ops.nms import MatrixNMS, matrix_nms_numpy
from ppcoordconv.postprocess import SERVED, decoded
from ppcoordconv.postprocess.classification import Classification
from ppcoordconv.utils.errors import UserError

CENTRES = np.array([[40, 17], [4, 59]])
LABELS = [str(n) for n in range(10)]
BOXES = np.float32([[[3, 0.9, 4, 8, 24, 28], [1, 0.2, 0, 0, 5, 5], [-1, 0, 0, 0, 0, 0]]])
CANDIDATES = np.zeros([1, 5, 14], np.float32)
CANDIDATES[0, 0, :4], CANDIDATES[0, 0, 7] = [4, 8, 24, 28], 0.9
# By form: outputs.
OUTPUTS = {
    "classification": np.eye(10, dtype=np.float32)[[3, 1]],
    "coordinate_classification": 10 * np.eye(4096, dtype=np.float32)[CENTRES[:, 1] * 64 + CENTRES[:, 0]],
    "coordinate_regression": (CENTRES / 64).astype(np.float32),
    "coordinate_corner": CENTRES[:, ::-1].astype(np.float32),
    "coordinate_rendering": np.stack([square(c).ravel() for c in CENTRES]).astype(np.float32) - 100,
    "detection": BOXES,
    "detection_without_nms": CANDIDATES,
}


def test_every_form_has_outputs_here():
    assert set(OUTPUTS) <= set(SERVED.names())
    assert {type(SERVED.build(name)).__module__.split(".")[-1] for name in OUTPUTS} == {
        "classification",
        "coordinates",
        "detection",
    }


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_form_decodes_plain_values_and_draws_them(name):
    form = SERVED.build(name)
    results = form.decode(OUTPUTS[name], LABELS)
    assert len(results) == len(OUTPUTS[name])
    assert form.decode(OUTPUTS[name][:0], LABELS) == []
    for output, result in zip(OUTPUTS[name], results):
        picture = form.draw(np.full([64, 64, 3], 90, np.uint8), output, result)
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert (picture != 90).any()
        if name.startswith("coordinate"):
            assert (result["x"], result["y"]) in [(40, 17), (4, 59)]


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_of_another_shape_are_a_sentence(name):
    """The last axis is the form's, or as long as there are labels; one that is not checked is any length."""
    form, outputs = SERVED.build(name), OUTPUTS[name]
    assert decoded(form, outputs, LABELS) == form.decode(outputs, LABELS)
    last = form.output_shape[-1]
    lengths = [outputs.shape[-1] + change for change in (-1, 1)] if last else []
    wrong = [np.zeros([*outputs.shape[:-1], length], np.float32) for length in lengths]
    for other in (*wrong, outputs[:, None], outputs[..., 0]):
        with pytest.raises(UserError, match=f"the served form {name!r} takes outputs of .*, and the model gives"):
            decoded(form, other, LABELS)


def test_a_result_is_of_its_own_row():
    outputs = np.float32([[0.5, 0.25], [np.nan, 0.5], [0.25, np.inf], [0.125, 0.5]])
    error = {"error": "the model's output is not finite"}
    expected = [{"x": 32.0, "y": 16.0}, error, error, {"x": 8.0, "y": 32.0}]
    assert decoded(SERVED.build("coordinate_regression"), outputs, []) == expected


@pytest.mark.parametrize("name", [name for name in OUTPUTS if not name.startswith("detection")])
def test_what_is_no_place_in_the_picture_stays(name):
    form = SERVED.build(name)
    for result in form.decode(OUTPUTS[name], LABELS):
        assert form.to_image(result, Preprocess((64, 64)), (480, 640)) == result


@pytest.mark.parametrize("name", ["detection", "detection_without_nms"])
def test_boxes_are_placed_in_the_picture_and_inside_it(name):
    form = SERVED.build(name)
    (result,) = form.decode(OUTPUTS[name], LABELS)
    (found,) = result["objects"]
    assert (found["label"], found["class_id"], found["score"], found["box"]) == ("3", 3, 0.9, [4, 8, 24, 28])
    (found,) = form.to_image(result, Letterbox((64, 64)), (50, 128, 3))["objects"]
    assert found["box"] == [8, 16, 48, 50]
    nothing = {"objects": []}
    assert form.to_image(nothing, Letterbox((64, 64)), (50, 128, 3)) == {"height": 50, "width": 128, "objects": []}


def test_formats():
    assert {name for name in OUTPUTS if SERVED.build(name).without_onnx} == {"detection"}


def test_matrix_nms_of_arrays_is_the_layers():
    expected = MatrixNMS()(paddle.to_tensor(CANDIDATES)).numpy()
    np.testing.assert_array_equal(matrix_nms_numpy(CANDIDATES), expected)


def test_decoding_is_softmax_and_argmax():
    logits = np.array([[0.0, np.log(3.0)], [1000.0, -1000.0]], np.float32)
    first, second = Classification().decode(logits, ["no", "yes"])
    assert first == {"label": "yes", "class_id": 1, "score": 0.75}
    assert second == {"label": "no", "class_id": 0, "score": 1.0}
    assert Classification().decode(np.zeros([0, 2], np.float32), ["no", "yes"]) == []


def test_what_is_rendered():
    form = SERVED.build("coordinate_rendering")
    first, _ = form.decode(OUTPUTS["coordinate_rendering"], [])
    assert first == {"x": 40, "y": 17, "pixels": 81, "box": [36, 13, 44, 21]}
    nothing = form.decode(np.full([1, 4096], -1.0), [])
    assert nothing == [{"x": None, "y": None, "pixels": 0, "box": None}]


@pytest.mark.parametrize(
    ("name", "outputs", "expected"),
    [
        ("classification", np.float32([[0, 1]]), {"label": "1", "class_id": 1, "score": 0.731059}),
        ("coordinate_classification", np.eye(1, 4096, 64 * 2 + 5), {"x": 5, "y": 2, "score": 0.000663}),
        ("coordinate_regression", np.array([[1 / 3, 0.123456]]), {"x": 21.3333, "y": 7.9012}),
        ("coordinate_corner", np.array([[7.123456, 1 / 3]]), {"x": 0.3333, "y": 7.1235}),
    ],
)
def test_numbers_are_rounded(name, outputs, expected):
    """Scores to six digits after the point, pixels to four."""
    assert SERVED.build(name).decode(outputs, LABELS) == [expected]


def test_what_is_lit_is_measured():
    lit = np.full([64, 64], -1.0)
    lit[10, 20] = lit[10, 21] = lit[12, 20] = 1
    lit[30, 30] = 0  # a probability of 0.5 is not above it
    (result,) = SERVED.build("coordinate_rendering").decode(lit.reshape(1, -1), [])
    assert result == {"x": 20.3333, "y": 10.6667, "pixels": 3, "box": [20, 10, 21, 12]}


@pytest.mark.parametrize(("place", "drawn"), [((-9, 99), (0, 63)), ((40.4, 16.6), (40, 17)), ((63, 0), (63, 0))])
def test_a_place_is_drawn_where_it_is_or_at_the_nearest_edge(place, drawn):
    result = {"x": place[0], "y": place[1]}
    picture = SERVED.build("coordinate_regression").draw(np.zeros([1, 1, 3], np.uint8), np.zeros(2), result)
    rows, columns = np.nonzero((picture[:256] == [0, 0, 255]).all(axis=2))
    width = picture.shape[1] - 256
    assert ((columns.min() - width // 2) // 4, rows.min() // 4) == drawn
    assert len(rows) == 16


def test_boxes_and_scores_are_rounded_and_low_scores_left_out():
    """Edges to two digits after the point, at the network's size and at the picture's."""
    form = SERVED.build("detection")
    rows = [[3, 0.9123456, 4.12345, 8, 24.98765, 28], [3, 0.3, 0, 0, 5, 5], [3, 0.29, 0, 0, 5, 5]]
    (result,) = form.decode(np.array([rows]), LABELS)
    assert [(found["score"], found["box"]) for found in result["objects"]] == [
        (0.912346, [4.12, 8, 24.99, 28]),
        (0.3, [0, 0, 5, 5]),
    ]
    placed = form.to_image(result, Letterbox((64, 64)), (77, 99, 3))["objects"]
    assert [found["box"] for found in placed] == [[6.37, 12.37, 38.66, 43.31], [0, 0, 7.73, 7.73]]


def test_small_pictures_are_enlarged_to_show_boxes():
    form = SERVED.build("detection")
    assert form.draw(np.zeros([64, 64, 3], np.uint8), BOXES[0], {"objects": []}).shape == (256, 256, 3)


def test_the_largest_numbers_are_finite_in_pixels_too():
    (result,) = decoded(SERVED.build("coordinate_regression"), np.full([1, 2], 3e38, np.float32), [])
    assert result == {"x": pytest.approx(64 * 3e38), "y": pytest.approx(64 * 3e38)}


def detections(*rows):
    return np.float32([[[category, score, 1, 2, 3, 4] for category, score in rows]])


def test_which_detections_are_objects():
    """The threshold is one; a class below 0 is none, whatever its score; 0 is the first, and the last has a label."""
    form = SERVED.build("detection")
    form.score_threshold = 0.5
    outputs = detections((0, 0.5), (1, 0.499), (-1, 0.9), (1, 0.9))
    (result,) = form.decode(outputs, ["a", "b"])
    assert [(found["label"], found["class_id"], found["score"]) for found in result["objects"]] == [
        ("a", 0, 0.5),
        ("b", 1, 0.9),
    ]
    with pytest.raises(UserError, match="the model gives 2 classes, and inference.yml has 1 labels"):
        form.decode(outputs, ["a"])
    assert form.decode(detections((-1, 0.9)), []) == [{"objects": []}]
    with pytest.raises(UserError, match="the model gives 1 classes, and inference.yml has 0 labels"):
        form.decode(detections((0, 0.1)), [])
    assert form.decode(np.zeros([1, 0, 6], np.float32), []) == [{"objects": []}]
