"""Instance segmentation as SOLOv2: a category for each cell of a grid, a mask by its kernel; mask AP."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ..config import NamedConfig
from ..data.augment import Augmentation
from ..data.boxes import Letterbox
from ..data.instances import InstanceData, InstanceImage
from ..metrics import Metric
from ..metrics.masks import MaskPrecision
from ..models.solo_net import PackedInstances, SoloNet
from ..ops.masks import box_around
from ..postprocess import SERVED
from ..postprocess.instance_segmentation import SCORE_THRESHOLD, InstanceSegmentation
from ..utils.arguments import check_number
from ..utils.errors import ArgumentError, UserError
from ..viz.draw import contact_sheet
from . import TASKS, bind_data, build_network, letterbox_for, padded
from .data_checks import DataCheck, check_instances

# Of a cell without an object, and of one in a crowd, where nothing is learnt; and of one without a mask.
NOTHING, IN_CROWD, NO_MASK = -1, -2, -1
# Which part of an object's box around its centre of mass cells are to find it in, and how many cells that reaches.
CENTER, REACH = 0.2, 1
# The weight of the masks' loss beside the categories'. All three are the paper's.
MASK_WEIGHT = 3.0


class _Samples:
    """Inputs, and as targets: of each cell the category, int64 ``[S, S]``, and the object whose mask it finds, int64
    ``[S, S]``; and what ``MaskPrecision`` takes: the objects' masks, uint8 ``[M, *image_size]``, their classes ``[M]``
    (-1 where there is no object), whether each is a crowd ``[M]``, and by what the picture was scaled ``[]``.
    """

    def __init__(
        self,
        images: Sequence[InstanceImage],
        letterbox: Letterbox,
        grid: int,
        augmentation: Optional[Augmentation] = None,
        seed: int = 0,
    ) -> None:
        self._images = images
        self._letterbox = letterbox
        self._grid = grid
        self._augmentation = augmentation
        self._seed = seed
        self._most = max(1, max(len(image.classes) for image in images))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        image = self._images[index]
        pixels, masks, classes, crowd = image.pixels(), image.masks(), image.classes, image.crowd
        if self._augmentation:
            last = masks.transpose(1, 2, 0)
            pixels, last, kept, _ = self._augmentation.with_mask(pixels, last, image.boxes, [self._seed, index])
            masks, classes, crowd = last.transpose(2, 0, 1)[kept], classes[kept], crowd[kept]
        fitted = np.zeros([len(masks), *self._letterbox.image_size], np.uint8)
        for place, mask in zip(fitted, masks):
            place[:] = self._letterbox.of_mask(mask) == 1
        cells = cells_of(fitted, classes, crowd, self._grid)
        objects = (padded(values, self._most, fill) for values, fill in ((fitted, 0), (classes, -1), (crowd, False)))
        scale = np.float32(self._letterbox.scale(pixels.shape[:2]))
        return (self._letterbox(pixels), *cells, *objects, scale)


def cells_of(masks: np.ndarray, classes: np.ndarray, crowd: np.ndarray, grid: int) -> Tuple[np.ndarray, np.ndarray]:
    """Which cells are to find which object: those around the centre of its mass; of several objects the smallest.

    Parameters:
        masks: ``[n, H, W]``. classes, crowd: ``[n]``.

    Returns:
        Of each cell the category, -1 of nothing, -2 where a crowd is, and the object's index, -1 of none: ``[S, S]``.
    """
    categories, owners = (np.full([grid, grid], value, np.int64) for value in (NOTHING, NO_MASK))
    height, width = masks.shape[1:]
    rows, columns = (((np.arange(grid) + 0.5) / grid * side).astype(int) for side in (height, width))
    for mask in masks[crowd]:
        categories[mask[rows[:, None], columns] > 0] = IN_CROWD
    sizes = masks.sum(axis=(1, 2), dtype=np.int64)
    for index in np.argsort(-sizes, kind="stable"):
        if crowd[index] or not sizes[index]:
            continue
        left, top, right, bottom = box_around(masks[index] > 0)
        y, x = (places.mean() + 0.5 for places in np.nonzero(masks[index]))
        vertical = _around(y, bottom - top, height, grid)
        horizontal = _around(x, right - left, width, grid)
        categories[vertical, horizontal] = classes[index]
        owners[vertical, horizontal] = index
    return categories, owners


def _around(centre: float, length: float, side: int, grid: int) -> slice:
    """The cells of an axis that are so near to the centre of an object of that length."""
    middle, low, high = (
        min(grid - 1, max(0, int((centre + part * CENTER * length / 2) / side * grid))) for part in (0, -1, 1)
    )
    return slice(max(low, middle - REACH), min(high, middle + REACH) + 1)


@TASKS.register
class InstanceSegmentationTask:
    """The objects of a picture, each with its mask.

    Parameters:
        model: ``solo_net``.
        data: a dataset that is an ``InstanceData``, ``coco_instances``.
        image_size: height and width of the network's input, into which pictures are fitted, in pixels.
        flip, crop, colour: what training pictures undergo; ``Augmentation`` tells.
        score_threshold: the score, 0..1, from which objects are shown, here and by what is exported.
        mean, std: of the red, green and blue samples, on the scale 0..1, by which they are normalised.
    """

    name = "instance_segmentation"
    metric = "ap"
    num_visualized = 12

    def __init__(
        self,
        model: NamedConfig,
        data: NamedConfig,
        metadata: Optional[Dict[str, Any]] = None,
        image_size: Sequence[int] = (96, 96),
        flip: bool = False,
        crop: float = 0.0,
        colour: float = 0.0,
        score_threshold: float = SCORE_THRESHOLD,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        # What measures: it is missed now, rather than after the first epoch.
        import pycocotools  # noqa: F401

        check_number("score_threshold", score_threshold, 0, 1)
        self._augmentation = Augmentation(flip, crop, colour)
        self._read_data = bind_data(data, InstanceData)
        self._metadata = metadata
        self._labels: List[str] = metadata["labels"] if metadata else self.data.labels
        network = build_network(model, InstanceSegmentationTask.name, num_classes=len(self._labels))
        if not isinstance(network, SoloNet):
            raise UserError(f"task 'instance_segmentation' takes the model solo_net, got {model.name!r}")
        if min(image_size) < network.grid * network.stride:
            takes = f"takes at least {network.stride} pixels for each of the {network.grid} cells of model.grid"
            raise ArgumentError("image_size", f"{takes}, got {image_size!r}")
        self.network = network
        self.head = PackedInstances()
        self._letterbox = letterbox_for(network, image_size, mean, std)
        self._form: InstanceSegmentation = SERVED.build(self.name)
        self._form.score_threshold = score_threshold

    @cached_property
    def data(self) -> InstanceData:
        data: InstanceData = self._read_data()
        if self._metadata:
            data.labels = self._metadata["labels"]
        return data

    def train_samples(self, seed: int) -> _Samples:
        return _Samples(self.data.train, self._letterbox, self.network.grid, self._augmentation, seed)

    def test_samples(self) -> _Samples:
        return _Samples(self.data.test, self._letterbox, self.network.grid)

    def loss(self, outputs: List[Tensor], targets: Sequence[Tensor]) -> Tensor:
        logits, kernels, features = (y.astype("float32") for y in outputs)
        categories, owners, masks = targets[:3]
        wanted = F.one_hot(categories.clip(min=0), logits.shape[1]) * _counts(categories >= 0)
        found = (categories >= 0).astype("float32").sum()
        wrong = F.sigmoid_focal_loss(logits.transpose([0, 2, 3, 1]), wanted, reduction="none")
        loss = (wrong * _counts(categories != IN_CROWD)).sum() / (found + 1)
        return loss + MASK_WEIGHT * mask_loss(kernels, features, owners, masks, self.network.stride)

    def metrics(self) -> Metric:
        return MaskPrecision(self._labels, self._form.score_threshold)

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        pictures = []
        for image, result in zip(self.data.test, self._form.decode(outputs, self._labels)):
            result = self._form.to_image(result, self._letterbox, image.size)
            pictures.append(self._form.draw(image.pixels(), np.empty(0), result))
        return contact_sheet(pictures, columns=6)

    def check_data(self) -> DataCheck:
        return check_instances(self.data)

    @property
    def input_shape(self) -> List[int]:
        return self._letterbox.input_shape

    def export_metadata(self) -> Dict[str, Any]:
        return {
            "served_form": self.name,
            "preprocess": self._letterbox.to_dict(),
            "labels": self._labels,
            "score_threshold": self._form.score_threshold,
        }


def _counts(which: Tensor) -> Tensor:
    return which.astype("float32").unsqueeze(3)


def mask_loss(kernels: Tensor, features: Tensor, owners: Tensor, masks: Tensor, stride: int) -> Tensor:
    """One less the Dice coefficient of each cell's mask and its object's, with squares in the denominator (Wang et al.
    2019, arXiv:1912.04488, equation 4); the mean over all cells that have an object.

    Parameters:
        kernels: ``[N, E, S, S]``. features: ``[N, E, h, w]``.
        owners: ``[N, S, S]``, the index of an object or -1. masks: ``[N, M, h * stride, w * stride]``, 0 or 1.
    """
    losses = [0 * kernels.sum() + 0 * features.sum()]  # so that every weight has a gradient without an object, too
    count = 0
    for kernel, feature, owner, mask in zip(kernels, features, owners.flatten(1), masks):
        cells = paddle.nonzero(owner >= 0).flatten()
        if not len(cells):
            continue
        count += len(cells)
        # By rows: in Paddle 2.6 the gradient of gather(axis=1) is wrong.
        weights = paddle.gather(kernel.flatten(1).t(), cells)
        found = F.sigmoid(paddle.matmul(weights, feature.flatten(1)))
        owned = paddle.gather(mask, paddle.gather(owner, cells))  # of the others no copy in float is needed
        wanted = F.avg_pool2d(owned.astype("float32").unsqueeze(0), stride)[0].flatten(1)
        both = (found * wanted).sum(1)
        losses.append((1 - 2 * both / ((found**2).sum(1) + (wanted**2).sum(1) + 1e-4)).sum())
    return paddle.add_n(losses) / max(1, count)
