"""A task of milliseconds, for what is promised of every training run."""

from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from ppcoordconv.config import load_config
from ppcoordconv.metrics import Means
from ppcoordconv.metrics.classification import Accuracy
from ppcoordconv.training.trainer import find_resume, train
from ppcoordconv.utils.weights import load_state

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "digits" / "conv.yml"


class TinyTask:
    """Which half of a vector is larger, on 40 samples: an epoch takes milliseconds."""

    metric = "accuracy"
    head = None
    num_visualized = 40
    input_shape = [4]

    def __init__(self, seed=0, dropout=0.2):
        paddle.seed(seed)
        self.network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 2))
        rng = np.random.default_rng(0)
        self.x = rng.standard_normal([40, 4]).astype("float32")
        self.y = (self.x[:, :2].sum(1) > self.x[:, 2:].sum(1)).astype("int64")
        self.poisoned = 0.0

    def train_samples(self, seed):
        noise = np.random.default_rng(seed).standard_normal([40, 4]).astype("float32")
        return [(x + 0.01 * n, y) for x, n, y in zip(self.x, noise, self.y)]

    def test_samples(self):
        return list(zip(self.x, self.y))

    def loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets[0]) + self.poisoned

    def metrics(self):
        return Means(lambda outputs, targets: {"accuracy": outputs.argmax(1) == targets[0]})

    def visualize(self, outputs):
        return np.zeros([4, 4, 3], np.uint8)

    def export_metadata(self):
        return {"served_form": "classification", "preprocess": {}, "labels": ["left", "right"]}


class ReportingTask(TinyTask):
    """The same, with a metric that says more than its numbers."""

    def metrics(self):
        return Accuracy()


def config(tmp_path, **changes):
    overrides = {"epochs": 5, "batch_size": 7, "optimizer.learning_rate": 0.05, "output_dir": tmp_path / "run"}
    overrides.update(changes)
    return load_config(CONFIG, [f"{key}={value}" for key, value in overrides.items()])


def train_or_resume(tmp_path):
    """With a state written at every step."""
    run = config(tmp_path, epochs=60, save_steps=1)
    train(TinyTask(), run, find_resume("auto", run))


def weights(folder):
    return load_state(folder / "last.pdparams")


def assert_same_weights(a, b):
    assert set(a) == set(b)
    assert all((a[key] == b[key]).all() for key in a)
