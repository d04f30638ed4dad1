"""Optimizers, schedules and the moving average do what their formulas say."""

import numpy as np
import paddle
import pytest
from paddle import nn
from tiny import config

from ppcoordconv.training.optimizers import OPTIMIZERS, SCHEDULES, MovingAverage, build_optimizer, build_schedule
from ppcoordconv.utils.errors import UserError


def one_step(tmp_path, gradient=0.0, **changes):
    """Weights and bias of a layer, all 1 before, after a step with this gradient."""
    layer = nn.Linear(2, 2)
    for parameter in layer.parameters():
        parameter.set_value(paddle.ones_like(parameter))
    run = config(tmp_path, **changes)
    optimizer = build_optimizer(run, layer, build_schedule(run, 10, 50))
    (gradient * sum(parameter.sum() for parameter in layer.parameters())).backward()
    optimizer.step()
    return layer.weight.numpy().ravel().tolist(), layer.bias.numpy().tolist()


CONSTANT = {"schedule": "{name: constant}"}


@pytest.mark.parametrize(("no_decay", "bias"), [("false", 0.95), ("true", 1.0)])
@pytest.mark.parametrize("name", ["sgd", "momentum"])
def test_l2(tmp_path, name, no_decay, bias):
    optimizer = f"{{name: {name}, learning_rate: 0.1, weight_decay: 0.5, no_decay_bias_norm: {no_decay}}}"
    weights, biases = one_step(tmp_path, optimizer=optimizer, **CONSTANT)
    assert weights == pytest.approx([0.95] * 4)
    assert biases == pytest.approx([bias] * 2)


@pytest.mark.parametrize(("no_decay", "bias"), [("false", 0.95), ("true", 1.0)])
def test_adamw_takes_it_off_the_weights(tmp_path, no_decay, bias):
    optimizer = f"{{name: adamw, learning_rate: 0.1, weight_decay: 0.5, no_decay_bias_norm: {no_decay}}}"
    weights, biases = one_step(tmp_path, optimizer=optimizer, **CONSTANT)
    assert weights == pytest.approx([0.95] * 4)
    assert biases == pytest.approx([bias] * 2)


def test_adam_takes_steps_of_the_learning_rate(tmp_path):
    weights, _ = one_step(tmp_path, gradient=123.0, optimizer="{name: adam, learning_rate: 0.1}", **CONSTANT)
    assert weights == pytest.approx([0.9] * 4)


@pytest.mark.parametrize("no_decay", ["false", "true"])
def test_gradients_are_clipped_together(tmp_path, no_decay):
    optimizer = f"{{name: sgd, learning_rate: 1.0, no_decay_bias_norm: {no_decay}}}"
    weights, biases = one_step(tmp_path, gradient=5.0, gradient_clip=0.6, optimizer=optimizer, **CONSTANT)
    assert 1 - np.asarray(weights + biases) == pytest.approx([0.6 / np.sqrt(6)] * 6)


@pytest.mark.parametrize(
    ("rates", "weight", "bias"),
    [
        ("{weight: 0.5}", 0.5, 1),
        ("{bias: 3}", 1, 3),
        ("{'*': 2}", 2, 2),
        ("{'*': 2, bias: 0.25}", 2, 0.25),
        ("{bias: 0.25, '*': 2}", 2, 2),
        ("{}", 1, 1),
    ],
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rates_by_pattern(tmp_path, name, rates, weight, bias):
    """Whatever the optimizer, the first step is its step times the factor, weight decay included."""
    options = f"name: {name}, learning_rate: 0.01, weight_decay: 0.1, no_decay_bias_norm: true"
    plain, plain_bias = one_step(tmp_path, gradient=2.0, optimizer=f"{{{options}}}", **CONSTANT)
    weights, biases = one_step(tmp_path, gradient=2.0, optimizer=f"{{{options}, rates: {rates}}}", **CONSTANT)
    assert np.subtract(1, weights) == pytest.approx(weight * np.subtract(1, plain), rel=1e-4)
    assert np.subtract(1, biases) == pytest.approx(bias * np.subtract(1, plain_bias), rel=1e-4)


def test_rates_of_what_lies_in_a_layer(tmp_path):
    network = nn.Sequential(("body", nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))), ("fc", nn.Linear(2, 2)))
    run = config(tmp_path, optimizer="{name: sgd, rates: {body: 0.5, body.1: 0.25}}")
    build_optimizer(run, network, build_schedule(run, 10, 50))
    found = {name: p.optimize_attr["learning_rate"] for name, p in network.named_parameters()}
    assert list(found.values()) == [0.5, 0.5, 0.25, 0.25, 1.0, 1.0]


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        (
            "{fcc: 10}",
            "^optimizer.rates has the pattern 'fcc', which fits no name in the network.* It has weight, bias",
        ),
        ("{weight: 0}", "optimizer.rates.weight: .*greater than 0, got 0"),
        ("{weight: .inf}", "optimizer.rates.weight: .*finite"),
        ("{weight: fast}", "optimizer.rates.weight: .*number.*got 'fast'"),
        ("10", "optimizer.rates: .*dictionary.*got 10"),
    ],
)
def test_wrong_rates(tmp_path, rates, words):
    with pytest.raises(UserError, match=words):
        one_step(tmp_path, optimizer=f"{{name: sgd, rates: {rates}}}", **CONSTANT)


