"""Backbones: the maps of each stride, and that they are those of the classifier itself."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle.vision import models as vision

import ppcoordconv as pcc
from ppcoordconv.models.backbones import CHAINS, VISION_BACKBONES, VisionBackbone, build_backbone
from ppcoordconv.utils.errors import ArgumentError

# Of each chain the smallest.
ONE_OF_EACH = {
    "resnet": "resnet18",
    "resnext": "resnext50_32x4d",
    "wide_resnet": "wide_resnet50_2",
    "vgg": "vgg11",
    "densenet": "densenet121",
    "mobilenet_v1": "mobilenet_v1",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3": "mobilenet_v3_small",
    "shufflenet": "shufflenet_v2_x0_25",
}


def test_there_is_one_of_each():
    assert list(ONE_OF_EACH) == list(CHAINS)
    assert set(ONE_OF_EACH.values()) <= set(VISION_BACKBONES)
    assert not {"squeezenet1_0", "inception_v3", "alexnet", "LeNet", "googlenet"} & set(VISION_BACKBONES)


@pytest.mark.parametrize("name", ONE_OF_EACH.values())
def test_the_last_map_is_the_classifiers_and_each_stride_has_one(name):
    paddle.seed(1)
    backbone = build_backbone(name, strides=(4, 8, 16, 32))
    # Without its pool, Paddle's DenseNet fails.
    has_pool = name.startswith("densenet")
    plain = getattr(vision, name)(num_classes=0, with_pool=has_pool)
    plain.set_state_dict(backbone.body.state_dict())
    assert list(plain.state_dict()) == list(backbone.body.state_dict())
    backbone.eval()
    plain.eval()
    x = paddle.randn([1, 3, 64, 96])
    with paddle.no_grad():
        maps = backbone(x)
        last = F.adaptive_avg_pool2d(maps[-1], 1) if has_pool else maps[-1]
        np.testing.assert_array_equal(last.numpy(), plain(x).numpy())
    shapes = [list(y.shape) for y in maps]
    channels = backbone.out_channels
    assert shapes == [[1, c, 64 // stride, 96 // stride] for c, stride in zip(channels, (4, 8, 16, 32))]


def test_a_convolution_that_became_coordconv_is_the_one_that_runs():
    backbone = VisionBackbone("shufflenet_v2_x0_25")
    pcc.convert_to_coordconv(backbone)
    backbone.eval()
    before = [y.numpy() for y in backbone(paddle.ones([1, 3, 64, 64]))]
    layer = next(layer for layer in backbone.sublayers() if isinstance(layer, pcc.CoordConv))
    layer.conv.weight.set_value(layer.conv.weight + 0.1)
    after = [y.numpy() for y in backbone(paddle.ones([1, 3, 64, 64]))]
    assert not np.allclose(before[0], after[0])


def test_statistics_of_a_batch_norm_follow_a_short_training():
    norms = [layer for layer in VisionBackbone("mobilenet_v3_small").sublayers() if hasattr(layer, "_momentum")]
    assert norms
    assert {layer._momentum for layer in norms} == {0.9}


def test_another_name_says_which_there_are():
    with pytest.raises(ArgumentError, match="backbone takes one of small, .*got 'squeezenet1_0'"):
        build_backbone("squeezenet1_0")
