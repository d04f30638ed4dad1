"""PaddleClas with CoordConv from its YAML: trained by its Engine, exported by it and served; and its own weights."""

import doctest
import re
import sys
from importlib.util import find_spec

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT
from exported import served
from PIL import Image

import ppcoordconv as pcc

if (found := find_spec("paddleclas")) is None:
    pytest.skip("paddleclas is not installed", allow_module_level=True)
# Its own folder on the path, as its tools have it: what `import paddleclas` does needs packages that nothing here does.
sys.path.append(found.submodule_search_locations[0])

from ppcls.arch import build_model  # noqa: E402
from ppcls.engine.engine import Engine  # noqa: E402
from ppcls.utils.config import get_config  # noqa: E402

from ppcoordconv.contrib import ppcls as contrib  # noqa: E402

PAGE = (ROOT / "docs" / "paddleclas.md").read_text(encoding="utf-8")
CONFIG = """
Global:
  checkpoints: null
  pretrained_model: null
  output_dir: output
  device: cpu
  save_interval: 10
  eval_during_train: false
  epochs: 5
  print_batch_step: 10
  use_visualdl: false
  image_shape: [3, 32, 32]
  save_inference_dir: exported
  seed: 0
Arch:
  name: CoordConvert
  class_num: 2
  model: {name: MobileNetV3_small_x0_35}
  match: all
Loss:
  Train: [{CELoss: {weight: 1.0}}]
Optimizer:
  name: Momentum
  momentum: 0.9
  lr: {name: Constant, learning_rate: 0.02}
DataLoader:
  Train:
    dataset:
      name: ImageNetDataset
      image_root: pictures
      cls_label_path: pictures/list.txt
      transform_ops:
        - DecodeImage: {to_rgb: true, channel_first: false}
        - NormalizeImage: {scale: 1.0/255.0, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], order: ''}
    sampler: {name: DistributedBatchSampler, batch_size: 8, drop_last: false, shuffle: true}
    loader: {num_workers: 0, use_shared_memory: false}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Sixteen pictures: a bright square on the left, or on the right."""
    rng, lines = np.random.default_rng(0), []
    (tmp_path / "pictures").mkdir()
    for i in range(16):
        pixels = rng.integers(0, 100, (32, 32, 3), np.uint8)
        x, y = 20 * (i % 2) + rng.integers(0, 4), rng.integers(0, 24)
        pixels[y : y + 8, x : x + 8] += 150
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
        lines.append(f"{i}.png {i % 2}\n")
    (tmp_path / "pictures" / "list.txt").write_text("".join(lines))
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_of(folder, **changes):
    config = get_config(str(folder / "config.yaml"), [f"{key}={value}" for key, value in changes.items()])
    config.profiler_options = None  # what its tools add
    return config


def test_a_network_from_yaml_trains_and_is_exported(folder, monkeypatch):
    losses = record_losses(monkeypatch)
    engine = Engine(config_of(folder), mode="train")
    layers = engine.model.sublayers()
    assert sum(isinstance(layer, pcc.CoordConv) for layer in layers) > 30
    assert not any(type(layer) is paddle.nn.Conv2D for layer in layers)
    engine.train()
    assert len(losses) == 10
    assert np.mean(losses[-2:]) < 0.5 * np.mean(losses[:2])
    assert pcc.coord_usage(engine.model)["conv.conv"].total > 0

    latest = folder / "output" / "CoordConvert" / "latest"
    engine = Engine(config_of(folder, **{"Global.pretrained_model": latest}), mode="export")
    engine.export()
    images = np.random.default_rng(1).normal(0, 1, [3, 3, 32, 32]).astype("float32")
    engine.model.eval()
    expected = paddle.nn.functional.softmax(engine.model(paddle.to_tensor(images)))
    np.testing.assert_allclose(served(folder / "exported", images), expected, rtol=1e-4, atol=1e-5)


def record_losses(monkeypatch):
    """What its log is given, with the lines of docs/paddleclas.md for Paddle 3."""
    from ppcls.engine.train import train

    losses, update_loss = [], train.update_loss

    def record(engine, loss_dict, batch_size):
        losses.append(float(loss_dict["loss"]))
        update_loss(engine, loss_dict, batch_size)

    monkeypatch.setattr(train, "update_loss", record)
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(lines, {})
    return losses


@pytest.mark.parametrize("name", ["ResNet18", "PPLCNet_x0_25", "MobileNetV3_small_x0_35"])
def test_plain_weights_are_loaded_and_compute_the_same(tmp_path, name):
    plain, x = arch({"name": name, "class_num": 3}), paddle.randn([2, 3, 64, 48])
    paddle.save(plain.state_dict(), str(tmp_path / "plain.pdparams"))
    for match, count in ((None, 1), ("all", conv2ds(plain))):
        model = {"name": name, "pretrained": str(tmp_path / "plain")}
        converted = arch({"name": "CoordConvert", "class_num": 3, "model": model, "match": match})
        assert type(converted) is type(plain)
        assert sum(isinstance(layer, pcc.CoordConv) for layer in converted.sublayers()) == count
        plain.eval(), converted.eval()
        np.testing.assert_allclose(converted(x), plain(x), rtol=1e-4, atol=1e-5)


def arch(config):
    return build_model({"Arch": config, "Global": {"device": "cpu"}})


def conv2ds(model):
    return sum(type(layer) is paddle.nn.Conv2D for layer in model.sublayers())


def test_the_configs_of_the_page():
    classifier, recognition = (
        yaml.safe_load(text)["Arch"] for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    )
    x, labels = paddle.randn([2, 3, 64, 64]), paddle.to_tensor([[1], [2]])
    model = arch(classifier)
    assert not any(type(layer) is paddle.nn.Conv2D for layer in model.sublayers())
    assert tuple(model(x).shape) == (2, 102)
    model = arch(recognition)
    assert type(model.backbone.conv1.conv) is pcc.CoordConv
    assert [tuple(model(x, labels)[key].shape) for key in ("features", "logits")] == [(2, 512), (2, 102)]


def test_all_options():
    model = arch({"name": "CoordConvert", "model": {"name": "PPLCNet_x0_25"}, "coords": "uber", "with_r": True})
    assert (model.conv1.conv.coords, model.conv1.conv.with_r) == ("uber", True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": "ResNet18"}, "takes the name of an architecture and its options, .* got 'ResNet18'"),
        ({"model": {"class_num": 3}}, "takes the name of an architecture and its options, .* got {'class_num': 3}"),
        ({"model": {"name": "ResNet19"}}, "PaddleClas has no architecture 'ResNet19'"),
        (
            {"model": {"name": "PPLCNet_x0_25"}, "match": "head.*"},
            "match='head.*' fits none of the model's convolutions",
        ),
    ],
)
def test_what_can_not_be_built(config, message):
    with pytest.raises((TypeError, ValueError), match=message):
        arch({"name": "CoordConvert", **config})


def test_the_examples():
    assert doctest.testmod(contrib).failed == 0
