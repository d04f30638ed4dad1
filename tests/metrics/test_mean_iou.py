"""Mean IoU and Dice, against sets of pixels counted one class after the other."""

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from ppcoordconv.metrics.segmentation import MeanIoU


def batches(seed, classes, ignored=0.1):
    rng = np.random.default_rng(seed)
    for _ in range(3):
        logits = rng.standard_normal([2, classes, 5, 7]).astype("float32")
        mask = rng.integers(0, classes, [2, 5, 7]).astype("uint8")
        mask[rng.random(mask.shape) < ignored] = 255
        yield logits, mask


@settings(max_examples=examples(40))
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_it_is_the_quotient_of_sets_of_pixels(seed, classes):
    metric, found, true = MeanIoU(classes), [], []
    for logits, mask in batches(seed, classes):
        metric.update(logits, [mask])
        found.append(logits.argmax(axis=1)[mask != 255])
        true.append(mask[mask != 255])
    found, true = np.concatenate(found), np.concatenate(true)
    ious, dices = [], []
    for number in range(classes):
        a, b = found == number, true == number
        if b.any():
            ious.append((a & b).sum() / (a | b).sum())
            dices.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    expected = {"miou": np.mean(ious), "dice": np.mean(dices), "pixel_accuracy": (found == true).mean()}
    assert metric.compute() == pytest.approx(expected)


def test_the_parts_of_several_processes_are_the_whole_and_what_is_kept_does_not_grow():
    whole, parts = MeanIoU(3), [MeanIoU(3), MeanIoU(3)]
    for number, (logits, mask) in enumerate(batches(0, 3)):
        whole.update(logits, [mask])
        parts[number % 2].update(logits, [mask])
    merged = MeanIoU(3)
    merged.merge([part.state() for part in parts])
    assert merged.compute() == whole.compute()
    assert len(whole.state()) == 1


def test_a_class_that_is_not_there_counts_for_nothing_and_its_report_says_none():
    metric = MeanIoU(3)
    logits = np.zeros([1, 3, 2, 2], "float32")
    logits[0, 0] = 1
    metric.update(logits, [np.array([[[0, 0], [0, 2]]], "uint8")])
    assert metric.compute() == pytest.approx({"miou": 0.375, "dice": (6 / 7) / 2, "pixel_accuracy": 0.75})
    report = metric.report(["a", "b", "c"])
    assert [entry["iou"] for entry in report["classes"]] == [0.75, None, 0]
    assert [entry["pixels"] for entry in report["classes"]] == [3, 0, 1]
    assert report["confusion"] == [[3, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_without_a_pixel_that_counts_there_is_no_figure_but_a_nan():
    metric = MeanIoU(2)
    metric.update(np.zeros([1, 2, 2, 2], "float32"), [np.full([1, 2, 2], 255, "uint8")])
    assert np.isnan(metric.compute()["miou"])
    assert metric.compute()["pixel_accuracy"] == 0
