"""Image classification: cross entropy, accuracy, captioned pictures."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor
from PIL import Image

from ..config import NamedConfig
from ..data import ClassificationData, LabelledImages
from ..data.images import Preprocess, check_normalisation, shifted
from ..data.picture_augmentation import PRESETS, Augmentation, SoftTargets
from ..metrics import Metric
from ..metrics.classification import Accuracy
from ..postprocess import SERVED
from ..postprocess.classification import caption
from ..utils.arguments import check_choice, check_int, is_size
from ..utils.errors import ArgumentError, UserError
from ..viz.draw import captioned, contact_sheet
from . import TASKS, bind_data, build_network, check_labels, check_window
from .data_checks import DataCheck, check_labelled


class _Samples:
    """Inputs and classes; with ``soft`` what the network is to say, ``[num_classes]``; with ``window`` where the input
    lies in the picture, ``[6]``."""

    def __init__(
        self,
        images: LabelledImages,
        preprocess: Preprocess,
        shift: int = 0,
        window: bool = False,
        seed: int = 0,
        augmentation: Optional[Augmentation] = None,
        soft: Optional[SoftTargets] = None,
    ) -> None:
        self._images = images
        self._preprocess = preprocess
        self._shift = shift
        self._window = window
        self._seed = seed
        self._augmentation = augmentation
        self._soft = soft

    def __len__(self) -> int:
        return len(self._images)

    def pixels(self, index: int) -> np.ndarray:
        return self._images.pixels(index)

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        # Of its own for each sample: what it draws doesn't depend on the order in which samples are read.
        rng = np.random.default_rng([self._seed, index])
        x, window = self._input(index, rng)
        label = self._images.classes[index]
        targets = [label]
        if self._soft:
            other, share = index, 1.0
            if self._soft.mixup:
                other, share = int(rng.integers(len(self))), self._soft.draw_share(rng)
                x = np.float32(share) * x + np.float32(1 - share) * self._input(other, rng)[0]
            targets.append(self._soft(label, self._images.classes[other], share))
        return (x, *targets, *([window] if self._window else []))

    def _input(self, index: int, rng: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
        pixels = self.pixels(index)
        size = np.array(pixels.shape[:2], np.float32)
        part = np.array([0, 0, *size[::-1]], np.float32)
        if self._augmentation:
            image, part = self._augmentation(Image.fromarray(pixels), self._preprocess.image_size, rng)
            x = self._preprocess.of_image(image)
        else:
            x = self._preprocess(pixels)
        if self._shift:
            down, right = rng.integers(-self._shift, self._shift, 2, endpoint=True)
            x = shifted(x, down, right)
            moved = np.array([right, down], np.float32) * (part[2:] - part[:2]) / x.shape[:0:-1]
            part = part - np.tile(moved, 2)
        return x, np.concatenate([part, size]).astype(np.float32)


@TASKS.register
class ClassificationTask:
    """One label for a picture.

    Parameters:
        model: a model that takes ``num_classes`` and gives logits ``[N, num_classes]``.
        data: a dataset that is a ``ClassificationData``.
        image_size: height and width to which pictures are resized, in pixels.
        mean, std: of the red, green and blue samples, on the scale 0..1, by which they are normalised.
        shift: training pictures are moved by up to so many pixels, up or down and left or right.
        window: in training, CoordConv has the coordinates that a moved picture, or a part of one, had before, not those
            where it is.
        augment: what training pictures undergo, "none", "weak" or "strong": ``data.picture_augmentation.PRESETS``.
        label_smoothing, mixup: as ``SoftTargets`` takes them, in training.
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
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        shift: int = 0,
        window: bool = False,
        augment: str = "none",
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        class_weights: Optional[str] = None,
    ) -> None:
        if class_weights is not None:
            check_choice("class_weights", class_weights, ("balanced",))
        self._is_balanced = class_weights is not None
        if not is_size(image_size):
            raise ArgumentError("image_size", f"takes a height and a width in pixels, [32, 32], got {image_size!r}")
        check_int("shift", shift, 0, min(image_size))
        check_choice("augment", augment, ["none", *PRESETS])
        self._augmentation = PRESETS.get(augment)
        check_normalisation(mean, std)
        self._preprocess = Preprocess((image_size[0], image_size[1]), tuple(mean), tuple(std))
        self._shift = shift
        self._read_data = bind_data(data, ClassificationData)
        self._metadata = metadata
        self._labels: List[str] = metadata["labels"] if metadata else self.data.labels
        self.network = build_network(model, num_classes=len(self._labels))
        self.window = window
        check_window(window, self.network)
        soft = SoftTargets(len(self._labels), label_smoothing, mixup)
        self._soft = soft if label_smoothing or mixup else None
        if window and (mixup or (self._augmentation and self._augmentation.degrees)):
            what = "mixup" if mixup else f"augment={augment!r}, which turns pictures"
            raise ArgumentError("window", f"is one upright part of one picture, and can't be had with {what}")
        smallest = getattr(self.network, "min_side", 1)
        if min(image_size) < smallest:
            raise ArgumentError(
                "image_size", f"takes at least {[smallest] * 2} with the model {model.name!r}, got {list(image_size)}"
            )
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
        options = self._shift, self.window, seed, self._augmentation, self._soft
        return _Samples(self.data.train, self._preprocess, *options)

    def test_samples(self) -> _Samples:
        return _Samples(self.data.test, self._preprocess)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        wanted = [len(targets[0]), len(self._labels)]
        if list(getattr(outputs, "shape", [])) != wanted:
            given = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise UserError(f"a model for classification gives logits [N, num_classes], here {wanted}, got {given}")
        # Not divided by the sum of the weights, so that the parts of a batch add up to it.
        options = {"weight": self._class_weights, "reduction": "none"}
        # What is held out has its classes alone.
        if self._soft and len(targets) > 1:
            return F.cross_entropy(outputs, targets[1], soft_label=True, **options).mean()
        return F.cross_entropy(outputs, targets[0], **options).mean()

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
