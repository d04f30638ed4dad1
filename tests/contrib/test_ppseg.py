"""PaddleSeg with CoordConv from its YAML: trained by its loop, exported as its tool does, and served; its weights."""

import doctest
import re
import sys

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT
from exported import served
from paddle.static import InputSpec
from PIL import Image

import ppcoordconv as pcc

pytest.importorskip("paddleseg")

from paddleseg.core import train  # noqa: E402
from paddleseg.cvlibs import Config, SegBuilder, manager  # noqa: E402
from paddleseg.deploy.export import WrappedModel  # noqa: E402
from paddleseg.utils import load_entire_model  # noqa: E402

from ppcoordconv.contrib import ppseg as contrib  # noqa: E402

CONFIG = """
batch_size: 4
iters: 16
train_dataset:
  type: Dataset
  dataset_root: pictures
  train_path: pictures/list.txt
  num_classes: 2
  mode: train
  transforms: [{type: RandomHorizontalFlip}, {type: Normalize}]
optimizer: {type: Adam}
lr_scheduler: {type: PolynomialDecay, learning_rate: 0.01, end_lr: 0, power: 0.9}
loss:
  types: [{type: CrossEntropyLoss, top_k_percent_pixels: 0.999}]
  coef: [1, 1, 1, 1, 1]
model:
  type: CoordConvert
  model: {type: BiSeNetV2, num_classes: 2}
  match: db.*
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Eight pictures with a bright box in each, and where it is."""
    rng, lines = np.random.default_rng(0), []
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        pixels, label = rng.integers(0, 80, (64, 96, 3), np.uint8), np.zeros([64, 96], np.uint8)
        x, y = rng.integers(0, 60), rng.integers(0, 40)
        label[y : y + 24, x : x + 30] = 1
        pixels[label == 1] += 120
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
        Image.fromarray(label).save(tmp_path / "pictures" / f"{i}_label.png")
        lines.append(f"{i}.png {i}_label.png\n")
    (tmp_path / "pictures" / "list.txt").write_text("".join(lines))
    (tmp_path / "config.yml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_network_from_yaml_trains_and_is_exported(folder, monkeypatch):
    paddle.seed(0)
    parts = SegBuilder(Config("config.yml"))
    assert type(parts.model) is manager.MODELS["BiSeNetV2"]
    assert sum(isinstance(layer, pcc.CoordConv) for layer in parts.model.sublayers()) == 8
    losses = record_losses(monkeypatch)
    # Its log takes a loss for a vector of one, which it was before Paddle 2.6.
    train(
        parts.model, parts.train_dataset, optimizer=parts.optimizer, losses=parts.loss,
        iters=16, batch_size=4, save_interval=16, log_iters=17,
    )  # fmt: skip
    assert len(losses) == 16
    assert np.mean(losses[-2:]) < 0.6 * np.mean(losses[:2])
    assert pcc.coord_usage(parts.model)["db.convs.0._conv"].total > 0

    # What its tools/export.py does with a config and the weights.
    model = SegBuilder(Config("config.yml")).model
    load_entire_model(model, "output/iter_16/model.pdparams")
    model.eval()
    whole = WrappedModel(model, "softmax")
    whole.eval()
    spec = [InputSpec([None, 3, None, None], "float32")]
    paddle.jit.save(paddle.jit.to_static(whole, input_spec=spec), "exported/model")
    parts.model.eval()
    x = np.stack([parts.train_dataset[i]["img"] for i in range(3)]).astype("float32")
    expected = paddle.nn.functional.softmax(parts.model(paddle.to_tensor(x))[0], axis=1)
    np.testing.assert_allclose(served(folder / "exported", x), expected, rtol=1e-3, atol=1e-4)


def record_losses(monkeypatch):
    module = sys.modules["paddleseg.core.train"]  # which the function of that name hides
    losses, compute = [], module.loss_computation

    def record(**arguments):
        found = compute(**arguments)
        losses.append(float(sum(found)))
        return found

    monkeypatch.setattr(module, "loss_computation", record)
    return losses


MODELS = {
    "BiSeNetV2": {"type": "BiSeNetV2", "num_classes": 3},
    "PPLiteSeg": {"type": "PPLiteSeg", "num_classes": 3, "backbone": {"type": "STDC1"}},
    "DeepLabV3P": {"type": "DeepLabV3P", "num_classes": 3, "backbone": {"type": "ResNet18_vd", "output_stride": 8}},
    "FCN": {"type": "FCN", "num_classes": 3, "backbone": {"type": "HRNet_W18_Small_V1"}, "backbone_indices": [-1]},
    "SegFormer": {
        "type": "SegFormer",
        "num_classes": 3,
        "backbone": {"type": "MixVisionTransformer_B0"},
        "embedding_dim": 32,
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_plain_weights_are_loaded_and_compute_the_same(tmp_path, name):
    plain, x = built(MODELS[name]), paddle.randn([1, 3, 64, 96])
    weights = str(tmp_path / "plain.pdparams")
    paddle.save(plain.state_dict(), weights)
    count = sum(type(layer) is paddle.nn.Conv2D for layer in plain.sublayers())
    for match, expected in ((None, 1), ("all", count)):
        model = {"type": "CoordConvert", "model": {**MODELS[name], "pretrained": weights}, "match": match}
        converted = built(model)
        assert type(converted) is type(plain)
        assert sum(isinstance(layer, pcc.CoordConv) for layer in converted.sublayers()) == expected
        plain.eval(), converted.eval()
        for ours, theirs in zip(converted(x), plain(x)):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def built(model):
    return SegBuilder(None).build_component(model)


def test_the_config_of_the_page():
    page = (ROOT / "docs" / "paddleseg.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    model = built(yaml.safe_load(text)["model"])
    assert not any(type(layer) is paddle.nn.Conv2D for layer in model.sublayers())
    model.eval()
    assert tuple(model(paddle.randn([1, 3, 64, 96]))[0].shape) == (1, 19, 64, 96)


def test_what_it_adds_of_the_data_set_changes_nothing():
    model = built(
        {"type": "CoordConvert", "model": MODELS["BiSeNetV2"], "num_classes": 7, "in_channels": 3, "with_r": True}
    )
    assert model.head.conv_1x1.weight.shape[0] == 3
    assert model.db.convs[0]._conv.with_r


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"match": "neck.*"}, "(?s)CoordConvert object.*match='neck.*' fits none of the model's convolutions"),
        ({"coords": "padle"}, "(?s)CoordConvert object.*did you mean 'paddle'"),
        ({"model": "BiSeNetV2"}, "(?s)CoordConvert object.*takes a paddle.nn.Layer, got str"),
    ],
)
def test_what_can_not_be_built(options, message):
    with pytest.raises(RuntimeError, match=message):
        built({"type": "CoordConvert", "model": MODELS["BiSeNetV2"], **options})


def test_the_examples():
    assert doctest.testmod(contrib).failed == 0
