"""Segmentation: a class for each pixel, cross entropy and Dice, mean IoU."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle.nn.functional as F
from paddle import Tensor

from ..config import NamedConfig
from ..data.augment import Augmentation
from ..data.boxes import Letterbox
from ..data.masks import SegmentationData, SegmentedImage
from ..metrics import Metric
from ..metrics.segmentation import MeanIoU
from ..models.segmentation_nets import SegmentationNet
from ..ops.masks import IGNORED
from ..postprocess import SERVED
from ..utils.arguments import check_number
from ..utils.errors import UserError
from ..viz.draw import contact_sheet
from . import TASKS, bind_data, build_network, check_window, letterbox_for
from .data_checks import DataCheck, check_masks

_NO_BOXES = np.zeros([0, 4], np.float32)


class _Samples:
    """Inputs, and as targets masks, uint8 ``[*image_size]``, 255 where nothing counts.

    Parameters:
        window: whether the window in the whole picture's input, ``[6]``, is a further field.
    """

    def __init__(
        self,
        images: Sequence[SegmentedImage],
        letterbox: Letterbox,
        augmentation: Optional[Augmentation] = None,
        window: bool = False,
        seed: int = 0,
    ) -> None:
        self._images = images
        self._letterbox = letterbox
        self._augmentation = augmentation
        self._window = window
        self._seed = seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        image = self._images[index]
        pixels, mask = image.pixels(), image.mask()
        part = np.array([0, 0, *image.size[::-1]])
        if self._augmentation:
            pixels, mask, _, part = self._augmentation.with_mask(pixels, mask, _NO_BOXES, [self._seed, index])
        window = [self._letterbox.window(part, image.size, self._letterbox)] if self._window else []
        return (self._letterbox(pixels), self._letterbox.of_mask(mask), *window)


@TASKS.register
class SegmentationTask:
    """The class of each pixel of a picture.

    Parameters:
        model: a model that gives a score of each class for each pixel, ``unet`` or ``fpn_segmentation``.
        data: a dataset that is a ``SegmentationData``, ``mask_folder``, ``mask_list`` or ``coco_masks``.
        image_size: height and width of the network's input, into which pictures are fitted, in pixels.
        dice: the weight of the Dice loss beside the cross entropy, 0..100.
        flip, crop, colour: what training pictures undergo; ``Augmentation`` tells.
        window: in training, CoordConv has the coordinates that a crop has in its picture, not those in the crop.
        mean, std: of the red, green and blue samples, on the scale 0..1, by which they are normalised.
    """

    name = "segmentation"
    metric = "miou"
    num_visualized = 12
    head = None

    def __init__(
        self,
        model: NamedConfig,
        data: NamedConfig,
        metadata: Optional[Dict[str, Any]] = None,
        image_size: Sequence[int] = (256, 256),
        dice: float = 0.0,
        flip: bool = False,
        crop: float = 0.0,
        colour: float = 0.0,
        window: bool = False,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        check_number("dice", dice, 0, 100)
        self._dice = dice
        self._augmentation = Augmentation(flip, crop, colour)
        self._read_data = bind_data(data, SegmentationData)
        self._metadata = metadata
        self._labels: List[str] = metadata["labels"] if metadata else self.data.labels
        network = build_network(model, SegmentationTask.name, num_classes=len(self._labels))
        if not isinstance(network, SegmentationNet):
            raise UserError(f"task 'segmentation' takes the models unet and fpn_segmentation, got {model.name!r}")
        self.network = network
        self.window = window
        check_window(window, network)
        self._letterbox = letterbox_for(network, image_size, mean, std)

    @cached_property
    def data(self) -> SegmentationData:
        data: SegmentationData = self._read_data()
        if self._metadata:
            data.names = self._metadata["labels"]
        return data

    def train_samples(self, seed: int) -> _Samples:
        return _Samples(self.data.train, self._letterbox, self._augmentation, self.window, seed)

    def test_samples(self) -> _Samples:
        return _Samples(self.data.test, self._letterbox)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        logits, mask = outputs.astype("float32"), targets[0].astype("int64")
        wrong = F.cross_entropy(logits, mask.unsqueeze(1), axis=1, ignore_index=IGNORED, reduction="none")
        loss = wrong.sum() / (mask != IGNORED).astype("float32").sum().clip(min=1)
        if self._dice:
            loss = loss + self._dice * dice_loss(F.softmax(logits, axis=1), mask)
        return loss

    def metrics(self) -> Metric:
        return MeanIoU(len(self._labels))

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        form = SERVED.build(self.name)
        pictures = []
        for image, result in zip(self.data.test, form.decode(outputs, self._labels)):
            pixels = image.pixels()
            pictures.append(form.draw(pixels, np.empty(0), form.to_image(result, self._letterbox, image.size)))
        return contact_sheet(pictures, columns=6)

    def check_data(self) -> DataCheck:
        return check_masks(self.data)

    @property
    def input_shape(self) -> List[int]:
        return self._letterbox.input_shape

    def export_metadata(self) -> Dict[str, Any]:
        return {"served_form": self.name, "preprocess": self._letterbox.to_dict(), "labels": self._labels}


def dice_loss(scores: Tensor, mask: Tensor) -> Tensor:
    """One less the Dice coefficient, the mean over the classes that are there (Milletari et al. 2016, arXiv:1606.04797,
    section 3, with the sums of the batch).

    Parameters:
        scores: ``[N, classes, H, W]``, 0..1. mask: int64 ``[N, H, W]``, 255 where nothing counts.
    """
    counts = (mask != IGNORED).astype("float32").unsqueeze(1)
    wanted = F.one_hot(mask * (mask != IGNORED).astype("int64"), scores.shape[1]).transpose([0, 3, 1, 2]) * counts
    scores = scores * counts
    pixels = wanted.sum([0, 2, 3])
    dice = 2 * (scores * wanted).sum([0, 2, 3]) / ((scores**2).sum([0, 2, 3]) + pixels).clip(min=1e-6)
    there = (pixels > 0).astype("float32")
    return ((1 - dice) * there).sum() / there.sum().clip(min=1)
