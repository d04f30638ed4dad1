"""PaddleDetection with the necks and converted parts from its YAML, trained, exported and served; its neck repaired."""

import copy
import doctest
import json
import os
import re
import subprocess
import sys

import numpy as np
import paddle
import pytest
from conftest import ROOT
from exported import served
from paddle.static import InputSpec

import ppcoordconv as pcc

pytest.importorskip("ppdet")

from ppdet.core.config.schema import SchemaDict  # noqa: E402
from ppdet.core.workspace import create, global_config, load_config  # noqa: E402
from ppdet.data.transform.batch_operators import Gt2Solov2Target, Gt2YoloTarget  # noqa: E402
from ppdet.modeling.necks import yolo_fpn  # noqa: E402

from ppcoordconv.contrib import ppdet as contrib  # noqa: E402
from ppcoordconv.contrib.ppdet import repair_coords  # noqa: E402

ANCHORS = [[4, 5], [6, 6], [8, 9], [12, 10], [14, 14], [18, 16], [22, 24], [28, 26], [32, 32]]
MASKS = [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
CONFIG = f"""
architecture: YOLOv3
num_classes: 2
norm_type: bn
metric: COCO
use_gpu: false
worker_num: 0
YOLOv3:
  backbone: CoordConvert
  neck: NECK
  yolo_head: YOLOv3Head
  post_process: BBoxPostProcess
MobileNet: {{scale: 0.1, feature_maps: [4, 6, 13], with_extra_blocks: false}}
CoordConvert: {{model: MobileNet}}
NECK: OPTIONS
YOLOv3Head: {{anchors: {ANCHORS}, anchor_masks: {MASKS}, loss: YOLOv3Loss}}
YOLOv3Loss: {{ignore_thresh: 0.7, downsample: [32, 16, 8]}}
BBoxPostProcess:
  decode: {{name: YOLOBox, conf_thresh: 0.005, downsample_ratio: 32, clip_bbox: true}}
  nms: {{name: MultiClassNMS, keep_top_k: 10, score_threshold: 0.01, nms_threshold: 0.45, nms_top_k: 100}}
TestDataset: !ImageFolder {{dataset_dir: pictures}}
TestReader: {{inputs_def: {{image_shape: [3, 64, 96]}}, sample_transforms: []}}
"""
NECKS = {
    "CoordConvFPN": "{out_channels: 16}",
    "CoordConvPPYOLOFPN": "{spp: true, drop_block: true, conv_block_num: 0}",
}


@pytest.fixture
def config(tmp_path):
    """Puts PaddleDetection's one global config back afterwards."""
    before = {key: value.copy() if isinstance(value, SchemaDict) else value for key, value in global_config.items()}

    def load(text, **replacements):
        for word, replacement in replacements.items():
            text = text.replace(word, replacement)
        path = tmp_path / "tiny.yml"
        path.write_text(text)
        return load_config(str(path))

    yield load
    global_config.clear()
    global_config.update(before)


def batch():
    """Two pictures with a bright box in each, and what YOLOv3's loss takes of them."""
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.1, [2, 3, 64, 96]).astype("float32")
    boxes = np.array([[[0.3, 0.4, 0.3, 0.4]], [[0.7, 0.5, 0.2, 0.3]]], "float32")  # centre and size, as parts
    samples = []
    for image, (box,) in zip(images, boxes):
        (x, y), (w, h) = box[:2] * [96, 64], box[2:] * [96, 64]
        image[:, int(y - h / 2) : int(y + h / 2), int(x - w / 2) : int(x + w / 2)] += 1
        label, score = np.array([[1]], "int32"), np.ones([1, 1], "float32")
        samples.append({"image": image, "gt_bbox": box[None], "gt_class": label, "gt_score": score})
    samples = Gt2YoloTarget(ANCHORS, MASKS, [32, 16, 8], num_classes=2)(samples)
    keys = ["image", "target0", "target1", "target2"]
    inputs = {key: paddle.to_tensor(np.stack([sample[key] for sample in samples]).astype("float32")) for key in keys}
    inputs["gt_bbox"] = paddle.to_tensor(boxes)
    inputs["im_shape"] = paddle.to_tensor([[64.0, 96.0]] * 2)
    inputs["scale_factor"] = paddle.ones([2, 2])
    return inputs


