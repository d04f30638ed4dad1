"""Detection: YOLOv3's loss, average precision as COCO defines it, pictures with boxes."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.vision import ops

from ..average_precision import average_precision
from ..config import NamedConfig
from ..data import DATASETS
from ..data.augment import Augmentation
from ..data.boxes import BoxedImage, DetectionData, Letterbox
from ..decoding import DECODERS
from ..errors import UserError
from ..models import create
from ..models.yolo import SCALE_X_Y, YOLO, Decoded
from ..nms import MatrixNMS, suppressed
from ..pictures import boxed, contact_sheet
from . import TASKS

# Predictions that overlap an object so much without being its own are not taught to be nothing.
IGNORE = 0.7


class _Samples:
    """Inputs, and as targets boxes ``[M, 4]`` in pixels of the input, classes ``[M]`` (-1 where there is no box),
    whether each is a crowd ``[M]``, and by what the picture was scaled ``[]``.
    """

    def __init__(
        self, images: Sequence[BoxedImage], letterbox: Letterbox, augmentation: Optional[Augmentation], seed: int
    ) -> None:
        self._images = images
        self._letterbox = letterbox
        self._augmentation = augmentation
        self._seed = seed
        self._most = max(1, max(len(image.boxes) for image in images))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        image = self._images[index]
        pixels, found, classes, crowd = image.pixels(), image.boxes, image.classes, image.crowd
        if self._augmentation:
            # Of its own for each sample: what it draws doesn't depend on the order in which samples are read.
            rng = np.random.default_rng([self._seed, index])
            pixels, found, kept = self._augmentation(pixels, found, rng)
            classes, crowd = classes[kept], crowd[kept]
        scale = self._letterbox.scale(pixels.shape[:2])
        boxes = np.zeros([self._most, 4], np.float32)
        boxes[: len(found)] = found * scale
        padded = np.full([self._most], -1, np.int64)
        padded[: len(found)] = classes
        crowds = np.zeros([self._most], bool)
        crowds[: len(found)] = crowd
        return self._letterbox(pixels), boxes, padded, crowds, np.float32(scale)


@TASKS.register
class DetectionTask:
    """Boxes around the objects of a picture, and what they are.

    Parameters:
        model: a model that is a ``YOLO``.
        data: a dataset that is a ``DetectionData``.
        image_size: height and width of the network's input, into which pictures are fitted, in pixels.
        sizes: other sizes to train on; each epoch takes one, drawn with its seed.
        flip, crop, colour: what training pictures undergo; ``Augmentation`` tells.
        nms: whether what is exported leaves one box of those around an object, or leaves that to who serves it.
    """

    name = "detection"
    metric = "ap"

    def __init__(
        self,
        model: NamedConfig,
        data: NamedConfig,
        image_size: Sequence[int] = (416, 416),
        sizes: Sequence[Sequence[int]] = (),
        flip: bool = False,
        crop: float = 0.0,
        colour: float = 0.0,
        nms: bool = True,
    ) -> None:
        if not isinstance(nms, bool):
            raise UserError(f"export.nms takes true or false, got {nms!r}")
        self._data: DetectionData = DATASETS.build(data.name, **data.options())
        if not isinstance(self._data, DetectionData):
            raise UserError(f"task 'detection' takes a dataset of boxes, as coco, got {data.name!r}")
        if "num_classes" in model.options():
            raise UserError(f"model.num_classes follows from the data, {len(self._data.labels)} here; leave it out")
        self._augmentation = Augmentation(flip, crop, colour)
        network = create(model.name, num_classes=len(self._data.labels), **model.options())
        if not isinstance(network, YOLO):
            raise UserError(f"task 'detection' takes the model yolo, got {model.name!r}")
        self.network = network
        self._letterboxes = [Letterbox(_size(self.network, size)) for size in (image_size, *sizes)]
        self.head = nn.Sequential(Decoded(self.network), MatrixNMS()) if nms else Decoded(self.network)
        self._form = self.name if nms else f"{self.name}_without_nms"

    def train_samples(self, seed: int) -> _Samples:
        letterbox = self._letterboxes[seed % len(self._letterboxes)]
        return _Samples(self._data.train, letterbox, self._augmentation, seed)

    def test_samples(self) -> _Samples:
        return _Samples(self._data.test, self._letterboxes[0], None, 0)

    def loss(self, outputs: List[Tensor], targets: Sequence[Tensor]) -> Tensor:
        boxes, classes, crowd = targets[:3]
        height, width = (n * self.network.strides[0] for n in outputs[0].shape[2:])
        # Crowds are no objects to learn; what yolo_loss gets without a size it passes over.
        counts = paddle.logical_and(classes >= 0, paddle.logical_not(crowd)).astype("float32").unsqueeze(2)
        middles = (boxes[:, :, :2] + boxes[:, :, 2:]) / 2
        relative = paddle.concat([middles, boxes[:, :, 2:] - boxes[:, :, :2]], axis=2) * counts
        relative = relative / paddle.to_tensor([width, height, width, height], dtype="float32")
        labels = paddle.clip(classes, min=0).astype("int32")
        every = [anchor for anchors in self.network.anchors for anchor in anchors]
        flat = [side for anchor in every for side in anchor]
        total = 0.0
        for y, stride, anchors in zip(outputs, self.network.strides, self.network.anchors):
            total += ops.yolo_loss(
                y.astype("float32"),
                relative,
                labels,
                flat,
                [every.index(anchor) for anchor in anchors],
                self.network.num_classes,
                IGNORE,
                stride,
                scale_x_y=SCALE_X_Y,
            ).mean()
        return total

    def measure(self, outputs: np.ndarray, targets: Sequence[np.ndarray]) -> Dict[str, float]:
        detections = outputs if self._form == self.name else suppressed(outputs)
        return average_precision(detections, targets, self._data.labels)

    def draw(self, outputs: np.ndarray) -> np.ndarray:
        pictures = []
        for image, row in zip(self._data.test, outputs[:12]):
            (result,) = DECODERS[self._form](row[None], self._data.labels)
            pictures.append(boxed(image.pixels(), self._letterboxes[0].on(image.size, result)["objects"], side=192))
        return contact_sheet(pictures, columns=6)

    def box_sizes(self) -> np.ndarray:
        """``[n, 2]``, widths and heights of the training boxes, in pixels of the network's input."""
        scaled = [self._letterboxes[0].scale(image.size) * image.boxes[~image.crowd] for image in self._data.train]
        boxes = np.concatenate(scaled)
        return boxes[:, 2:] - boxes[:, :2]

    def input_shape(self) -> List[int]:
        return self._letterboxes[0].input_shape()

    def serving(self) -> Dict[str, Any]:
        return {"task": self._form, "preprocess": self._letterboxes[0].to_dict(), "labels": self._data.labels}


def _size(network: YOLO, size: Any) -> Tuple[int, int]:
    coarsest = max(network.strides)
    fits = isinstance(size, (list, tuple)) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
    if not fits or any(n % coarsest for n in size):
        raise UserError(f"task.image_size takes a height and a width, multiples of {coarsest} pixels, got {size!r}")
    return size[0], size[1]
