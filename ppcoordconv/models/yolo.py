"""YOLOv3 detectors: a backbone, a neck in which CoordConv can be, and a 1x1 convolution for each scale."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence

import paddle
from paddle import Tensor, nn
from paddle.vision import ops

from ..coords import CoordsLike
from ..layers import Conv2D
from ..utils.arguments import check_bool, check_choice, is_size
from ..utils.errors import ArgumentError
from . import MODELS
from .backbones import build_backbone
from .necks import FPN, PPYOLOFPN

# How much the predicted overlap counts in a score, where it is predicted (Long et al. 2020, arXiv:2007.12099).
IOU_AWARE_FACTOR = 0.4
# How far over the edges of its cell a middle may lie (Bochkovskiy et al. 2020, arXiv:2004.10934, section 3.4).
SCALE_X_Y = 1.05


NECKS: Dict[str, Callable[..., Any]] = {
    "fpn": lambda channels, coord_conv, coords: FPN(channels, 64, coord_conv=coord_conv, coords=coords),
    "ppyolo": lambda channels, coord_conv, coords: PPYOLOFPN(
        channels, coord_conv=coord_conv, drop_block=True, spp=True, coords=coords
    ),
}


class YOLO(nn.Layer):
    """A YOLOv3 detector.

    Shape:
        - input: ``[N, 3, H, W]``, floating; H and W multiples of the coarsest stride.
        - output: a list of maps ``[N, A * (5 + num_classes), H / stride, W / stride]``, as ``paddle.vision.ops``'s
          ``yolo_loss`` and ``yolo_box`` take them: for each of the A anchors of a scale x, y, width, height, whether
          there is an object, and its classes. Where it is IoU aware, A channels come before them, of the overlap of
          each box with its object.

    Attributes:
        input_shape: of an input that it takes, without the batch.
        for_task: the one task whose loss takes the list.
        strides: of the maps, in their order. coarsest: the largest of them.
        anchors: for each map, ``[[width, height], ...]`` in pixels.
        num_classes: of the data.
        iou_aware: whether it predicts how well its boxes fit.
    """

    input_shape = (3, 64, 64)
    for_task = "detection"

    def __init__(
        self,
        backbone: nn.Layer,
        neck: nn.Layer,
        anchors: Sequence[Sequence[int]],
        num_classes: int,
        iou_aware: bool,
        reverse: bool,
    ) -> None:
        super().__init__()
        scales = len(backbone.strides)
        each = len(anchors) // scales
        by_scale = [[list(a) for a in anchors[i * each : (i + 1) * each]] for i in range(scales)]
        self.strides = list(backbone.strides)
        self.coarsest = max(self.strides)
        # A neck like PP-YOLO's gives its maps from coarse to fine.
        if reverse:
            self.strides.reverse()
            by_scale.reverse()
        self.anchors = by_scale
        self.num_classes = num_classes
        self.iou_aware = iou_aware
        self.backbone = backbone
        self.neck = neck
        outputs = each * (5 + num_classes + iou_aware)
        self.heads = nn.LayerList([Conv2D(channels, outputs, 1) for channels in neck.out_channels])

    def forward(self, x: Tensor) -> List[Tensor]:
        return [head(y) for head, y in zip(self.heads, self.neck(self.backbone(x)))]


class Decoded(nn.Layer):
    """From a detector's maps to boxes in pixels of its input.

    Parameters:
        network: gives the strides, the anchors, the number of classes, and whether it is IoU aware.
        score_threshold: what scores less is nothing.

    Shape:
        - input: the maps.
        - output: ``[N, P, 4 + num_classes]``: left, top, right, bottom, and a score of 0..1 for each class, of each of
          the P places and anchors.
    """

    def __init__(self, network: YOLO, score_threshold: float = 0.01) -> None:
        super().__init__()
        self._scales = list(zip(network.strides, network.anchors))
        self._num_classes = network.num_classes
        self._iou_aware = network.iou_aware
        self._score_threshold = score_threshold

    def forward(self, maps: List[Tensor]) -> Tensor:
        parts = []
        for y, (stride, anchors) in zip(maps, self._scales):
            shape = paddle.shape(y)
            size = paddle.tile((shape[2:4] * stride).unsqueeze(0), [shape[0], 1]).astype("int32")
            flat = [side for anchor in anchors for side in anchor]
            boxes, scores = ops.yolo_box(
                y.astype("float32"),
                size,
                flat,
                self._num_classes,
                self._score_threshold,
                stride,
                scale_x_y=SCALE_X_Y,
                iou_aware=self._iou_aware,
                iou_aware_factor=IOU_AWARE_FACTOR,
            )
            parts.append(paddle.concat([boxes, scores], axis=2))
        return paddle.concat(parts, axis=1)


@MODELS.register
def yolo(
    num_classes: int = 80,
    backbone: str = "small",
    neck: str = "fpn",
    anchors: Optional[Sequence[Sequence[int]]] = None,
    coord_conv: bool = True,
    coords: CoordsLike = "paddle",
    iou_aware: bool = False,
) -> nn.Layer:
    """A detector.

    Parameters:
        backbone: "small", or of ``paddle.vision``: "resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", ...
        neck: "fpn" or "ppyolo".
        anchors: widths and heights in pixels, from small to large, as many for each scale of the backbone; None: the
            backbone's.
        coord_conv: whether the neck has CoordConv.
        iou_aware: whether it predicts how well its boxes fit, and scores them by that too, as PP-YOLO does.
    """
    check_choice("neck", neck, NECKS)
    check_bool("coord_conv", coord_conv)
    check_bool("iou_aware", iou_aware)
    body = build_backbone(backbone)
    scales = len(body.strides)
    anchors = body.anchors if anchors is None else anchors
    is_pairs = isinstance(anchors, (list, tuple)) and all(is_size(anchor) for anchor in anchors)
    if not is_pairs or not anchors or len(anchors) % scales:
        raise ArgumentError(
            "anchors",
            f"takes [width, height] pairs of whole pixels, as many for each of the {scales} scales of the "
            f"backbone {backbone!r}, got {anchors!r}",
        )
    built = NECKS[neck](body.out_channels, coord_conv, coords)
    return YOLO(body, built, anchors, num_classes, iou_aware, reverse=neck == "ppyolo")