@pytest.mark.parametrize("neck", NECKS)
def test_a_detector_from_yaml_trains_and_is_exported(config, tmp_path, neck):
    paddle.seed(0)
    cfg = config(CONFIG, NECK=neck, OPTIONS=NECKS[neck])
    model = create(cfg.architecture)
    assert type(model.neck) is getattr(contrib, neck)
    assert type(model.backbone.conv1._conv) is pcc.CoordConv
    assert {layer.coords for layer in model.neck.sublayers() if isinstance(layer, pcc.CoordConv)} == {"paddle"}
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    inputs, losses = batch(), []
    model.train()
    for _ in range(8):
        loss = model(inputs)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.8 * losses[0]
    model.eval()
    one = {key: inputs[key][:1] for key in ("image", "im_shape", "scale_factor")}
    expected = model(one)
    assert len(expected["bbox"]) > 0
    got = served(exported_by_it(model, tmp_path), {key: value.numpy() for key, value in one.items()})
    np.testing.assert_allclose(got, expected["bbox"].numpy(), rtol=1e-3, atol=1e-3)


def exported_by_it(model, folder):
    """By PaddleDetection's own way, in a process that does what docs/paddledetection.md says for Paddle 3."""
    paddle.save(model.state_dict(), str(folder / "weights.pdparams"))
    page = (ROOT / "docs" / "paddledetection.md").read_text()
    variables = dict(word.split("=") for word in re.search(r"`(FLAGS_\S+ \S+)`", page).group(1).split())
    run = subprocess.run(
        [sys.executable, "-c", EXPORT], cwd=folder, env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return folder / "exported" / "tiny"


EXPORT = """
import ppcoordconv.contrib.ppdet
from ppdet.core.workspace import load_config
from ppdet.engine import Trainer

trainer = Trainer(load_config("tiny.yml"), mode="test")
trainer.load_weights("weights.pdparams")
trainer.export("exported")
"""


# As PaddleDetection's configs have them, smaller; of its GroupNorm's 32 groups it takes no fewer.
SOLOV2 = """
architecture: SOLOv2
num_classes: 2
norm_type: bn
SOLOv2: {backbone: ResNet, neck: FPN, solov2_head: SOLO_HEAD, mask_head: MASK_HEAD}
ResNet: {depth: 18, norm_type: bn, freeze_at: 0, return_idx: [0, 1, 2, 3], num_stages: 4}
FPN: {out_channel: 16}
SOLOv2Head: {in_channels: 16, seg_feat_channels: 16, stacked_convs: 2, num_grids: [8, 6, 4, 3, 2],
  kernel_out_channels: 16, solov2_loss: SOLOv2Loss, mask_nms: MaskMatrixNMS}
SOLOv2MaskHead: {in_channels: 16, mid_channels: 8, out_channels: 16, start_level: 0, end_level: 3}
SOLOv2Loss: {ins_loss_weight: 3.0, focal_loss_gamma: 2.0, focal_loss_alpha: 0.25}
MaskMatrixNMS: {pre_nms_top_n: 50, post_nms_top_n: 10}
"""
TOP_DOWN = """
architecture: ARCHITECTURE
num_joints: 3
TopDownHRNet: {backbone: BACKBONE, width: 18, num_joints: 3, loss: KeyPointMSELoss, flip: false}
HRNet: {width: 18, freeze_at: -1, freeze_norm: false, return_idx: [0]}
KeyPointMSELoss: {use_target_weight: true}
"""
BOTTOM_UP = """
architecture: HigherHRNet
num_joints: 3
HigherHRNet: {backbone: HRNet, hrhrnet_head: HEAD, post_process: HrHRNetPostProcess, eval_flip: false,
  flip_perm: [0, 2, 1]}
HRNet: {width: 18, freeze_at: -1, freeze_norm: false, return_idx: [0]}
HrHRNetHead: {num_joints: 3, width: 18, loss: HrHRNetLoss, swahr: false}
HrHRNetLoss: {num_joints: 3, swahr: false}
HrHRNetPostProcess: {max_num_people: 5, heat_thresh: 0.1, tag_thresh: 1.0}
"""


def solov2_batch():
    """Two pictures with a bright box and its mask, and what SOLOv2's loss takes of them."""
    rng = np.random.default_rng(0)
    samples = []
    for x in (10, 40):
        image, mask = rng.normal(0, 0.1, [3, 64, 96]).astype("float32"), np.zeros([64, 96], "uint8")
        mask[20:50, x : x + 50] = 1
        image += mask
        sample = {"image": image, "gt_class": np.array([[1]], "int32"), "gt_segm": mask[None], "gt_poly": [[]]}
        sample["gt_bbox"], sample["is_crowd"] = np.array([[x, 20, x + 50, 50]], "float32"), np.zeros([1, 1], "int32")
        samples.append({**sample, "im_shape": np.array([64, 96], "float32"), "scale_factor": np.ones(2, "float32")})
    ranges = [[1, 24], [12, 48], [24, 96], [48, 192], [96, 512]]
    samples = Gt2Solov2Target([8, 6, 4, 3, 2], ranges, coord_sigma=0.2)(samples)
    return {key: paddle.to_tensor(np.stack([sample[key] for sample in samples])) for key in samples[0]}


def top_down_batch():
    """Pictures of a person, and the heatmaps of three keypoints."""
    rng = np.random.default_rng(0)
    inputs = {"image": rng.normal(0, 1, [2, 3, 64, 64]), "target": rng.random([2, 3, 16, 16])}
    inputs["target_weight"] = np.ones([2, 3, 1])
    return {key: paddle.to_tensor(value.astype("float32")) for key, value in inputs.items()}


def bottom_up_batch():
    """Pictures of two people, the heatmaps of three keypoints, and where those are."""
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.normal(0, 1, [2, 3, 64, 64]),
        "mask_1x": np.ones([2, 16, 16]),
        "mask_2x": np.ones([2, 32, 32]),
    }
    inputs.update(heatmap_gt1x=rng.random([2, 3, 16, 16]), heatmap_gt2x=rng.random([2, 3, 32, 32]))
    tagmap = [[[[joint, 4 + person, 5 + joint, 1] for joint in range(3)] for person in range(2)]] * 2
    inputs = {key: paddle.to_tensor(value.astype("float32")) for key, value in inputs.items()}
    return {**inputs, "tagmap": paddle.to_tensor(np.array(tagmap))}


