"""The detector: its maps, its options, and its decoding against the formulas of YOLOv3 written out."""

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import ppcoordconv as pcc
from ppcoordconv.models.backbones import VisionBackbone
from ppcoordconv.models.yolo import SCALE_X_Y, Decoded
from ppcoordconv.ops.nms import MatrixNMS, matrix_nms_numpy
from ppcoordconv.utils.errors import UserError

SIX = [[6, 14], [9, 16], [11, 14], [10, 19], [13, 18], [14, 21]]


def small(**options):
    return pcc.models.create("yolo", num_classes=3, anchors=SIX, **options)


@pytest.mark.parametrize("coord_conv", [True, False])
def test_the_maps_of_a_small_one(coord_conv):
    network = small(coord_conv=coord_conv)
    maps = network(paddle.randn([2, 3, 64, 32]))
    assert [tuple(y.shape) for y in maps] == [(2, 24, 16, 8), (2, 24, 8, 4)]
    assert network.strides == [4, 8]
    assert network.anchors == [SIX[:3], SIX[3:]]
    kinds = [type(layer) for layer in network.neck.sublayers()]
    assert (pcc.CoordConv in kinds) == coord_conv


@pytest.mark.parametrize(
    ("backbone", "neck"),
    [("resnet18", "fpn"), ("resnet50", "ppyolo"), ("mobilenet_v3_small", "ppyolo"), ("shufflenet_v2_x0_25", "fpn")],
)
def test_on_another_backbone_the_anchors_go_with_their_scales(backbone, neck):
    network = pcc.models.create("yolo", num_classes=2, backbone=backbone, neck=neck)
    network.eval()
    maps = network(paddle.randn([1, 3, 64, 96]))
    for y, stride, anchors in zip(maps, network.strides, network.anchors):
        assert tuple(y.shape) == (1, 21, 64 // stride, 96 // stride)
        assert anchors == [list(a) for a in VisionBackbone.anchors[{8: 0, 16: 3, 32: 6}[stride] :][:3]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbone": "resnet17"}, "backbone takes one of small, resnet"),
        ({"neck": "fnp"}, "neck takes one of fpn, ppyolo, got 'fnp'"),
        ({"anchors": SIX[:5]}, "as many for each of the 2 scales of the backbone 'small'"),
        ({"anchors": [[1, 2, 3]] * 6}, r"anchors takes \[width, height\] pairs"),
        ({"anchors": [[1.5, 2]] * 6}, r"anchors takes \[width, height\] pairs of whole pixels"),
        ({"anchors": []}, "anchors takes"),
        ({"coords": "padle"}, "there is no convention 'padle'|did you mean 'paddle'"),
        ({"anchor": SIX}, "did you mean 'anchors'"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(UserError, match=words):
        pcc.models.create("yolo", **{"anchors": SIX, **options})


@settings(max_examples=examples(20))
@given(st.integers(0, 10**6))
def test_decoding_is_yolov3s(seed):
    """Redmon & Farhadi 2018, section 2.1, with the scaled middles of YOLOv4."""
    rng = np.random.default_rng(seed)
    network = small()
    height, width = 8 * rng.integers(1, 4, 2)
    maps = [
        rng.standard_normal([2, 24, height // stride, width // stride]).astype("float32") for stride in network.strides
    ]
    got = Decoded(network, score_threshold=0.0)([paddle.to_tensor(y) for y in maps]).numpy()
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    expected = []
    for y, stride, anchors in zip(maps, network.strides, network.anchors):
        n, _, rows, columns = y.shape
        y = y.reshape(n, 3, 8, rows, columns)
        for a, (anchor_width, anchor_height) in enumerate(anchors):
            for row in range(rows):
                for column in range(columns):
                    tx, ty, tw, th, objectness, *classes = np.moveaxis(y[:, a, :, row, column], 1, 0)
                    x = (column + sigmoid(tx) * SCALE_X_Y - (SCALE_X_Y - 1) / 2) * stride
                    y_ = (row + sigmoid(ty) * SCALE_X_Y - (SCALE_X_Y - 1) / 2) * stride
                    w, h = np.exp(tw) * anchor_width, np.exp(th) * anchor_height
                    edges = [(x - w / 2).clip(0), (y_ - h / 2).clip(0)]
                    edges += [(x + w / 2).clip(None, width - 1), (y_ + h / 2).clip(None, height - 1)]
                    expected.append(np.stack([*edges, *(sigmoid(objectness) * sigmoid(c) for c in classes)], axis=1))
    np.testing.assert_allclose(got, np.stack(expected, axis=1), rtol=1e-4, atol=1e-4)


def test_of_boxes_that_overlap_the_best_stays_on_top():
    boxes = [[10, 10, 30, 30], [11, 10, 31, 30], [40, 40, 50, 50], [10, 10, 30, 30]]
    scores = [[0.9, 0.0], [0.8, 0.0], [0.5, 0.0], [0.0, 0.7]]
    decoded = np.float32([np.concatenate([boxes, scores], axis=1), np.zeros([4, 6])])
    kept = MatrixNMS(keep_top_k=5)(paddle.to_tensor(decoded)).numpy()
    assert kept.shape == (2, 5, 6)
    assert kept[0, 0].tolist() == pytest.approx([0, 0.9, 10, 10, 30, 30])
    assert kept[0, 1].tolist() == pytest.approx([1, 0.7, 10, 10, 30, 30])  # another class
    assert kept[0, 2].tolist() == pytest.approx([0, 0.5, 40, 40, 50, 50])
    assert kept[0, 3, 1] < 0.2  # it lies on the best
    assert (kept[1] == [-1, 0, 0, 0, 0, 0]).all()
    assert (kept[0, 4] == [-1, 0, 0, 0, 0, 0]).all()
    np.testing.assert_array_equal(
        matrix_nms_numpy(decoded)[:, :5], MatrixNMS()(paddle.to_tensor(decoded)).numpy()[:, :5]
    )
