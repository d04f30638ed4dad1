"""Metrics: what is measured of a test set, batch by batch, in memory that does not grow with the outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Callable, Dict, List, Sequence

import numpy as np

# A confusion matrix is told of no more classes than that: it has their square of numbers.
MAX_CONFUSION = 1000


class Metric(ABC):
    """A measurement of one test set.

    What a batch is reduced to is small, so that it can be kept, and sent from one process to another.
    """

    def __init__(self) -> None:
        self._batches: List[Any] = []

    def update(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> None:
        """Takes in a batch: outputs ``[N, ...]`` and the targets of the same samples, ``[N, ...]`` each."""
        self._batches.append(self.reduce(outputs, targets))

    @abstractmethod
    def reduce(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Any:
        """What is kept of a batch: arrays and plain values."""

    @abstractmethod
    def compute(self) -> Dict[str, float]:
        """The metrics of all batches, by name."""

    def state(self) -> List[Any]:
        """What is kept of all batches."""
        return self._batches

    def merge(self, states: Sequence[List[Any]]) -> None:
        """Takes the states of several parts of the test set, in their order, in the place of its own."""
        self._batches = [batch for state in states for batch in state]

    def table(self, metrics: Dict[str, float]) -> str:
        """What ``compute`` gave as a text for people, where one says more than the numbers; else empty."""
        return ""

    def report(self, labels: List[str]) -> Dict[str, Any]:
        """What is known beside the metrics, as of each class: plain values, for a JSON file; else empty."""
        return {}

    def pictures(self, labels: List[str]) -> Dict[str, np.ndarray]:
        """The same for people, uint8 ``[H, W, 3]`` by name; the names are also in ``training.writer.RUN_FILES``."""
        return {}

    def advice(self, metrics: Dict[str, float], labels: List[str]) -> str:
        """A line for who has trained to the ``metrics``, on this test set, if something seems wrong; else empty."""
        return ""


class Means(Metric):
    """Means over the samples of numbers that each sample has; a number a sample is all that is kept.

    Parameters:
        of_samples: from outputs and targets to the numbers by name, ``[N]`` each.

    Examples:
        >>> import numpy as np
        >>> accuracy = Means(lambda outputs, targets: {"accuracy": outputs.argmax(1) == targets[0]})
        >>> accuracy.update(np.array([[0.2, 0.8], [0.9, 0.1]]), [np.array([1, 1])])
        >>> accuracy.compute()
        {'accuracy': 0.5}
    """

    def __init__(self, of_samples: Callable[[np.ndarray, Sequence[np.ndarray]], Dict[str, np.ndarray]]) -> None:
        super().__init__()
        self._of_samples = of_samples

    def reduce(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, np.ndarray]:
        # Copies, because a part of the outputs would keep all of them.
        return {name: np.array(values) for name, values in self._of_samples(outputs, targets).items()}

    def compute(self) -> Dict[str, float]:
        return {
            name: float(np.concatenate([batch[name] for batch in self._batches]).mean(dtype=np.float64))
            for name in self._batches[0]
        }
