"""Image classification: cross entropy, accuracy, captioned pictures."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ..config import NamedConfig
from ..data import ClassificationData, LabelledImages
from ..data.images import Preprocess, shifted
from ..metrics import Metric
from ..metrics.classification import Accuracy
from ..postprocess import SERVED
from ..postprocess.classification import caption
from ..utils.arguments import check_choice, check_int, is_size
from ..utils.errors import ArgumentError
from ..viz.draw import captioned, contact_sheet
from . import TASKS, bind_data, build_network, check_labels, check_window
from .data_checks import DataCheck, check_labelled


class _Samples:
    """Inputs and classes, and with ``window`` where the input lies in that made without a shift, ``[6]``."""

    def __init__(
        self, images: LabelledImages, preprocess: Preprocess, shift: int = 0, window: bool = False, seed: int = 0
    ) -> None:
        self._images = images
        self._preprocess = preprocess
        self._shift = shift
        self._window = window
        self._seed = seed

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, index: int) -> np.ndarray:
        return self._images.pixels(index)

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        x = self._preprocess(self.pixels(index))
        down, right = 0, 0
        if self._shift:
            # Of its own for each sample: what it draws doesn't depend on the order in which samples are read.
            rng = np.random.default_rng([self._seed, index])
            down, right = rng.integers(-self._shift, self._shift, 2, endpoint=True)
            x = shifted(x, down, right)
        height, width = x.shape[1:]
        window = np.array([-right, -down, width - right, height - down, height, width], np.float32)
        return (x, self._images.classes[index], *([window] if self._window else []))


@TASKS.register
class ClassificationTask:
    """One label for a picture.

    Parameters:
        model: a model that takes ``num_classes`` and gives logits ``[N, num_classes]``.
        data: a dataset that is a ``ClassificationData``.
        image_size: height and width to which pictures are resized, in pixels.
        shift: training pictures are moved by up to so many pixels, up or down and left or right.
        window: in training, CoordConv has the coordinates that a moved picture had before, not those where it is.
        class_weights: "balanced": in the loss each class weighs as much as the others, however many samples it has.
    """

    name = "classification"
    metric = "accuracy"
    head = None
    num_visualized = 32

    def __init__(
        self,
        model: NamedConfig,
        data: NamedConfig,
        metadata: Optional[Dict[str, Any]] = None,
        image_size: Sequence[int] = (32, 32),
        shift: int = 0,
        window: bool = False,
        class_weights: Optional[str] = None,
    ) -> None:
        if class_weights is not None:
            check_choice("class_weights", class_weights, ("balanced",))
        self._is_balanced = class_weights is not None
        if not is_size(image_size):
            raise ArgumentError("image_size", f"takes a height and a width in pixels, [32, 32], got {image_size!r}")
        check_int("shift", shift, 0, min(image_size))
        self._preprocess = Preprocess((image_size[0], image_size[1]))
        self._shift = shift
        self._read_data = bind_data(data, ClassificationData)
        self._metadata = metadata
        self._labels: List[str] = metadata["labels"] if metadata else self.data.labels
        self.network = build_network(model, num_classes=len(self._labels))
        self.window = window
        check_window(window, self.network)
        takes = list(getattr(self.network, "input_shape", self.input_shape))
        if takes != self.input_shape:
            raise ArgumentError(
                "image_size", f"takes {takes[1:]} with the model {model.name!r}, got {list(image_size)}"
            )

    @cached_property
    def data(self) -> ClassificationData:
        data: ClassificationData = self._read_data()
        check_labels(data.labels, self._metadata)
        return data

    def train_samples(self, seed: int) -> _Samples:
        return _Samples(self.data.train, self._preprocess, self._shift, self.window, seed)

    def test_samples(self) -> _Samples:
        return _Samples(self.data.test, self._preprocess)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        # Not divided by the sum of the weights, so that the parts of a batch add up to it.
        return F.cross_entropy(outputs, targets[0], weight=self._class_weights, reduction="none").mean()

    @cached_property
    def _class_weights(self) -> Optional[Tensor]:
        """``n / (k n_c)``: of the training samples, they are 1 in the mean."""
        if not self._is_balanced:
            return None
        counts = np.bincount(self.data.train.classes, minlength=len(self._labels))
        weights = len(self.data.train) / (len(counts) * np.maximum(counts, 1))
        return paddle.to_tensor(weights.astype(np.float32))

    def metrics(self) -> Metric:
        return Accuracy()

    def check_data(self) -> DataCheck:
        return check_labelled(self.data, self._preprocess.image_size)

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        samples = self.test_samples()
        pictures = []
        for i, result in enumerate(SERVED.build(self.name).decode(outputs, self._labels)):
            right = result["class_id"] == self.data.test.classes[i]
            pictures.append(captioned(samples.pixels(i), caption(result), right, side=64))
        return contact_sheet(pictures, columns=8)

    @property
    def input_shape(self) -> List[int]:
        return self._preprocess.input_shape

    def export_metadata(self) -> Dict[str, Any]:
        return {"served_form": self.name, "preprocess": self._preprocess.to_dict(), "labels": self._labels}
