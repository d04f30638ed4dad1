"""Image classification: cross entropy, accuracy, captioned pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..config import NamedConfig
from ..data import DATASETS, ClassificationData, LabelledImages
from ..data.images import Preprocess, read_image, shifted
from ..models import create
from ..postprocess.decoding import DECODERS
from ..utils.errors import UserError
from ..viz.draw import captioned, contact_sheet
from . import TASKS


class _Samples:
    def __init__(self, images: LabelledImages, preprocess: Preprocess, shift: int = 0, seed: int = 0) -> None:
        self._images = images
        self._preprocess = preprocess
        self._shift = shift
        self._seed = seed

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, index: int) -> np.ndarray:
        image = self._images.images[index]
        return read_image(image) if isinstance(image, Path) else image

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        x = self._preprocess(self.pixels(index))
        if self._shift:
            # Of its own for each sample: what it draws doesn't depend on the order in which samples are read.
            rng = np.random.default_rng([self._seed, index])
            x = shifted(x, *rng.integers(-self._shift, self._shift, 2, endpoint=True))
        return x, self._images.classes[index]


@TASKS.register
class ClassificationTask:
    """One label for a picture.

    Parameters:
        model: a model that takes ``num_classes`` and gives logits ``[N, num_classes]``.
        data: a dataset that is a ``ClassificationData``.
        image_size: height and width to which pictures are resized, in pixels.
        shift: training pictures are moved by up to so many pixels, up or down and left or right.
    """

    name = "classification"
    metric = "accuracy"
    head = None

    def __init__(
        self, model: NamedConfig, data: NamedConfig, image_size: Sequence[int] = (32, 32), shift: int = 0
    ) -> None:
        _check_options(image_size, shift)
        self._preprocess = Preprocess((image_size[0], image_size[1]))
        self._shift = shift
        self._data: ClassificationData = DATASETS.build(data.name, **data.options())
        if "num_classes" in model.options():
            raise UserError(f"model.num_classes follows from the data, {len(self._data.labels)} here; leave it out")
        self.network = create(model.name, num_classes=len(self._data.labels), **model.options())
        takes = list(getattr(self.network, "input_shape", self.input_shape()))
        if takes != self.input_shape():
            raise UserError(f"model {model.name!r} takes images of {takes[1:]}, got task.image_size={list(image_size)}")

    def train_samples(self, seed: int) -> _Samples:
        return _Samples(self._data.train, self._preprocess, self._shift, seed)

    def test_samples(self) -> _Samples:
        return _Samples(self._data.test, self._preprocess)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        return F.cross_entropy(outputs, targets[0])

    def measure(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, float]:
        predicted = [result["class_id"] for result in self._decode(outputs)]
        return {"accuracy": float(np.mean(predicted == targets[0]))}

    def draw(self, outputs: np.ndarray) -> np.ndarray:
        samples = self.test_samples()
        pictures = []
        for i, result in enumerate(self._decode(outputs[:32])):
            right = result["class_id"] == self._data.test.classes[i]
            pictures.append(captioned(samples.pixels(i), f"{result['label']}  {result['score']:.0%}", right, side=64))
        return contact_sheet(pictures, columns=8)

    def input_shape(self) -> List[int]:
        return self._preprocess.input_shape()

    def serving(self) -> Dict[str, Any]:
        return {"task": self.name, "preprocess": self._preprocess.to_dict(), "labels": self._data.labels}

    def _decode(self, outputs: np.ndarray) -> List[Dict[str, Any]]:
        return DECODERS[self.name](outputs, self._data.labels)


def _check_options(image_size: Any, shift: Any) -> None:
    def is_count(value: Any, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    if not (isinstance(image_size, (list, tuple)) and len(image_size) == 2 and all(is_count(n, 1) for n in image_size)):
        raise UserError(f"task.image_size takes a height and a width in pixels, [32, 32], got {image_size!r}")
    if not is_count(shift, 0):
        raise UserError(f"task.shift takes a whole number of pixels, at least 0, got {shift!r}")
