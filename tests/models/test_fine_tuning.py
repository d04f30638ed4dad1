"""What a network takes of another's weights, and what of it stays as it is."""

import numpy as np
import paddle
import pytest
from paddle import nn

import ppcoordconv as pcc
from ppcoordconv.models import zoo
from ppcoordconv.models.fine_tuning import begin_with, freeze
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import load_state, save_weights


def small(classes=3, coords=True):
    first = pcc.CoordConv(3, 4, 3, padding=1) if coords else nn.Conv2D(3, 4, 3, padding=1)
    body = nn.Sequential(first, nn.BatchNorm2D(4), nn.ReLU(), nn.Conv2D(4, 4, 1), nn.BatchNorm2D(4))
    return nn.Sequential(
        ("body", body), ("pool", nn.AdaptiveAvgPool2D(1)), ("flat", nn.Flatten()), ("fc", nn.Linear(4, classes))
    )


def settled(network):
    """With statistics of its own."""
    network.train()
    network(paddle.rand([8, 3, 6, 6]))
    return network


def saved(network, path):
    paddle.save(network.state_dict(), str(path))
    return str(path)


def test_a_plain_resnet_as_paddle_publishes_it(tmp_path, capfd):
    paddle.seed(1)
    plain = paddle.vision.models.resnet18(pretrained=False)
    network = pcc.models.create("resnet18", num_classes=5, coord="first")
    head = network.fc.weight.numpy()
    begin_with(network, saved(plain, tmp_path / "resnet18.pdparams"))
    said = capfd.readouterr().err.replace(str(tmp_path), "")
    assert said.splitlines() == [
        "/resnet18.pdparams: 100 of 102 arrays are taken",
        "/resnet18.pdparams: of plain convolutions, so that the weights on coordinates start at zero in conv1",
        "/resnet18.pdparams: left out: fc.weight (has shape [512, 1000] instead of [512, 5]), "
        "fc.bias (has shape [1000] instead of [5])",
    ]
    assert np.array_equal(network.fc.weight.numpy(), head)
    for one in (plain, network):
        one.fc = nn.Identity()
        one.eval()
    x = paddle.rand([2, 3, 40, 40])
    np.testing.assert_allclose(network(x).numpy(), plain(x).numpy(), rtol=1e-4, atol=1e-5)
    assert pcc.coord_usage(network)["conv1"].total == 0


@pytest.mark.parametrize(
    ("name", "head", "arrays"),
    [
        ("resnet18", "fc", 102),
        ("mobilenet_v3_small", "classifier.0", 210),
        ("shufflenet_v2_x0_25", "_fc", 282),
        ("densenet121", "out", 606),
    ],
)
def test_a_detector_takes_a_classifier_as_its_backbone(name, head, arrays, tmp_path, capfd):
    plain = getattr(paddle.vision.models, name)()
    network = pcc.models.create("yolo", backbone=name, num_classes=2)
    begin_with(network, saved(plain, tmp_path / f"{name}.pdparams"))
    said = capfd.readouterr().err
    assert f"of {arrays} arrays are taken" in said
    assert f"left out: backbone.body.{head}.weight (no such name)" in said
    assert "not in it, and left as they were: neck." in said
    given, taken = plain.state_dict(), network.backbone.body.state_dict()
    assert set(taken) == {name for name in given if not name.startswith(head.split(".")[0])}
    for name in taken:
        np.testing.assert_array_equal(taken[name].numpy(), given[name].numpy())


@pytest.mark.parametrize("classes", [3, 7])
def test_a_file_of_the_same_network(tmp_path, classes, capfd):
    """Its weights on the coordinates too; the head where it has as many classes."""
    old, new = settled(small(3)), small(classes)
    save_weights(old, tmp_path / "old.safetensors")
    begin_with(new, str(tmp_path / "old.safetensors"))
    own = new.state_dict()
    for name, value in old.state_dict().items():
        same = np.array_equal(own[name].numpy(), value.numpy()) if own[name].shape == value.shape else None
        assert same is (None if classes == 7 and name.startswith("fc.") else True), name
    assert "zero" not in capfd.readouterr().err


