"""Detection: YOLOv3's loss, average precision as COCO defines it, pictures with boxes."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.vision import ops

from ..config import NamedConfig
from ..data.augment import Augmentation
from ..data.boxes import BoxedImage, DetectionData, Letterbox
from ..metrics import Metric
from ..metrics.coco import AveragePrecision
from ..models.yolo import SCALE_X_Y, YOLO, Decoded
from ..ops.nms import MatrixNMS
from ..postprocess import SERVED
from ..postprocess.detection import SCORE_THRESHOLD, Detection
from ..utils.arguments import check_bool, check_number
from ..utils.errors import UserError
from ..viz.draw import boxed, contact_sheet
from . import TASKS, bind_data, build_network, check_window, letterbox_for, padded
from .data_checks import DataCheck, check_boxes

# Predictions that overlap an object so much without being its own are not taught to be nothing.
IGNORE_IOU = 0.7


class _Samples:
    """Inputs, and as targets boxes ``[M, 4]`` in pixels of the input, classes ``[M]`` (-1 where there is no box),
    whether each is a crowd ``[M]``, and by what the picture was scaled ``[]``.

    Parameters:
        whole: what would make an input of the whole picture; if given, the window in that, ``[6]``, is a further field.
    """

    def __init__(
        self,
        images: Sequence[BoxedImage],
        letterbox: Letterbox,
        augmentation: Optional[Augmentation] = None,
        whole: Optional[Letterbox] = None,
        seed: int = 0,
    ) -> None:
        self._images = images
        self._letterbox = letterbox
        self._augmentation = augmentation
        self._whole = whole
        self._seed = seed
        self._most = max(1, max(len(image.boxes) for image in images))

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        image = self._images[index]
        pixels, found, classes, crowd = image.pixels(), image.boxes, image.classes, image.crowd
        part = np.array([0, 0, *image.size[::-1]])
        if self._augmentation:
            # Of its own for each sample: what it draws doesn't depend on the order in which samples are read.
            rng = np.random.default_rng([self._seed, index])
            pixels, found, kept, part = self._augmentation(pixels, found, rng)
            classes, crowd = classes[kept], crowd[kept]
        scale = self._letterbox.scale(pixels.shape[:2])
        boxes = padded((found * scale).astype(np.float32), self._most, 0)
        classes, crowd = padded(classes, self._most, -1), padded(crowd, self._most, False)
        window = [self._letterbox.window(part, image.size, self._whole)] if self._whole else []
        return (self._letterbox(pixels), boxes, classes, crowd, np.float32(scale), *window)


@TASKS.register
class DetectionTask:
    """Boxes around the objects of a picture, and what they are.

    Parameters:
        model: a model that is a ``YOLO``.
        data: a dataset that is a ``DetectionData``.
        image_size: height and width of the network's input, into which pictures are fitted, in pixels.
        sizes: other sizes to train on; each epoch takes one, drawn with its seed.
        flip, crop, colour: what training pictures undergo; ``Augmentation`` tells.
        window: in training, CoordConv has the coordinates that a crop has in its picture, not those in the crop.
        iou_loss: the weight of a further loss, ``1 - iou^2`` of an object and the box that is to find it; PP-YOLO: 2.5.
        nms: whether what is exported leaves one box of those around an object, or leaves that to who serves it.
        score_threshold: the score, 0..1, from which objects are shown, here and by what is exported, and counted by the
            metrics other than AP.
        mean, std: of the red, green and blue samples, on the scale 0..1, by which they are normalised.
    """

    name = "detection"
    metric = "ap"
    num_visualized = 12

    def __init__(
        self,
        model: NamedConfig,
        data: NamedConfig,
        metadata: Optional[Dict[str, Any]] = None,
        image_size: Sequence[int] = (416, 416),
        sizes: Sequence[Sequence[int]] = (),
        flip: bool = False,
        crop: float = 0.0,
        colour: float = 0.0,
        window: bool = False,
        iou_loss: float = 0.0,
        nms: bool = True,
        score_threshold: float = SCORE_THRESHOLD,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        # What measures: it is missed now, rather than after the first epoch.
        import pycocotools  # noqa: F401

        check_number("iou_loss", iou_loss, 0, 100)
        check_bool("nms", nms)
        check_number("score_threshold", score_threshold, 0, 1)
        self._iou_loss = iou_loss
        self._augmentation = Augmentation(flip, crop, colour)
        self._read_data = bind_data(data, DetectionData)
        self._metadata = metadata
        self._labels: List[str] = metadata["labels"] if metadata else self.data.labels
        network = build_network(model, DetectionTask.name, num_classes=len(self._labels))
        if not isinstance(network, YOLO):
            raise UserError(f"task 'detection' takes the model yolo, got {model.name!r}")
        self.network = network
        self.window = window
        check_window(window, network)
        names = ["image_size", *("sizes" for _ in sizes)]
        self._letterboxes = [
            letterbox_for(network, size, mean, std, name) for name, size in zip(names, (image_size, *sizes))
        ]
        self.head = nn.Sequential(Decoded(network), MatrixNMS()) if nms else Decoded(network)
        self._form: Detection = SERVED.build("detection" if nms else "detection_without_nms")
        self._form.score_threshold = score_threshold

    @cached_property
    def data(self) -> DetectionData:
        data: DetectionData = self._read_data()
        if self._metadata:
            data.labels = self._metadata["labels"]
        return data

    def train_samples(self, seed: int) -> _Samples:
        letterbox = self._letterboxes[seed % len(self._letterboxes)]
        whole = self._letterboxes[0] if self.window else None
        return _Samples(self.data.train, letterbox, self._augmentation, whole, seed)

    def test_samples(self) -> _Samples:
        return _Samples(self.data.test, self._letterboxes[0])

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
        total, first = 0.0, 0
        for y, stride, anchors in zip(outputs, self.network.strides, self.network.anchors):
            mine = list(range(first, first + len(anchors)))
            first += len(anchors)
            y = y.astype("float32")
            overlaps = y[:, : len(mine)]
            if self.network.iou_aware:
                y = y[:, len(mine) :]
            total += ops.yolo_loss(
                y, relative, labels, flat, mine, self.network.num_classes, IGNORE_IOU, stride, scale_x_y=SCALE_X_Y
            ).mean()
            if self._iou_loss or self.network.iou_aware:
                places, weights, ious = ious_at_objects(y, relative, every, mine, stride)
                total += self._iou_loss * ((1 - ious**2) * weights).sum() / len(y)
                if self.network.iou_aware:
                    predicted = paddle.gather_nd(overlaps, places)
                    wrong = F.binary_cross_entropy_with_logits(predicted, ious.detach(), reduction="none")
                    total += (wrong * (weights > 0).astype("float32")).sum() / len(y)
        return total

    def metrics(self) -> Metric:
        return AveragePrecision(self._labels, self._form.detections, self._form.score_threshold)

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        pictures = []
        for image, result in zip(self.data.test, self._form.decode(outputs, self._labels)):
            objects = self._form.to_image(result, self._letterboxes[0], image.size)["objects"]
            pictures.append(boxed(image.pixels(), objects, side=192))
        return contact_sheet(pictures, columns=6)

    def check_data(self) -> DataCheck:
        anchors = [list(anchor) for scale in self.network.anchors for anchor in scale]
        return check_boxes(self.data, self._letterboxes[0].image_size, self.box_sizes(), anchors)

    def box_sizes(self) -> np.ndarray:
        """``[n, 2]``, widths and heights of the training boxes, in pixels of the network's input."""
        scaled = [self._letterboxes[0].scale(image.size) * image.boxes[~image.crowd] for image in self.data.train]
        boxes = np.concatenate(scaled)
        return boxes[:, 2:] - boxes[:, :2]

    @property
    def input_shape(self) -> List[int]:
        return self._letterboxes[0].input_shape

    def export_metadata(self) -> Dict[str, Any]:
        return {
            "served_form": self._form.name,
            "preprocess": self._letterboxes[0].to_dict(),
            "labels": self._labels,
            "score_threshold": self._form.score_threshold,
        }


