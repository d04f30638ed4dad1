"""Object keypoint similarity against its formula, PCK and the mean error against numbers by hand."""

import numpy as np
import pytest

from ppcoordconv.metrics.keypoints import COCO_SIGMAS, KeypointPrecision

SIGMAS = [0.1, 0.05, 0.2]


def metric_of(found, true, area=400.0, longer=20.0, scale=1.0, corner=(0, 0), sigmas=SIGMAS):
    """Of pictures with one object each: points (x, y, score) and (x, y, visibility), in pixels of the picture."""
    metric = KeypointPrecision(sigmas)
    for number, (ours, wanted) in enumerate(zip(found, true)):
        moved = [np.array(points, np.float32) - [*corner, 0] for points in (ours, wanted)]
        outputs, targets = (points * [scale, scale, 1] for points in moved)
        place = np.array([[*corner, scale]], np.float32)
        metric.update(outputs[None], [targets[None], place, np.array([[area, longer]]), np.array([number])])
    return metric


TRUE = [[5, 5, 2], [15, 5, 1], [10, 15, 2]]


def similarity(found, true, area=400.0):
    """As COCO defines it: https://cocodataset.org/#keypoints-eval."""
    terms = [
        np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * area * (2 * sigma) ** 2))
        for (x, y, _), (a, b, visibility), sigma in zip(found, true, SIGMAS)
        if visibility
    ]
    return np.mean(terms)


@pytest.mark.parametrize("seed", range(8))
def test_ap_counts_the_thresholds_that_the_similarity_reaches(seed):
    """Of one object, it is the part of 0.5, 0.55, ..., 0.95 that are not above the similarity."""
    rng = np.random.default_rng(seed)
    found = np.array(TRUE, float) + np.concatenate([rng.normal(0, 0.5 + seed / 2, [3, 2]), np.zeros([3, 1])], axis=1)
    metrics = metric_of([found], [TRUE]).compute()
    wanted = similarity(found, TRUE)
    assert metrics["ap"] == pytest.approx(np.mean(wanted >= np.arange(0.5, 1, 0.05) - 1e-6))
    assert metrics["ap50"] == pytest.approx(float(wanted >= 0.5))
    distances = np.linalg.norm(found[:, :2] - np.array(TRUE)[:, :2], axis=1)
    assert metrics["mean_error"] == pytest.approx(distances.mean(), rel=1e-5)
    assert metrics["pck"] == pytest.approx(np.mean(distances <= 2))


def test_right_points_are_perfect_wherever_the_input_lies_in_the_picture():
    for scale, corner in ((1, (0, 0)), (2.5, (30, 7)), (0.25, (3, 0))):
        metrics = metric_of([TRUE, TRUE], [TRUE, TRUE], scale=scale, corner=corner).compute()
        assert metrics == pytest.approx({"ap": 1, "ap50": 1, "ap75": 1, "ar": 1, "pck": 1, "mean_error": 0}, abs=1e-5)


def test_errors_are_in_pixels_of_the_picture_along_both_axes():
    moved = [[8, 9, 1], [15, 5, 1], [10, 15, 1]]
    metrics = metric_of([moved], [TRUE], scale=0.5, corner=(2, 3)).compute()
    assert metrics["mean_error"] == pytest.approx(5 / 3, rel=1e-5)
    assert metrics["pck"] == pytest.approx(2 / 3)


def test_what_is_not_labelled_counts_for_nothing():
    true = [[5, 5, 2], [0, 0, 0], [10, 15, 2]]
    found = [[5, 5, 1], [500, 500, 1], [10, 15, 1]]
    metric = metric_of([found], [true])
    assert metric.compute()["ap"] == pytest.approx(1)
    assert metric.compute()["mean_error"] == pytest.approx(0, abs=1e-5)
    report = metric.report(["a", "b", "c"])
    assert report["points"][1] == {"label": "b", "labelled": 0, "pck": None, "mean_error": None}
    assert report["points"][0] == {"label": "a", "labelled": 1, "pck": 1, "mean_error": pytest.approx(0, abs=1e-5)}
    assert report["samples"] == 1


def test_the_strict_point_is_the_one_of_a_small_sigma():
    """Two pixels away are more of the second point than of the third."""
    second = [[5, 5, 1], [17, 5, 1], [10, 15, 1]]
    third = [[5, 5, 1], [15, 5, 1], [12, 15, 1]]
    assert metric_of([second], [TRUE]).compute()["ap"] < metric_of([third], [TRUE]).compute()["ap"]


def test_parts_of_the_test_set_are_merged():
    wrong = [[50, 50, 1]] * 3
    whole = metric_of([TRUE, wrong], [TRUE, TRUE])
    first, second = metric_of([TRUE], [TRUE]), metric_of([wrong], [TRUE])
    second.state()[0]["pictures"][:] = 1
    first.merge([first.state(), second.state()])
    assert first.compute() == whole.compute()
    assert first.compute()["ap50"] == pytest.approx(0.5, abs=0.01)


def test_sizes_have_rows_of_their_own():
    assert "ap_medium" not in metric_of([TRUE], [TRUE], area=400).compute()
    assert metric_of([TRUE], [TRUE], area=2000).compute()["ap_medium"] == pytest.approx(1)
    assert metric_of([TRUE], [TRUE], area=20_000).compute()["ap_large"] == pytest.approx(1)


def test_all_objects_of_a_picture_count():
    """Of which pycocotools' own summary takes 20."""
    count = 30
    true = np.tile(np.array(TRUE, np.float32), (count, 1, 1)) + 40 * np.arange(count)[:, None, None] * [1, 0, 0]
    metric = KeypointPrecision(SIGMAS)
    places, sizes = np.tile([0, 0, 1], (count, 1)), np.tile([400.0, 20.0], (count, 1))
    metric.update(true, [true, places, sizes, np.zeros(count, np.int64)])
    assert metric.compute()["ap"] == pytest.approx(1)
    assert metric.compute()["ar"] == pytest.approx(1)


def test_the_sigmas_of_persons_are_pycocotools_own():
    from pycocotools.cocoeval import Params

    np.testing.assert_allclose(COCO_SIGMAS, Params("keypoints").kpt_oks_sigmas)
