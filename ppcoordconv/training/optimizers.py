"""From a config to Paddle's optimizers and schedules, and a moving average of the weights."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator

import numpy as np
import paddle
from paddle import nn
from paddle.optimizer import SGD, Adam, AdamW, Momentum, lr
from paddle.regularizer import L2Decay

from ..config import Config
from ..utils.errors import argument_prefix
from ..utils.patterns import names_that_fit


def _one_cycle(rate: float, steps: int, pct_start: float) -> Any:
    # Paddle divides by the steps of the rise and of the fall, less one: both take at least that.
    pct_start = min(max(pct_start, 2 / steps), 1 - 1 / steps)
    return lr.OneCycleLR(rate, steps, end_learning_rate=0.0, phase_pct=pct_start)


# By name: (config, rate, steps of an epoch, steps in all, both after a warmup) -> schedule.
SCHEDULES: Dict[str, Callable[[Any, float, int, int], Any]] = {
    "constant": lambda config, rate, epoch, total: lr.LambdaDecay(rate, lambda step: 1.0),
    "step": lambda config, rate, epoch, total: lr.MultiStepDecay(
        rate, [milestone * epoch - config.warmup_steps for milestone in config.milestones], config.factor
    ),
    "cosine": lambda config, rate, epoch, total: lr.CosineAnnealingDecay(rate, total),
    "one_cycle": lambda config, rate, epoch, total: _one_cycle(rate, max(4, total), config.pct_start),
}
# By name: the class, and the arguments that it takes from the config.
OPTIMIZERS: Dict[str, Any] = {
    "sgd": (SGD, []),
    "momentum": (Momentum, ["momentum"]),
    "adam": (Adam, ["beta1", "beta2"]),
    "adamw": (AdamW, ["beta1", "beta2"]),
}


def build_schedule(config: Config, epoch_steps: int, total_steps: int) -> Any:
    rate, warmup = config.optimizer.learning_rate, getattr(config.schedule, "warmup_steps", 0)
    schedule = SCHEDULES[config.schedule.name](config.schedule, rate, epoch_steps, max(1, total_steps - warmup))
    return lr.LinearWarmup(schedule, warmup, 0.0, rate) if warmup else schedule


def build_optimizer(config: Config, network: nn.Layer, schedule: Any) -> Any:
    kind, names = OPTIMIZERS[config.optimizer.name]
    options = {name: getattr(config.optimizer, name) for name in names}
    if config.gradient_clip is not None:
        options["grad_clip"] = nn.ClipGradByGlobalNorm(config.gradient_clip)
    # Not in groups of parameters, of which Paddle would clip each by itself.
    rates = _rate_factors(config, network)
    undecayed = set()
    for name, parameter in network.named_parameters():
        parameter.optimize_attr["learning_rate"] = rates.get(name, 1.0)
        if config.optimizer.no_decay_bias_norm and parameter.ndim <= 1:
            undecayed.add(parameter.name)
            parameter.regularizer = L2Decay(0.0)
    if kind is AdamW:  # whose decay is no regularizer's
        options["apply_decay_param_fun"] = lambda name: name not in undecayed
    decay = config.optimizer.weight_decay
    return kind(schedule, parameters=network.parameters(), weight_decay=decay, **options)


def _rate_factors(config: Config, network: nn.Layer) -> Dict[str, float]:
    """By a parameter's name; raises a UserError where a pattern fits none."""
    names = [name for name, _ in network.named_parameters()]
    factors: Dict[str, float] = {}
    with argument_prefix("optimizer."):
        for pattern, factor in config.optimizer.rates.items():
            factors.update(dict.fromkeys(names_that_fit("rates", pattern, names), factor))
    return factors


class MovingAverage:
    """The exponential moving average of a network's parameters: after each step, ``a = decay a + (1 - decay) w``."""

    def __init__(self, network: nn.Layer, decay: float) -> None:
        self._network = network
        self._decay = decay
        # Beside a weight in half precision, what one step adds would be less than its last bit.
        self._average = {name: _at_least_float32(p).detach().clone() for name, p in network.named_parameters()}

    def update(self) -> None:
        with paddle.no_grad():
            for name, parameter in self._network.named_parameters():
                average = self._average[name]
                average.set_value(self._decay * average + (1 - self._decay) * _at_least_float32(parameter))

    @contextlib.contextmanager
    def average_parameters(self) -> Iterator[None]:
        parameters = dict(self._network.named_parameters())
        weights = {name: parameter.numpy() for name, parameter in parameters.items()}
        self._set(parameters, self.state())
        try:
            yield
        finally:
            self._set(parameters, weights)

    def state(self) -> Dict[str, np.ndarray]:
        return {name: average.numpy() for name, average in self._average.items()}

    def set_state(self, state: Dict[str, np.ndarray]) -> None:
        self._set(self._average, state)

    @staticmethod
    def _set(tensors: Dict[str, paddle.Tensor], values: Dict[str, np.ndarray]) -> None:
        for name, tensor in tensors.items():
            tensor.set_value(paddle.to_tensor(values[name]).astype(tensor.dtype))


def _at_least_float32(parameter: paddle.Tensor) -> paddle.Tensor:
    return parameter if parameter.dtype == paddle.float64 else parameter.astype("float32")
