"""PP-YOLO's neck equals PaddleDetection's, in keys, shapes and values; both necks trace, deploy and refuse in words.

``paddledet.json`` holds samples of what PaddleDetection's neck computes, with weights that are made from their names
alone. ``PYTHONPATH=. python tests/models/test_necks.py`` makes it again, where paddledet 2.6.0 is installed.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.static import InputSpec

import ppcoordconv as pcc
from ppcoordconv.models.necks import FPN, PPYOLOFPN, DropBlock

STORED = Path(__file__).with_name("paddledet.json")
CHANNELS = [8, 12]
NECKS = {
    "plain": {"in_channels": CHANNELS},
    "coord_conv": {"in_channels": CHANNELS, "coord_conv": True},
    "everything": {"in_channels": CHANNELS, "coord_conv": True, "spp": True, "drop_block": True},
    "everything, short": {
        "in_channels": CHANNELS, "coord_conv": True, "spp": True, "drop_block": True, "conv_block_num": 0,
    },
    "plain, short": {"in_channels": CHANNELS, "drop_block": True, "conv_block_num": 0, "norm_type": "sync_bn"},
    "other blocks": {"in_channels": CHANNELS, "spp": True, "drop_block": True, "block_size": 5, "keep_prob": 0.7},
    "three levels, frozen": {"in_channels": [4, *CHANNELS], "coord_conv": True, "spp": True, "freeze_norm": True},
    "one level": {"in_channels": [8], "coord_conv": True, "spp": True},
}  # fmt: skip


def of_name(name, shape):
    """Numbers that depend on the name alone, such that what passes many layers stays of one magnitude."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype("float32")
    least = 0.5 if name.endswith(("_variance", "weight")) else -0.5
    return rng.uniform(least, least + 1, shape).astype("float32")


def filled(neck):
    state = {key: paddle.to_tensor(of_name(key, value.shape)) for key, value in neck.state_dict().items()}
    missing, unexpected = neck.set_state_dict(state)
    assert not missing
    assert not unexpected
    neck.eval()
    return neck


def maps_for(channels, height=6, width=7, batch=2):
    sizes = [2 ** (len(channels) - 1 - level) for level in range(len(channels))]
    shapes = [[batch, c, height * size, width * size] for c, size in zip(channels, sizes)]
    return [paddle.to_tensor(of_name(f"map {level}", shape)) for level, shape in enumerate(shapes)]