def test_weights_of_the_zoo_by_name(capfd):
    network = pcc.models.create("aistudio_coordconv", num_classes=4)
    begin_with(network, "aistudio_coordconv")
    assert "aistudio_coordconv: 10 of 12 arrays are taken" in capfd.readouterr().err
    state = load_state(zoo.weights_path("aistudio_coordconv"))
    assert np.array_equal(network.conv4.conv.weight.numpy(), state["conv4.conv.weight"])
    # From the twin without CoordConv.
    begin_with(network, "aistudio_conv")
    assert "start at zero in conv4" in capfd.readouterr().err
    assert float(network.conv4.conv.weight[:, -2:].abs().max()) == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (3, "^weights takes the path of a file, or one of aistudio_conv, .*; got 3"),
        ("", "^weights takes the path of a file, .*; got ''"),
        ("resnet18", "^weights takes the path of a file, .*; there is no file 'resnet18'"),
        ("broken.pdparams", "broken.pdparams is not a valid weights file"),
        (
            "other.pdparams",
            "^weights takes a file with weights for this model, and none of .*other.pdparams fits: 0.weight",
        ),
        ("state.pdopt", "none of .*state.pdopt fits: it has no arrays"),
    ],
)
def test_wrong_files(tmp_path, monkeypatch, source, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.pdparams").write_bytes(b"\x80\x02broken")
    saved(nn.Sequential(nn.Linear(2, 9)), tmp_path / "other.pdparams")
    paddle.save({"network": small().state_dict(), "epoch": 1}, str(tmp_path / "state.pdopt"))
    network = small()
    before = network.state_dict()["body.0.conv.weight"].numpy()
    with pytest.raises(UserError, match=words):
        begin_with(network, source)
    assert np.array_equal(network.state_dict()["body.0.conv.weight"].numpy(), before)


def trained_a_step(network):
    network.train()
    optimizer = paddle.optimizer.AdamW(0.1, parameters=network.parameters(), weight_decay=0.5)
    network(paddle.rand([8, 3, 6, 6])).square().sum().backward()
    optimizer.step()
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("patterns", "frozen"),
    [
        ("body", ["body."]),
        ("body.0", ["body.0."]),
        (["body.1", "*.4"], ["body.1.", "body.4."]),
        ("fc", ["fc."]),
    ],
)
def test_what_is_frozen_stays_and_the_rest_does_not(patterns, frozen):
    paddle.seed(0)
    network = settled(small())
    freeze(network, patterns)
    before = {name: value.numpy() for name, value in network.state_dict().items()}
    after = trained_a_step(network)
    for name, value in before.items():
        assert np.array_equal(after[name], value) == name.startswith(tuple(frozen)), name


def test_a_frozen_batch_norm_gives_in_training_what_it_gives_when_it_is_served():
    network = settled(small())
    freeze(network, "body")
    x = paddle.rand([4, 3, 6, 6])
    network.train()
    trained = network(x).numpy()
    network.eval()
    np.testing.assert_allclose(trained, network(x).numpy(), rtol=1e-5, atol=1e-6)
    served = pcc.convert_to_deploy(network, example=x)
    np.testing.assert_allclose(served(x).numpy(), trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ("boddy", "^freeze has the pattern 'boddy', which fits no name in the network: did you mean 'body'"),
        (["body", "head"], "^freeze has the pattern 'head', .* It has body, fc, and what lies in these"),
        (["body", "fc"], "^freeze takes patterns that leave something to train, got"),
        (True, "^freeze takes a pattern"),
    ],
)
def test_wrong_patterns(patterns, words):
    with pytest.raises(UserError, match=words):
        freeze(small(), patterns)