CONVERTED = {
    "SOLOv2's head": (SOLOV2, {"SOLO_HEAD": "SOLOv2Head"}, "solov2_head", "all", solov2_batch),
    "SOLOv2's masks": (SOLOV2, {"MASK_HEAD": "SOLOv2MaskHead"}, "mask_head", None, solov2_batch),
    "a keypoint backbone": (TOP_DOWN, {"BACKBONE": "HRNet"}, "backbone", None, top_down_batch),
    "a keypoint model": (TOP_DOWN, {"ARCHITECTURE": "TopDownHRNet"}, "final_conv", "final_conv*", top_down_batch),
    "a keypoint head": (BOTTOM_UP, {"HEAD": "HrHRNetHead"}, "hrhrnet_head", "conv?", bottom_up_batch),
}
PLAIN = {
    "SOLO_HEAD": "SOLOv2Head",
    "MASK_HEAD": "SOLOv2MaskHead",
    "ARCHITECTURE": "TopDownHRNet",
    "BACKBONE": "HRNet",
    "HEAD": "HrHRNetHead",
}


@pytest.mark.parametrize("name", CONVERTED)
def test_converted_parts_from_yaml(config, tmp_path, name):
    """The same output as without, then the same training, with weights on the coordinates."""
    text, replacement, part, match, make_batch = CONVERTED[name]
    (word, kind), batch = *replacement.items(), make_batch()
    plain = create(config(text, **PLAIN).architecture)
    whole = kind == "TopDownHRNet"
    weights = tmp_path / "plain.pdparams"
    paddle.save((plain if whole else getattr(plain, part)).state_dict(), str(weights))
    section = f"CoordConvert: {{model: {kind}, match: {json.dumps(match)}, pretrained: {weights}}}"
    cfg = config(text + section, **{**PLAIN, word: "CoordConvert"})
    model = create(cfg.architecture)
    assert type(model) is type(plain)
    names = [name for name, layer in model.named_sublayers() if isinstance(layer, pcc.CoordConv)]
    assert names
    assert {name.split(".")[0] for name in names} == {part}
    others = {key: value for key, value in plain.state_dict().items() if not key.startswith(f"{part}.")}
    model.set_state_dict(others)
    expected, losses = float(plain(dict(batch))["loss"]), []
    optimizer = paddle.optimizer.Adam(1e-3, parameters=model.parameters())
    for _ in range(4):
        loss = model(dict(batch))["loss"]
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < losses[0]
    assert all(pcc.coord_usage(model)[name].total > 0 for name in names)


def test_a_converted_part_needs_a_name(config):
    cfg = config(SOLOV2 + "CoordConvert: {match: all}", **{**PLAIN, "SOLO_HEAD": "CoordConvert"})
    with pytest.raises(
        ValueError, match="CoordConvert needs the name of a part, as in CoordConvert: {model: SOLOv2Head}"
    ):
        create(cfg.architecture)


def test_its_own_neck_stays_and_ours_takes_its_options_and_weights():
    assert global_config["PPYOLOFPN"].pymodule is yolo_fpn
    options = {"in_channels": [8, 12], "drop_block": True, "spp": True}
    theirs = yolo_fpn.PPYOLOFPN(coord_conv=True, **options)
    ours = contrib.CoordConvPPYOLOFPN(coords="paddledet_legacy", **options)
    assert ours.set_state_dict(theirs.state_dict()) == ([], [])
    assert ours.out_shape == theirs.out_shape
    maps = [paddle.randn([2, 8, 6, 14]), paddle.randn([2, 12, 3, 7])]
    ours.eval(), theirs.eval()
    for a, b in zip(ours(maps), theirs(maps)):
        assert ((a - b).abs().max() / b.abs().max()).item() <= 1e-5


