"""Metrics take a test set in batches, and in the parts that several processes have, and keep nothing large of it."""

import gc
import weakref

import numpy as np
import paddle
import pytest
from paddle import nn

from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.metrics import Means
from ppcoordconv.metrics.coco import AveragePrecision
from ppcoordconv.training.evaluation import evaluate

RNG = np.random.default_rng(0)
OUTPUTS, TARGETS = RNG.standard_normal([100, 3]), RNG.integers(0, 3, [100])


def accuracy_and_error():
    return Means(
        lambda outputs, targets: {
            "accuracy": outputs.argmax(axis=1) == targets[0],
            "error": np.linalg.norm(outputs, axis=1),
        }
    )


def updated(metric, part, batch_size):
    for start in range(0, len(part), batch_size):
        indices = part[start : start + batch_size]
        metric.update(OUTPUTS[indices], [TARGETS[indices]])
    return metric


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_means_are_those_of_the_whole_bit_for_bit(batch_size):
    got = updated(accuracy_and_error(), np.arange(100), batch_size).compute()
    expected = {"accuracy": (OUTPUTS.argmax(1) == TARGETS).mean(), "error": np.linalg.norm(OUTPUTS, axis=1).mean()}
    assert got == expected


@pytest.mark.parametrize("processes", [2, 3, 101])
def test_merged_states_count_each_sample_once(processes):
    parts = np.array_split(np.arange(100), processes)
    states = [updated(accuracy_and_error(), part, 7).state() for part in parts]
    whole = updated(accuracy_and_error(), np.arange(100), 100).compute()
    for part in parts[:2]:
        metric = updated(accuracy_and_error(), part, 7)
        metric.merge(states)
        assert metric.compute() == whole


class WideTask:
    """Each output has 100,000 numbers, of which the metric needs one."""

    metric, head, num_visualized, input_shape = "large", None, 3, [2]

    def __init__(self):
        self.network = nn.Linear(2, 100_000)
        self.references, self.largest = [], 0

    def test_samples(self):
        return [(np.ones([2], np.float32), np.float32(n)) for n in range(60)]

    def loss(self, outputs, targets):
        return outputs.mean()

    def metrics(self):
        return Means(self._first)

    def _first(self, outputs, targets):
        gc.collect()
        base = outputs if outputs.base is None else outputs.base
        self.references.append(weakref.ref(base))
        self.largest = max(self.largest, sum(reference() is not None for reference in self.references))
        return {"large": outputs[:, 0]}

    def export_metadata(self):
        return {"served_form": "classification", "preprocess": {}, "labels": []}


def test_evaluation_keeps_no_outputs_but_those_it_shows():
    task = WideTask()
    metrics, outputs = evaluate(task, task.test_samples(), 4)
    assert outputs.shape == (3, 100_000)
    assert outputs.base is None
    assert np.isfinite(metrics["large"])
    # The batch at hand, and the one before it.
    assert task.largest <= 2


def test_evaluation_of_an_exported_model_keeps_no_outputs():
    task = WideTask()

    class Predictor:
        description = {"served_form": "classification"}

        def __call__(self, batch):
            return np.ones([len(batch), 100_000], np.float32)

    assert evaluate_exported(task, Predictor(), task.test_samples(), 4) == {"large": 1}
    assert task.largest <= 2


def test_means_keep_no_view_of_the_outputs():
    metric = Means(lambda outputs, targets: {"first": outputs[:, 0]})
    outputs = np.ones([4, 1000])
    metric.update(outputs, [])
    assert metric.state()[0]["first"].base is None


def test_detections_are_all_that_is_kept_of_boxes_without_nms():
    metric = AveragePrecision(["a"], lambda outputs: outputs[:, :100])
    boxes = np.zeros([2, 5, 4], np.float32)
    rows = np.zeros([2, 20_000, 6], np.float32)
    metric.update(rows, [boxes, np.full([2, 5], -1), np.zeros([2, 5], bool), np.ones([2], np.float32)])
    for picture in metric.state()[0]:
        assert picture.detections.shape == (100, 6)
        assert all(array.base is None for array in picture[:4])
    assert metric.compute()["ap"] == 0


def test_a_network_is_not_trained_by_evaluation():
    task = WideTask()
    before = task.network.weight.numpy().copy()
    task.network.train()
    evaluate(task, task.test_samples(), 60, keep=60)
    assert not task.network.training
    assert (task.network.weight.numpy() == before).all()
    assert paddle.is_grad_enabled()
