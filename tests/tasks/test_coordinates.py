"""The coordinate tasks: samples, targets, metrics and pictures are what they say, and wrong options are refused."""

import numpy as np
import paddle
import pytest

from ppcoordconv.config import NamedConfig
from ppcoordconv.data.not_so_clevr import square
from ppcoordconv.tasks import TASKS
from ppcoordconv.utils.errors import UserError

MODELS = {
    "coordinate_classification": "coordinate_classification_coordconv",
    "coordinate_regression": "coordinate_regression_coordconv",
    "coordinate_corner": "coordinate_corner",
    "coordinate_rendering": "coordinate_rendering_coordconv",
}


def build(name, model=None, data="not_so_clevr", split="quadrant", **options):
    data = NamedConfig(name=data, **({"split": split} if data == "not_so_clevr" else {}))
    return TASKS.build(name, model=NamedConfig(name=model or MODELS[name]), data=data, **options)


def perfect_outputs(name, centres):
    """What a network would give that has learnt the task."""
    if name == "coordinate_regression":
        return (centres / 64).astype(np.float32)
    if name == "coordinate_corner":
        return (centres[:, ::-1] - 4).astype(np.float32)
    if name == "coordinate_rendering":
        return np.stack([square(c).ravel() for c in centres]).astype(np.float32) - 100
    return 10 * np.eye(4096, dtype=np.float32)[centres[:, 1] * 64 + centres[:, 0]]


def measured(task, outputs, targets):
    metric = task.metrics()
    for part in np.array_split(np.arange(len(outputs)), 5):
        metric.update(outputs[part], [target[part] for target in targets])
    return metric.compute()


@pytest.mark.parametrize("name", MODELS)
def test_the_metric_of_right_and_of_wrong_outputs(name):
    task = build(name)
    samples = task.test_samples()
    targets = [np.stack([samples[i][1] for i in range(len(samples))])]
    outputs = perfect_outputs(name, samples.centres)
    assert measured(task, outputs, targets)[task.metric] == 1
    assert float(task.loss(paddle.to_tensor(outputs[:32]), [paddle.to_tensor(targets[0][:32])])) < 0.2
    wrong = perfect_outputs(name, samples.centres - [1, 0])
    half = np.concatenate([outputs[:392], wrong[392:]])
    # A square that is one column off shares 72 of 90 pixels.
    expected = (1 + 72 / 90) / 2 if name == "coordinate_rendering" else 0.5
    assert measured(task, half, targets)[task.metric] == pytest.approx(expected)
    if task.input_shape == [1, 64, 64]:
        assert measured(task, half, targets)["mean_error"] == pytest.approx(0.5)


@pytest.mark.parametrize("name", MODELS)
def test_the_network_takes_the_samples_and_learns(name):
    paddle.seed(0)
    task = build(name)
    samples = task.train_samples(0)
    batch = [samples[i] for i in range(0, 2352, 600)]
    inputs, targets = (paddle.to_tensor(np.stack(field)) for field in zip(*batch))
    optimizer = paddle.optimizer.Adam(0.01, parameters=task.network.parameters())
    losses = []
    for _ in range(8):
        loss = task.loss(task.network(inputs), [targets])
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_inputs():
    centre = np.array([40, 17])
    assert build("coordinate_classification").sample(centre)[0].tolist() == pytest.approx([80 / 63 - 1, 34 / 63 - 1])
    assert build("coordinate_classification", points="pixels").sample(centre)[0].tolist() == [40, 17]
    canvas = build("coordinate_regression").sample(centre)[0]
    assert canvas.shape == (1, 64, 64)
    assert canvas[0, 17, 40] == 1
    assert np.count_nonzero(canvas) == 1
    canvas, corner = build("coordinate_corner").sample(centre)
    assert corner.tolist() == [13, 36]
    assert canvas[0, 13:22, 36:45].min() == 1
    assert canvas.sum() == 81


@pytest.mark.parametrize("name", MODELS)
def test_the_picture_shows_what_is_wrong(name):
    task = build(name)
    right = perfect_outputs(name, task.data.test)
    wrong = right.copy()
    wrong[0] = perfect_outputs(name, task.data.test[1:2])[0]
    pictures = [task.visualize(outputs) for outputs in (right, wrong)]
    assert all(p.dtype == np.uint8 and p.ndim == 3 for p in pictures)
    red = [int(((p[..., 0] > 200) & (p[..., 1] < 50) & (p[..., 2] < 50)).sum()) for p in pictures]
    assert red[0] == 0 < red[1]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "coordinate_classification",
            {"data": "digits"},
            "of Positions, and 'digits' gives ClassificationData",
        ),
        ("coordinate_classification", {"model": "aistudio_conv"}, r"inputs of \[2\], got 'aistudio_conv'"),
        ("coordinate_regression", {"model": MODELS["coordinate_rendering"]}, r"inputs of \[1, 64, 64\]"),
        ("coordinate_rendering", {"points": "raw"}, "^points takes one of normalised, pixels, got 'raw'"),
        ("coordinate_regression", {"points": "pixels"}, "has no option 'points'"),
    ],
)
def test_wrong_options(name, options, words):
    with pytest.raises(UserError, match=words):
        build(name, **options).test_samples()
