"""COCO's average precision: crowds, and sizes of objects."""

import numpy as np
import pytest

from ppcoordconv.metrics.coco import AveragePrecision


def measured(found, truth):
    metric = AveragePrecision(["a"], lambda outputs: outputs)
    metric.update(found, truth)
    return metric.compute()


def test_a_crowd_is_not_missed_nor_found_wrongly():
    boxes = np.float32([[[0, 0, 10, 10], [20, 20, 60, 60]]])
    truth = [boxes, np.array([[0, 0]]), np.array([[False, True]]), np.ones([1], np.float32)]
    found = np.float32([[[0, 0.9, 0, 0, 10, 10], [0, 0.95, 25, 25, 35, 35]]])
    assert measured(found, truth)["ap"] == pytest.approx(1)
    truth[2] = np.array([[False, False]])
    assert measured(found, truth)["ap"] < 0.6


def test_sizes_are_those_of_the_picture():
    """Of 20 pixels in the network's input, of 40 in the picture, which is medium."""
    truth = [np.float32([[[0, 0, 20, 20]]]), np.array([[0]]), np.array([[False]]), np.float32([0.5])]
    found = np.float32([[[0, 0.9, 0, 0, 20, 20]]])
    figures = measured(found, truth)
    assert figures["ap_medium"] == pytest.approx(1)
    assert "ap_small" not in figures


def test_where_nothing_is_found_the_rows_of_its_sizes_are_zero():
    truth = [np.float32([[[0, 0, 20, 20]]]), np.array([[0]]), np.array([[False]]), np.ones([1], np.float32)]
    figures = measured(np.full([1, 1, 6], -1, np.float32), truth)
    assert figures["ap_small"] == figures["ar_small"] == figures["ap"] == figures["mean_iou"] == 0
    assert "ap_large" not in figures
