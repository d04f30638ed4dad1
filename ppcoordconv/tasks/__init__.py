"""Tasks: each joins a network to data, with a loss, a metric, decoding and pictures.

A class decorated with ``TASKS.register`` in a module of this package is a task of the name in its attribute ``name``.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Protocol, Sequence, Tuple

import numpy as np
from paddle import Tensor, nn

from ..config import Config
from ..utils.registry import Registry

TASKS = Registry("task", __name__)


class Samples(Protocol):
    """A sequence of samples, each a tuple of arrays: the network's input first, then the targets."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]: ...


class Task(Protocol):
    """What the engine and the export know of a task.

    Attributes:
        network: takes a batch of inputs, gives a batch of outputs, or what ``loss`` and ``head`` take.
        head: makes of the network's outputs the batch that is measured, drawn and served; None: they are it.
        metric: the key in ``measure``'s result by which the best weights are chosen; more is better.
    """

    network: nn.Layer
    head: Optional[nn.Layer]
    metric: str

    def train_samples(self, seed: int) -> Samples:
        """The training set as one epoch sees it; ``seed`` decides all that is random."""

    def test_samples(self) -> Samples:
        """The held-out set."""

    def loss(self, outputs: Any, targets: Sequence[Tensor]) -> Tensor:
        """The mean loss of a batch, a scalar."""

    def measure(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, float]:
        """The metrics of the held-out set, from its outputs and targets in order."""

    def draw(self, outputs: np.ndarray) -> np.ndarray:
        """A picture of the first held-out samples with what the network makes of them: uint8 ``[H, W, 3]``."""

    def input_shape(self) -> List[int]:
        """The shape of one input, without the batch."""

    def serving(self) -> Dict[str, Any]:
        """What a predictor must know: the decoder's name ``task``, ``preprocess``, ``labels``."""


def build_task(config: Config) -> Task:
    """The task of a config, with its data and its network.

    Raises:
        UserError: a name or an option that there isn't, data that can't be read, a model that doesn't fit them.
    """
    return TASKS.build(config.task.name, model=config.model, data=config.data, **config.task.options(), **config.export)
