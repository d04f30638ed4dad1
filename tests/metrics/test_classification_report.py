"""Accuracy, top-5, the report of each class and its picture, and what is said of a result that chance gives, too."""

import json
import warnings

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from ppcoordconv.metrics.classification import Accuracy
from ppcoordconv.training.writer import RUN_FILES


def measured(logits, targets, batch_size=7):
    metric = Accuracy()
    for start in range(0, len(logits), batch_size):
        metric.update(logits[start : start + batch_size], [targets[start : start + batch_size]])
    return metric


def predicting(predicted, targets, count):
    return measured(np.eye(count, dtype=np.float32)[predicted], np.array(targets))


def labels_of(count):
    return [f"c{n}" for n in range(count)]


@settings(max_examples=examples(50))
@given(st.integers(2, 12), st.integers(1, 40), st.integers(1, 50), st.integers(0, 10**6))
def test_all_figures_are_those_of_their_definitions(count, size, batch_size, seed):
    rng = np.random.default_rng(seed)
    logits, targets = rng.standard_normal([size, count]).astype(np.float32), rng.integers(0, count, size)
    metric = measured(logits, targets, batch_size)
    predicted = logits.argmax(1)
    hits = [sum(row > row[target]) < 5 for row, target in zip(logits, targets)]
    expected = {"accuracy": np.mean(predicted == targets), **({"top5": np.mean(hits)} if count > 5 else {})}
    assert metric.compute() == expected
    report = metric.report(labels_of(count))
    assert json.loads(json.dumps(report)) == report
    confusion = [[int(sum((targets == i) & (predicted == j))) for j in range(count)] for i in range(count)]
    assert report["confusion"] == confusion
    assert {key: report[key] for key in expected} == expected
    assert report["samples"] == size
    for number, entry in enumerate(report["classes"]):
        right = confusion[number][number]
        support, taken = sum(confusion[number]), sum(row[number] for row in confusion)
        assert (entry["label"], entry["support"]) == (f"c{number}", support)
        assert entry["recall"] == pytest.approx(right / max(support, 1))
        assert entry["precision"] == pytest.approx(right / max(taken, 1))
        assert entry["f1"] == pytest.approx(2 * right / max(support + taken, 1))
    for name, value in report["macro"].items():
        assert value == pytest.approx(np.mean([e[name] for e in report["classes"] if e["support"]]))


def test_top_5_of_equal_scores_is_that_of_the_first_five():
    assert measured(np.zeros([10, 10], np.float32), np.arange(10)).compute() == {"accuracy": 0.1, "top5": 0.5}


def test_parts_of_the_test_set_are_merged():
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal([30, 6]), rng.integers(0, 6, 30)
    whole = measured(logits, targets)
    states = [measured(logits[part], targets[part]).state() for part in np.array_split(np.arange(30), 4)]
    merged = measured(logits[:8], targets[:8])
    merged.merge(states)
    assert merged.compute() == whole.compute()
    assert merged.report(labels_of(6)) == whole.report(labels_of(6))
    assert (merged.pictures(labels_of(6))["confusion"] == whole.pictures(labels_of(6))["confusion"]).all()


def test_two_numbers_and_a_flag_are_kept_of_a_sample():
    (batch,) = measured(np.zeros([4, 10_000], np.float32), np.arange(4)).state()
    assert sum(values.nbytes for values in batch.values()) == 4 * 9
    assert all(values.base is None for values in batch.values())


@pytest.mark.parametrize("count", [2, 10, 31, 100])
def test_the_picture_is_dark_where_samples_are(count):
    targets = np.repeat(np.arange(count), 3)
    right, wrong = (
        predicting(found, targets, count).pictures(labels_of(count))["confusion"]
        for found in (targets, (targets + 1) % count)
    )
    assert right.dtype == np.uint8
    assert max(right.shape) < 2000
    assert right.shape == wrong.shape
    dark = lambda picture: (picture[..., 2] > 80) & (picture[..., 0] < 40)  # noqa: E731
    rows, columns = np.nonzero(dark(right))
    # The cells of the diagonal are that share of the square that they span.
    assert dark(right).sum() == pytest.approx(np.ptp(rows) * np.ptp(columns) / count, rel=0.25)
    assert (dark(right) & dark(wrong)).mean() < 0.01
    # From the upper left to the lower right.
    assert np.corrcoef(rows, columns)[0, 1] > 0.7


def test_names_that_a_font_or_formula_may_stumble_over():
    labels = ["鸟", "$a_{b$", "x" * 300, "\\frac{"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = predicting([0, 1, 2, 3], [0, 1, 2, 3], 4).pictures(labels)["confusion"]
    assert picture.shape[1] < 700


def test_more_classes_than_a_matrix_is_given_of():
    metric = predicting([0, 1, 1500], [0, 1, 2], 2000)
    assert metric.pictures(labels_of(2000)) == {}
    report = metric.report(labels_of(2000))
    assert "confusion" not in report
    assert report["classes"][1] == {"label": "c1", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    bound = predicting([0, 1], [0, 1], 1000)
    assert "confusion" in bound.report(labels_of(1000))
    assert "confusion" in bound.pictures(labels_of(1000))


def test_the_pictures_are_files_of_a_run():
    assert {f"{name}.png" for name in predicting([0, 1], [0, 1], 2).pictures(["a", "b"])} <= set(RUN_FILES)


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        (30, "accuracy 0.30 is no better than always saying 'cat' (0.50): try more epochs, a lower or higher "),
        (50, "accuracy 0.50 is no better than always saying 'cat' (0.50): try"),
        (60, "accuracy 0.60 is not significantly better than always saying 'cat' (0.50): try"),
        (63, ""),
        (100, ""),
    ],
)
def test_a_result_that_is_no_better_than_chance(right, expected):
    """By the table of the binomial distribution: of 100 throws of a coin, 62 or more come with p = 0.0105."""
    metric = predicting([0] * 100, [0] * 50 + [1] * 25 + [2] * 25, 3)
    said = metric.advice({"accuracy": right / 100}, ["cat", "dog", "bird"])
    assert said.startswith(expected)
    assert bool(said) == bool(expected)


def test_62_of_100_is_not_yet_better_than_chance():
    metric = predicting([0] * 100, [0] * 50 + [1] * 50, 2)
    assert "not significantly better" in metric.advice({"accuracy": 0.62}, ["cat", "dog"])


def test_too_few_samples_to_tell():
    metric = predicting([0, 1, 1, 0], [0, 1, 1, 0], 2)
    said = metric.advice({"accuracy": 1.0}, ["cat", "dog"])
    assert said == "4 held-out samples are too few to tell accuracy 1.00 from always saying 'cat' (0.50); hold out more"
    assert "too few" in predicting([0] * 99, [0] * 99, 2).advice({"accuracy": 1.0}, ["cat", "dog"])
