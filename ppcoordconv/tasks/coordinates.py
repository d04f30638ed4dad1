"""What the paper's coordinate tasks have in common: squares on a canvas, and a picture of those that are right."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..config import NamedConfig
from ..data.images import Preprocess
from ..data.not_so_clevr import SIZE, Positions
from ..data.points import PointPreprocess
from ..metrics import Means, Metric
from ..postprocess import SERVED
from ..utils.arguments import check_choice
from ..utils.errors import UserError
from ..viz.draw import canvas
from . import bind_data, build_network


class CenteredSamples:
    """Samples, each made from the centre of its square."""

    def __init__(self, centres: np.ndarray, sample: Callable[[np.ndarray], Tuple[np.ndarray, ...]]) -> None:
        self.centres = centres
        self._sample = sample

    def __len__(self) -> int:
        return len(self.centres)

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        return self._sample(self.centres[index])


class CoordinateTask:
    """A network on positions. A task adds its loss, its metrics, and from a centre the target."""

    name: str
    head = None
    preprocess: Any
    # Of a canvas that shows all places at once.
    num_visualized = SIZE * SIZE

    def __init__(self, model: NamedConfig, data: NamedConfig, metadata: Optional[Dict[str, Any]] = None) -> None:
        self._read_data = bind_data(data, Positions)
        self.network = build_network(model)
        takes = list(getattr(self.network, "input_shape", []))
        if takes != self.input_shape:
            raise UserError(f"task {self.name!r} takes a model with inputs of {self.input_shape}, got {model.name!r}")

    @cached_property
    def data(self) -> Positions:
        data: Positions = self._read_data()
        return data

    def sample(self, centre: np.ndarray) -> Tuple[np.ndarray, ...]:
        return self.preprocess(self.input(centre)), self.target(centre)

    def input(self, centre: np.ndarray) -> np.ndarray:
        """What is given to ``preprocess``."""
        return centre

    def target(self, centre: np.ndarray) -> np.ndarray:
        """From a centre ``[2]``, x and y, what the network should give; some take several, ``[N, 2]``."""
        raise NotImplementedError

    def errors(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """How far each output is from its target, ``[N]``."""
        raise NotImplementedError

    def train_samples(self, seed: int) -> CenteredSamples:
        return CenteredSamples(self.data.train, self.sample)

    def test_samples(self) -> CenteredSamples:
        return CenteredSamples(self.data.test, self.sample)

    def visualize_right(self, is_right: np.ndarray) -> np.ndarray:
        """The canvas: grey what was trained on, green and red what was held out and is right and wrong."""
        test = self.data.test[: len(is_right)]
        return canvas(SIZE, {"silver": self.data.train, "green": test[is_right], "red": test[~is_right]})

    @property
    def input_shape(self) -> List[int]:
        return self.preprocess.input_shape

    def export_metadata(self) -> Dict[str, Any]:
        return {"served_form": self.name, "preprocess": self.preprocess.to_dict(), "labels": []}


class PointTask(CoordinateTask):
    """A coordinate task whose network takes points.

    Parameters:
        model: a model that takes points ``[N, 2]`` and gives a number for each pixel, ``[N, 4096]``.
        data: ``not_so_clevr``.
        points: "normalised", -1..1 from the first pixel to the last; or "pixels", 0..63, as in the paper's code.
    """

    def __init__(
        self,
        model: NamedConfig,
        data: NamedConfig,
        metadata: Optional[Dict[str, Any]] = None,
        points: str = "normalised",
    ) -> None:
        check_choice("points", points, ("normalised", "pixels"))
        self.preprocess = PointPreprocess(SIZE, points == "normalised")
        super().__init__(model, data, metadata)


class LocationTask(CoordinateTask):
    """A coordinate task whose network finds a place on a canvas; right is what is the pixel after rounding.

    Parameters:
        model: a model that takes canvases ``[N, 1, 64, 64]`` and gives ``[N, 2]``.
        data: ``not_so_clevr``.
    """

    metric = "accuracy"
    preprocess = Preprocess((SIZE, SIZE), mean=(0.0,), std=(1.0,))

    def errors(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The distance in pixels between the place and what was found, ``[N]``."""
        return np.linalg.norm(self._offsets(outputs, targets), axis=1)

    def metrics(self) -> Metric:
        return Means(
            lambda outputs, targets: {
                "accuracy": self._is_right(outputs, targets[0]),
                "mean_error": self.errors(outputs, targets[0]),
            }
        )

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        return self.visualize_right(self._is_right(outputs, self.target(self.data.test[: len(outputs)])))

    def _is_right(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (self._offsets(outputs, targets).round() == 0).all(axis=1)

    def _offsets(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        found, place = (as_points(SERVED.build(self.name).decode(values, [])) for values in (outputs, targets))
        return found - place


def as_picture(pixels: np.ndarray) -> np.ndarray:
    """A canvas ``[64, 64]`` as a picture file has it: uint8 ``[64, 64, 3]``."""
    return np.repeat(pixels[:, :, None], 3, axis=2)


def pixel_index(centres: np.ndarray) -> np.ndarray:
    """Row by row, 0..4095."""
    return centres[..., 1] * SIZE + centres[..., 0]


def as_points(results: Sequence[Dict[str, Any]]) -> np.ndarray:
    """The "x" and "y" of decoded outputs: ``[N, 2]``."""
    return np.array([[result["x"], result["y"]] for result in results]).reshape(-1, 2)
