"""From a config to Paddle's optimizers and schedules, and a moving average of the weights."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, List

import numpy as np
import paddle
from paddle import nn
from paddle.optimizer import SGD, Adam, AdamW, Momentum, lr

from ..config import Config


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
    decayed: List[Any] = []
    rest: List[Any] = []
    for parameter in network.parameters():
        is_decayed = not config.optimizer.no_decay_bias_norm or parameter.ndim > 1
        (decayed if is_decayed else rest).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.optimizer.weight_decay}]
    if rest:
        groups.append({"params": rest, "weight_decay": 0.0})
    return kind(schedule, parameters=groups, **options)


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
