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


def one(box, found, score=0.9, category=0):
    truth = [np.float32([[box]]), np.array([[0]]), np.array([[False]]), np.ones([1], np.float32)]
    return measured(np.float32([[[category, score, *found]]]), truth)


def test_a_box_of_half_the_height_has_an_iou_of_one_half():
    """Away from the origin, where a corner is no length."""
    figures = one([30, 40, 50, 60], [30, 40, 50, 50])
    assert (figures["ap50"], figures["ap75"], figures["mean_iou"]) == (pytest.approx(1), 0, 0.5)
    figures = one([30, 40, 50, 60], [30, 40, 40, 60])
    assert (figures["ap50"], figures["ap75"], figures["mean_iou"]) == (pytest.approx(1), 0, 0.5)


@pytest.mark.parametrize(("score", "iou"), [(0.3, 1), (0.29, 0)])
def test_detections_that_score_at_least_three_tenths_count_for_the_mean_iou(score, iou):
    assert one([30, 40, 50, 60], [30, 40, 50, 60], score)["mean_iou"] == iou


def test_a_row_without_a_class_is_no_detection():
    figures = one([30, 40, 50, 60], [30, 40, 50, 60], category=-1)
    assert figures["ap"] == figures["mean_iou"] == 0


def test_a_test_set_without_objects_and_one_of_crowds_measure_zero():
    truth = [np.zeros([1, 1, 4], np.float32), np.array([[-1]]), np.array([[False]]), np.ones([1], np.float32)]
    found = np.float32([[[0, 0.9, 0, 0, 10, 10]]])
    names = ["ap", "ap50", "ap75", "ar1", "ar10", "ar100", "mean_iou"]
    assert measured(found, truth) == dict.fromkeys(names, 0)
    truth[1][:], truth[2][:] = 0, True
    assert measured(found, truth)["mean_iou"] == 0
