"""PaddleDetection with the necks from its YAML, trained, exported and served; and its own neck repaired."""

import copy
import doctest
import os
import re
import subprocess
import sys

import numpy as np
import paddle
import pytest
from conftest import ROOT
from paddle.static import InputSpec

import ppcoordconv as pcc

pytest.importorskip("ppdet")

from ppdet.core.config.schema import SchemaDict  # noqa: E402
from ppdet.core.workspace import create, global_config, load_config  # noqa: E402
from ppdet.data.transform.batch_operators import Gt2YoloTarget  # noqa: E402
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
  backbone: MobileNet
  neck: NECK
  yolo_head: YOLOv3Head
  post_process: BBoxPostProcess
MobileNet: {{scale: 0.1, feature_maps: [4, 6, 13], with_extra_blocks: false}}
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

    def load(neck, options):
        path = tmp_path / "tiny.yml"
        path.write_text(CONFIG.replace("NECK", neck).replace("OPTIONS", options))
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
    cfg = config(neck, NECKS[neck])
    model = create(cfg.architecture)
    assert type(model.neck) is getattr(contrib, neck)
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
    got = served(exported(model, tmp_path), {key: value.numpy() for key, value in one.items()})
    np.testing.assert_allclose(got, expected["bbox"].numpy(), rtol=1e-3, atol=1e-3)


def exported(model, folder):
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


def served(folder, inputs):
    from ppcoordconv.deploy.runtimes import Settings, paddle_config

    (model,) = (path for path in folder.iterdir() if path.suffix in (".json", ".pdmodel"))
    predictor = paddle.inference.create_predictor(paddle_config(model, Settings(), False, []))
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(inputs[name])
    predictor.run()
    return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


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