def ious_at_objects(
    y: Tensor, relative: Tensor, every: List[List[int]], mine: List[int], stride: int
) -> Tuple[Tensor, Tensor, Tensor]:
    """How well the boxes fit that are to find the objects: those of the cell an object's middle lies in, and of its
    anchor, the one of all scales that overlaps it most where both have one corner in common (as ``yolo_loss`` chooses).

    Parameters:
        y: a map of a scale, ``[N, A * (5 + num_classes), h, w]``.
        relative: the objects, ``[N, M, 4]``: x and y of the middle, width, height, as parts of the input; 0: none.
        every: all anchors, ``[[width, height], ...]``. mine: the indices of those of this scale.

    Returns:
        The places on the map, ``[N, M, 4]`` (sample, anchor, row, column); the weights ``[N, M]``, ``2 - w h`` as
        ``yolo_loss`` weighs widths, 0 where an object is another scale's or none; and the IoUs ``[N, M]``.
    """
    height, width = y.shape[2:]
    sides = paddle.to_tensor([width * stride, height * stride], dtype="float32")
    sizes = relative[:, :, 2:] * sides
    anchors = paddle.to_tensor(every, dtype="float32")
    both = _area(paddle.minimum(sizes.unsqueeze(2), anchors))
    best = (both / (_area(sizes).unsqueeze(2) + _area(anchors) - both)).argmax(axis=2) - mine[0]
    is_mine = paddle.logical_and(best >= 0, best < len(mine))
    is_mine = paddle.logical_and(is_mine, _area(sizes) > 0)
    anchor = best.clip(0, len(mine) - 1)
    column = (relative[:, :, 0] * width).floor().clip(0, width - 1)
    row = (relative[:, :, 1] * height).floor().clip(0, height - 1)
    sample = paddle.arange(len(y)).unsqueeze(1).expand_as(anchor)
    places = paddle.stack([sample, anchor, row.astype("int64"), column.astype("int64")], axis=2)
    boxes = y.reshape([len(y), len(mine), -1, height, width])[:, :, :4].transpose([0, 1, 3, 4, 2])
    t = paddle.gather_nd(boxes, places)
    cells = paddle.stack([column, row], axis=2)
    middles = (cells + F.sigmoid(t[:, :, :2]) * SCALE_X_Y - (SCALE_X_Y - 1) / 2) * stride
    found = t[:, :, 2:].exp() * paddle.gather(anchors[mine[0] : mine[-1] + 1], anchor.flatten()).reshape(
        [len(y), -1, 2]
    )
    wanted = relative[:, :, :2] * sides
    corners = [
        paddle.maximum(middles - found / 2, wanted - sizes / 2),
        paddle.minimum(middles + found / 2, wanted + sizes / 2),
    ]
    inside = _area((corners[1] - corners[0]).clip(min=0))
    ious = inside / (_area(found) + _area(sizes) - inside).clip(min=1e-9)
    weights = (2 - _area(relative[:, :, 2:])) * is_mine.astype("float32")
    return places, weights, ious


def _area(sides: Tensor) -> Tensor:
    """``[..., 2]`` -> ``[...]``; Paddle's ``prod`` has no gradient at 0."""
    return sides[..., 0] * sides[..., 1]