def rates(tmp_path, steps=50, **changes):
    schedule = build_schedule(config(tmp_path, **{"optimizer.learning_rate": 1.0, **changes}), 10, steps)
    values = []
    for _ in range(steps):
        values.append(schedule())
        schedule.step()
    return values


def test_schedules(tmp_path):
    assert rates(tmp_path, **CONSTANT) == [1.0] * 50
    step = rates(tmp_path, schedule="{name: step, milestones: [1, 3], factor: 0.1}")
    assert step == pytest.approx([1.0] * 10 + [0.1] * 20 + [0.01] * 20)
    cosine = rates(tmp_path, schedule="{name: cosine}")
    assert cosine == pytest.approx([(1 + np.cos(np.pi * i / 50)) / 2 for i in range(50)])
    one_cycle = rates(tmp_path, schedule="{name: one_cycle, pct_start: 0.5}")
    assert one_cycle[0] == pytest.approx(1 / 25)
    assert max(one_cycle) == pytest.approx(1.0)
    assert 23 <= int(np.argmax(one_cycle)) <= 25
    assert one_cycle[-1] < 0.01


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8, 100])
@pytest.mark.parametrize("pct_start", [0.01, 0.25, 0.5, 0.99])
def test_one_cycle_of_any_length(tmp_path, steps, pct_start):
    values = rates(tmp_path, steps, schedule=f"{{name: one_cycle, pct_start: {pct_start}}}")
    assert all(0 <= value <= 1 for value in values)
    assert values[0] == pytest.approx(1 / 25)
    if steps > 3:
        assert max(values) > 0.9
        assert values[-1] < 0.9


def test_warm_up(tmp_path):
    values = rates(tmp_path, schedule="{name: cosine, warmup_steps: 10}")
    assert values[:11] == pytest.approx([i / 10 for i in range(11)])
    assert values[10:] == pytest.approx([(1 + np.cos(np.pi * i / 40)) / 2 for i in range(40)])


@pytest.mark.parametrize(("warmup", "milestones"), [(4, [1, 3]), (15, [1, 3])])
def test_milestones_are_epochs_with_a_warm_up_too(tmp_path, warmup, milestones):
    """An epoch has ten steps; the second warm-up is longer than the first of the milestones."""
    schedule = f"{{name: step, milestones: {milestones}, factor: 0.1, warmup_steps: {warmup}}}"
    values = rates(tmp_path, schedule=schedule)
    assert values[:warmup] == pytest.approx([i / warmup for i in range(warmup)])
    rest = [1.0] * 10 + [0.1] * 20 + [0.01] * 20
    assert values[warmup:] == pytest.approx(rest[warmup:])


def test_every_name_of_the_config_is_there():
    from typing import get_args

    from ppcoordconv.config import Config

    for section, table in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        kinds = get_args(Config.model_fields[section].annotation)
        assert {get_args(kind.model_fields["name"].annotation)[0] for kind in kinds} == set(table)


def test_the_moving_average():
    layer = nn.Linear(1, 1, bias_attr=False)
    layer.weight.set_value(paddle.full([1, 1], 1.0))
    average = MovingAverage(layer, 0.75)
    for value in (2.0, 4.0):
        layer.weight.set_value(paddle.full([1, 1], value))
        average.update()
    expected = 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 4
    with average.average_parameters():
        assert layer.weight.item() == pytest.approx(expected)
    assert layer.weight.item() == 4
    other = MovingAverage(layer, 0.5)
    other.set_state(average.state())
    with other.average_parameters():
        assert layer.weight.item() == pytest.approx(expected)


def test_the_moving_average_of_half_precision_moves():
    """A step adds less than the last bit of a weight."""
    layer = nn.Linear(1, 1, bias_attr=False)
    layer.to(dtype="float16")
    layer.weight.set_value(paddle.full([1, 1], 1.0, "float16"))
    average = MovingAverage(layer, 0.999)
    layer.weight.set_value(paddle.full([1, 1], 1.25, "float16"))
    for _ in range(1000):
        average.update()
    with average.average_parameters():
        assert layer.weight.dtype == paddle.float16
        assert layer.weight.astype("float32").item() == pytest.approx(1.25 - 0.25 * 0.999**1000, abs=1e-3)
    assert layer.weight.astype("float32").item() == 1.25