def test_what_the_heads_are_told():
    shapes = [yolo_fpn.ShapeSpec(channels=c) for c in (4, 8)]
    for cls in (contrib.CoordConvFPN, contrib.CoordConvPPYOLOFPN):
        neck = cls(**cls.from_config({}, shapes))
        maps = neck([paddle.zeros([1, 4, 4, 6]), paddle.zeros([1, 8, 2, 3])])
        assert [shape.channels for shape in neck.out_shape] == [y.shape[1] for y in maps]
        assert [list(y.shape[2:]) for y in maps] == [[2, 3], [4, 6]]


def coordinates_in(model, maps, data_format="NCHW"):
    """What each of PaddleDetection's CoordConv layers gives its convolution as coordinates."""
    seen = {}
    for name, layer in model.named_sublayers():
        if isinstance(layer, yolo_fpn.CoordConv):
            layer.conv.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
    model(maps)
    axis = data_format.index("C")
    return {name: x.split([x.shape[axis] - 2, 2], axis=axis)[1] for name, x in seen.items()}


@pytest.mark.parametrize("data_format", ["NCHW", "NHWC"])
def test_repaired_coordinates(data_format):
    neck, maps = yolo_fpn.PPYOLOFPN([8], coord_conv=True), [paddle.randn([2, 8, 5, 7])]
    if data_format == "NHWC":  # which their neck doesn't hand on to its layers
        layer = yolo_fpn.CoordConv(8, 4, 3, 1, "bn", data_format=data_format)
        neck, maps = paddle.nn.Sequential(layer), paddle.randn([2, 5, 7, 8])
    neck.eval()

    def channels_first(grid):
        return grid if data_format == "NCHW" else grid.transpose([0, 3, 1, 2])

    before = coordinates_in(neck, maps, data_format)
    assert len(before) == (4 if data_format == "NCHW" else 1)
    for grid in before.values():
        row = channels_first(grid)[0, 0, 0].numpy()
        np.testing.assert_allclose(row, np.linspace(-1, -0.5, 7), rtol=1e-6)
    state, output = {key: value.numpy() for key, value in neck.state_dict().items()}, neck(maps)[0]
    parameters = list(map(id, neck.parameters()))
    assert set(repair_coords(neck)) == set(before)
    for grid in coordinates_in(neck, maps, data_format).values():
        expected = pcc.coord_grid([5, 7]).expand([2, 2, 5, 7])
        np.testing.assert_array_equal(channels_first(grid), expected)
    assert list(map(id, neck.parameters())) == parameters
    assert all(np.array_equal(state[key], value.numpy()) for key, value in neck.state_dict().items())
    assert set(neck.state_dict()) == set(state)
    assert (neck(maps)[0] != output).any()
    np.testing.assert_array_equal(copy.deepcopy(neck)(maps)[0], neck(maps)[0])
    repair_coords(neck, "paddledet_legacy")
    np.testing.assert_allclose(neck(maps)[0], output, rtol=1e-4, atol=1e-5)


def test_repaired_it_is_our_neck():
    theirs = yolo_fpn.PPYOLOFPN([8, 12], coord_conv=True, spp=True)
    repair_coords(theirs)
    ours = pcc.models.necks.PPYOLOFPN([8, 12], coord_conv=True, spp=True)
    ours.set_state_dict(theirs.state_dict())
    ours.eval(), theirs.eval()
    maps = [paddle.randn([2, 8, 6, 14]), paddle.randn([2, 12, 3, 7])]
    for a, b in zip(ours(maps), theirs(maps)):
        assert ((a - b).abs().max() / b.abs().max()).item() <= 1e-5
    expected = [y.numpy() for y in theirs(maps)]
    spec = [[InputSpec([None, *x.shape[1:]], "float32") for x in maps]]
    traced = paddle.jit.to_static(theirs, input_spec=spec, full_graph=True)
    for a, b in zip(traced(maps), expected):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_what_can_not_be_repaired():
    assert repair_coords(paddle.nn.Sequential(paddle.nn.Conv2D(3, 3, 1), pcc.CoordConv(3, 3, 1))) == []
    with pytest.raises(TypeError, match="takes a model of PaddleDetection, a paddle.nn.Layer, got 3"):
        repair_coords(3)
    with pytest.raises(ValueError, match="did you mean 'paddle'"):
        repair_coords(yolo_fpn.PPYOLOFPN([8]), "padle")


def test_the_examples():
    assert doctest.testmod(contrib).failed == 0