def samples(outputs):
    """32 values of each map, all over it."""
    return [y.flatten().numpy()[:: max(1, int(y.size) // 31)][:32].tolist() for y in outputs]


def assert_same(got, expected, tolerance=1e-5):
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


def count(neck):
    return sum(int(p.size) for p in neck.parameters() if not p.stop_gradient)


def test_parameters_of_pp_yolo():
    neck = PPYOLOFPN(coord_conv=True, spp=True)
    assert count(neck) == 22_681_856
    state = neck.state_dict()
    assert len(state) == 105
    assert sum(int(value.size) for value in state.values()) == 22_699_776
    shapes = {
        "yolo_block.0.conv_module.conv0.conv.conv.weight": [512, 2050, 1, 1],
        "yolo_block.0.conv_module.conv1.conv.weight": [1024, 512, 3, 3],
        "yolo_block.0.conv_module.conv2.conv.conv.weight": [512, 1026, 1, 1],
        "yolo_block.0.conv_module.spp.conv.conv.weight": [512, 2048, 1, 1],
        "yolo_block.0.conv_module.spp.conv.batch_norm._mean": [512],
        "yolo_block.0.conv_module.conv3.conv.weight": [1024, 512, 3, 3],
        "yolo_block.0.conv_module.route.conv.conv.weight": [512, 1026, 1, 1],
        "yolo_block.0.tip.conv.conv.weight": [1024, 514, 3, 3],
        "yolo_block.0.tip.conv.batch_norm.weight": [1024],
        "yolo_transition.0.conv.weight": [256, 512, 1, 1],
        "yolo_transition.1.batch_norm._variance": [128],
        "yolo_block.2.conv_module.conv0.conv.conv.weight": [128, 642, 1, 1],
    }
    assert {key: list(state[key].shape) for key in shapes} == shapes
    assert count(PPYOLOFPN(spp=True)) == 22_644_224
    assert count(PPYOLOFPN(spp=True, freeze_norm=True)) < 22_644_224
    assert neck.out_channels == [1024, 512, 256]


@pytest.mark.parametrize("name", NECKS)
def test_the_values_that_paddledetection_computed(name):
    stored = json.loads(STORED.read_text())[name]
    neck = filled(PPYOLOFPN(**NECKS[name], coords="paddledet_legacy"))
    assert {key: list(value.shape) for key, value in neck.state_dict().items()} == stored["shapes"]
    with paddle.no_grad():
        assert_same(samples(neck(maps_for(NECKS[name]["in_channels"]))), stored["samples"])


@pytest.mark.parametrize("name", NECKS)
def test_it_equals_paddledetections(name):
    """In eval and in training, where both drop the same blocks, and in the gradients."""
    theirs = pytest.importorskip("ppdet.modeling.necks.yolo_fpn").PPYOLOFPN(**NECKS[name])
    ours = PPYOLOFPN(**NECKS[name], coords="paddledet_legacy")
    for key, value in theirs.state_dict().items():
        assert value.stop_gradient == ours.state_dict()[key].stop_gradient
    maps = maps_for(NECKS[name]["in_channels"])
    with paddle.no_grad():
        assert_same(filled(ours)(maps), filled(theirs)(maps))
    # In float64, because the last bit of a float32 decides on which side of leaky ReLU's bend a pixel is.
    maps = [x.astype("float64") for x in maps]
    found = []
    for neck in (ours.to(dtype="float64"), theirs.to(dtype="float64")):
        neck.train()
        paddle.seed(0)
        outputs = neck(maps)
        sum(((y - 1) ** 2).mean() for y in outputs).backward()
        state = neck.state_dict()  # with the statistics
        gradients = {f"gradient of {key}": value.grad for key, value in state.items() if not value.stop_gradient}
        found.append({**state, **gradients, **dict(enumerate(outputs))})
    assert set(found[0]) == set(found[1])
    for key, expected in found[1].items():
        assert_same([found[0][key]], [expected], 1e-4)  # their coordinates are in float32


def test_its_coordinates_are_right_unless_the_legacy_ones_are_asked_for():
    for coords in ("paddle", "paddledet_legacy"):
        options = {} if coords == "paddle" else {"coords": coords}
        neck = PPYOLOFPN(CHANNELS, coord_conv=True, **options)
        layers = [layer for layer in neck.sublayers() if isinstance(layer, pcc.CoordConv)]
        assert len(layers) == 8
        assert {layer.coords for layer in layers} == {coords}
    assert set(pcc.coord_usage(neck)) == {
        f"yolo_block.{i}.{layer}.conv"
        for i in range(2)
        for layer in ("conv_module.conv0", "conv_module.conv2", "conv_module.route", "tip")
    }


@pytest.mark.parametrize("name", ["everything", "plain, short"])
def test_channels_last_is_channels_first_transposed(name):
    first = filled(PPYOLOFPN(**NECKS[name]))
    last = filled(PPYOLOFPN(**NECKS[name], data_format="NHWC"))
    maps = maps_for(CHANNELS)
    with paddle.no_grad():
        transposed = last([x.transpose([0, 2, 3, 1]) for x in maps])
        assert_same([y.transpose([0, 3, 1, 2]) for y in transposed], first(maps), 0)


def test_the_maxima_of_spp():
    pools = PPYOLOFPN([1], spp=True).yolo_block[0].conv_module["spp"]["pools"]
    x = paddle.randn([2, 3, 17, 20])
    sizes = (1, 5, 9, 13)
    expected = [nn.functional.max_pool2d(x, size, stride=1, padding=size // 2) for size in sizes]
    assert_same(pools(x).chunk(4, axis=1), expected, 0)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_drop_block(size):
    paddle.seed(0)
    layer = DropBlock(size, 0.8)
    x = paddle.rand([4, 64, 30, 40]) + 1
    y = layer(x)
    ratio = (y / x).numpy()
    dropped = ratio == 0
    assert dropped.mean() == pytest.approx(0.2, abs=0.03)
    # The rest makes up for it.
    assert ratio[~dropped] == pytest.approx(1 / (1 - dropped.mean()), rel=1e-4)
    # What is dropped is the union of blocks: there is none smaller inside the map.
    margin = size // 2
    padded = paddle.to_tensor(np.pad(dropped, [(0, 0), (0, 0), (margin, margin), (margin, margin)], constant_values=1))
    whole = -nn.functional.max_pool2d(-padded.astype("float32"), size, stride=1)
    assert np.array_equal(nn.functional.max_pool2d(whole, size, stride=1, padding=margin).numpy() > 0, dropped)
    layer.eval()
    assert layer(x) is x


@pytest.mark.parametrize("shape", [[2, 64, 1, 1], [2, 64, 2, 5]])
def test_drop_block_on_maps_smaller_than_a_block(shape):
    paddle.seed(0)
    kept = (DropBlock(3, 0.9)(paddle.ones(shape)) > 0).astype("float32").mean()
    assert 0.5 < float(kept) < 1


def test_drop_block_that_drops_everything():
    assert (DropBlock(1, 1e-9)(paddle.ones([2, 3, 4, 5])) == 0).all()


def test_where_it_drops_and_pools():
    def names(**options):
        return [list(block.conv_module._sub_layers) for block in PPYOLOFPN([4, 8], **options).yolo_block]

    convolutions = ["conv0", "conv1", "conv2", "conv3", "route"]
    assert names() == [convolutions, convolutions]
    assert names(drop_block=True, spp=True) == [
        ["conv0", "conv1", "conv2", "spp", "conv3", "dropblock", "route"],
        ["conv0", "conv1", "dropblock", "conv2", "conv3", "route"],
    ]
    assert names(drop_block=True, spp=True, conv_block_num=0) == [["spp", "dropblock", "route"], ["dropblock", "route"]]


@pytest.mark.parametrize("name", ["everything", "other blocks"])
def test_it_drops_in_training_alone(name):
    neck = filled(PPYOLOFPN(**NECKS[name]))
    maps = maps_for(CHANNELS)
    with paddle.no_grad():
        assert_same(neck(maps), neck(maps), 0)
        neck.train()
        first, second = neck(maps), neck(maps)
    assert all((a != b).any() for a, b in zip(first, second))


BUILDS = {
    **{name: lambda options=options: PPYOLOFPN(**options) for name, options in NECKS.items()},
    "FPN": lambda: FPN([4, 8, 12], 6),
    "plain FPN": lambda: FPN([4, 8], 6, coord_conv=False),
}


@pytest.mark.parametrize("name", BUILDS)
def test_the_deploy_form_computes_the_same(name):
    neck = filled(BUILDS[name]())
    maps = maps_for(neck._in_channels)
    deployed = pcc.convert_to_deploy(neck)
    assert not any(isinstance(layer, nn.BatchNorm2D) for layer in deployed.sublayers())
    with paddle.no_grad():
        assert_same(deployed(maps), neck(maps))


@pytest.mark.parametrize("name", ["everything", "everything, short", "three levels, frozen", "FPN", "plain FPN"])
@pytest.mark.parametrize("deployed", [False, True])
def test_traced_with_free_sizes(name, deployed, tmp_path):
    neck = filled(BUILDS[name]())
    inputs = [maps_for(neck._in_channels, *size) for size in ((6, 7, 2), (1, 3, 1))]
    with paddle.no_grad():
        expected = [neck(maps) for maps in inputs]
    neck = pcc.convert_to_deploy(neck) if deployed else neck
    specs = [InputSpec([None, channels, None, None], "float32") for channels in neck._in_channels]
    traced = paddle.jit.to_static(neck, input_spec=[specs], full_graph=True)
    paddle.jit.save(traced, str(tmp_path / "neck"))
    loaded = paddle.jit.load(str(tmp_path / "neck"))
    for maps, right in zip(inputs, expected):
        assert_same(loaded(*maps), right)


def test_traced_in_training_with_drop_block():
    neck = PPYOLOFPN(**NECKS["everything"])
    traced = paddle.jit.to_static(neck, full_graph=True)
    neck.train()
    maps = maps_for(CHANNELS)
    first, second = traced(maps), traced(maps)
    assert (first[0] != second[0]).any()
    sum(y.mean() for y in first).backward()
    assert all(p.grad is not None for p in neck.parameters() if not p.stop_gradient)


@pytest.mark.parametrize("coord_conv", [True, False])
def test_the_feature_pyramid_written_out(coord_conv):
    neck = filled(FPN([4, 8, 12], 6, coord_conv=coord_conv))

    def convolve(layer, x):
        if not coord_conv:
            return nn.functional.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[2] // 2)
        x = pcc.AddCoords()(x)
        return nn.functional.conv2d(x, layer.conv.weight, layer.conv.bias, padding=layer.conv.weight.shape[2] // 2)

    maps = maps_for([4, 8, 12])
    fine, middle, coarse = (convolve(layer, x) for layer, x in zip(neck.lateral, maps))
    middle = middle + coarse.repeat_interleave(2, axis=2).repeat_interleave(2, axis=3)
    fine = fine + middle.repeat_interleave(2, axis=2).repeat_interleave(2, axis=3)
    expected = [convolve(layer, x) for layer, x in zip(neck.output, (fine, middle, coarse))]
    assert_same(neck(maps), expected)
    assert neck.out_channels == [6, 6, 6]
    sum(y.sum() for y in neck(maps)).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_the_pyramids_coordinates():
    assert {layer.coords for layer in FPN([4, 8], 6, coords="solo").sublayers() if hasattr(layer, "coords")} == {"solo"}
    assert not pcc.coord_usage(FPN([4, 8], 6, coord_conv=False))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: PPYOLOFPN(8), TypeError, "in_channels takes a list of ints, got 8"),
        (lambda: PPYOLOFPN([]), ValueError, "in_channels takes the channels of at least one map"),
        (lambda: PPYOLOFPN([8, 0]), ValueError, "in_channels: expected a positive int, got 0"),
        (lambda: PPYOLOFPN([8, 4.0]), TypeError, "in_channels: expected a positive int, got 4.0"),
        (lambda: PPYOLOFPN([8], norm_type="gn"), ValueError, "norm_type: expected one of .*, got 'gn'"),
        (lambda: PPYOLOFPN([8], data_format="NCL"), ValueError, "data_format: expected one of .*, got 'NCL'"),
        (lambda: PPYOLOFPN([8], freeze_norm=1), TypeError, "freeze_norm: expected True or False, got 1"),
        (lambda: PPYOLOFPN([8], coord_conv="yes"), TypeError, "coord_conv: expected True or False, got 'yes'"),
        (lambda: PPYOLOFPN([8], drop_block=None), TypeError, "drop_block: expected True or False, got None"),
        (lambda: PPYOLOFPN([8], spp=3), TypeError, "spp: expected True or False, got 3"),
        (lambda: PPYOLOFPN([8], conv_block_num=1), ValueError, "conv_block_num takes 2 or 0, got 1"),
        (lambda: PPYOLOFPN([8], conv_block_num=2.0), ValueError, "conv_block_num takes 2 or 0, got 2.0"),
        (lambda: PPYOLOFPN([8], block_size=4), ValueError, "block_size takes an odd int, got 4"),
        (lambda: PPYOLOFPN([8], block_size=0), ValueError, "block_size: expected a positive int, got 0"),
        (lambda: PPYOLOFPN([8], keep_prob=0), ValueError, "keep_prob takes a number above 0 and at most 1, got 0"),
        (lambda: PPYOLOFPN([8], keep_prob="0.9"), TypeError, "keep_prob takes a number above 0 .*, got '0.9'"),
        (lambda: PPYOLOFPN([8], coords="padle"), ValueError, "did you mean 'paddle'"),
        (lambda: FPN(8, 4), TypeError, "in_channels takes a list of ints, got 8"),
        (lambda: FPN([8], 0), ValueError, "out_channels: expected a positive int, got 0"),
        (lambda: FPN([8], 4, coord_conv=1), TypeError, "coord_conv: expected True or False, got 1"),
        (lambda: FPN([8], 4, coord_conv=False, coords="padle"), ValueError, "did you mean 'paddle'"),
    ],
)
def test_wrong_arguments(build, error, words):
    with pytest.raises(error, match=words):
        build()


@pytest.mark.parametrize("build", [lambda: PPYOLOFPN([4, 8]), lambda: FPN([4, 8], 3)])
def test_wrong_maps(build):
    neck, (fine, coarse) = build(), maps_for([4, 8])
    assert len(neck([fine, coarse])) == len(neck((fine, coarse))) == 2
    for maps, error, words in (
        (fine, TypeError, "takes a list of maps, from fine to coarse, got "),
        ([fine], ValueError, r"takes 2 NCHW maps of \[4, 8\] channels, got \[\[2, 4, 12, 14\]\]"),
        ([coarse, fine], ValueError, r"takes 2 NCHW maps of \[4, 8\] channels"),
        ([fine[0], coarse[0]], ValueError, r"takes 2 NCHW maps of \[4, 8\] channels"),
        ([fine[:, :, :11], coarse], ValueError, "each map must be twice as high and wide as the next"),
        ([fine[:, :, :, 1:], coarse], ValueError, "each map must be twice as high and wide as the next"),
    ):
        with pytest.raises(error, match=words):
            neck(maps)


if __name__ == "__main__":
    from ppdet.modeling.necks.yolo_fpn import PPYOLOFPN as Theirs  # noqa: N811

    stored = {}
    for name, options in NECKS.items():
        neck = filled(Theirs(**options))
        with paddle.no_grad():
            outputs = neck(maps_for(options["in_channels"]))
        shapes = {key: list(value.shape) for key, value in neck.state_dict().items()}
        stored[name] = {"shapes": shapes, "samples": samples(outputs)}
    STORED.write_text(json.dumps(stored, indent=None) + "\n")
    print(STORED, file=sys.stderr)
