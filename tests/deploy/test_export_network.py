"""Any network is exported and run: several inputs and outputs, whole numbers, free sizes, and what can't be."""

import json

import numpy as np
import paddle
import pytest
from conftest import run_tool
from paddle import nn
from PIL import Image

import ppcoordconv as pcc
from ppcoordconv.compat import is_paddle_3
from ppcoordconv.data.images import Preprocess
from ppcoordconv.deploy import Predictor, export
from ppcoordconv.utils.errors import UserError

FORMATS = ["paddle", "legacy", "onnx"]


def needs(model_format):
    if model_format == "onnx":
        pytest.importorskip("paddle2onnx")


def assert_close(got, expected):
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


class MapAndWord(nn.Layer):
    """Two inputs of different kinds, and two outputs."""

    def __init__(self):
        super().__init__()
        self.conv = pcc.CoordConv(3, 4, 3)
        self.words = nn.Embedding(10, 4)

    def forward(self, maps, word):
        features = self.conv(maps).mean([2, 3]) + self.words(word)
        return features, 2 * features


class OneOf(nn.Layer):
    def __init__(self, make):
        super().__init__()
        self.conv = nn.Conv2D(3, 4, 3)
        self.make = make

    def forward(self, x):
        return self.make(self.conv(x))


@pytest.mark.parametrize("model_format", FORMATS)
def test_several_inputs_and_outputs(tmp_path, model_format):
    needs(model_format)
    network = MapAndWord()
    example = (paddle.rand([2, 3, 8, 9]), paddle.to_tensor([3, 9]))
    description = export(network, tmp_path / "m", example, format=model_format)
    assert [one["name"] for one in description["inputs"]] == ["maps", "word"]
    predictor = Predictor(str(tmp_path / "m"))
    for count in (0, 1, 4):
        maps = np.random.default_rng(count).random([count, 3, 8, 9])
        word = np.arange(count) * 2
        features, double = predictor(maps, word)
        assert double.shape == (count, 4)
        if count:
            expected = network(paddle.to_tensor(maps, "float32"), paddle.to_tensor(word))[0].numpy()
            assert_close(features, expected)
            assert_close(double, 2 * expected)
    with pytest.raises(UserError, match="takes 2 inputs, maps, word, got 1"):
        predictor(maps)
    with pytest.raises(UserError, match="as many samples each, got \\[2, 4\\]"):
        predictor(maps[:2], word)
    with pytest.raises(UserError, match="takes word, a batch of int64, got float64"):
        predictor(maps, word / 2)
    with pytest.raises(UserError, match=r"takes word, a batch of shape \['N'\], got \[4, 1\]"):
        predictor(maps, word[:, None])


@pytest.mark.parametrize("model_format", FORMATS)
def test_any_size(tmp_path, model_format):
    needs(model_format)
    network = nn.Sequential(pcc.CoordConv(3, 4, 3, padding=1, with_r=True), nn.BatchNorm2D(4), nn.ReLU())
    export(network, tmp_path / "m", paddle.rand([1, 3, 16, 16]), format=model_format, dynamic_size=True)
    x = paddle.rand([2, 3, 11, 7])
    assert_close(Predictor(str(tmp_path / "m"))(x.numpy()), network(x).numpy())


@pytest.mark.parametrize("model_format", ["legacy", "onnx"])
def test_in_int8_it_is_checked_on_what_its_ranges_are_of(tmp_path, model_format):
    """An example, and noise between its ends, may lie far beyond."""
    needs(model_format)
    network = nn.Sequential(pcc.CoordConv(3, 4, 3), nn.ReLU(), nn.Conv2D(4, 2, 3))
    samples = np.random.default_rng(0).standard_normal([8, 3, 12, 12]).astype(np.float32)
    description = export(network, tmp_path / "m", 1000 * samples[:1], format=model_format, calibration=samples)
    assert description["precision"] == "int8"
    got, expected = Predictor(str(tmp_path / "m"))(samples), network(paddle.to_tensor(samples)).numpy()
    assert np.abs(got - expected).mean() < 0.2 * np.abs(expected).mean()


def test_a_classifier_with_its_labels_is_served(tmp_path):
    network = nn.Sequential(pcc.CoordConv(3, 4, 3, stride=2), nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(4, 2))
    preprocess = Preprocess((20, 24))
    served = {"served_form": "classification", "preprocess": preprocess, "labels": ["cat", "dog"]}
    export(network, tmp_path / "m", paddle.zeros([1, 3, 20, 24]), **served)
    pixels = np.random.default_rng(0).integers(0, 255, [30, 30, 3], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    done = run_tool("infer", "--model_dir", tmp_path / "m", "--input", tmp_path / "a.png", cwd=tmp_path)
    assert done.status == 0, done.stderr
    logits = network(paddle.to_tensor(preprocess(pixels)[None])).numpy()[0]
    assert json.loads(done.stdout)["label"] == ["cat", "dog"][logits.argmax()]


def test_an_operator_that_paddle_can_not_write_for_paddle_2_is_said(tmp_path):
    if not is_paddle_3():
        pytest.skip("Paddle 2 has one form alone")
    network = nn.Sequential(pcc.CoordConv(3, 4, 3), nn.Sigmoid())
    with pytest.raises(UserError, match="can't write an operator of the network in the form of Paddle 2, which legacy"):
        export(network, tmp_path / "m", paddle.zeros([1, 3, 8, 8]), format="legacy")
    assert not (tmp_path / "m").exists()
    export(network, tmp_path / "m", paddle.zeros([1, 3, 8, 8]))


def test_without_a_served_form_it_is_for_the_predictor_alone(tmp_path):
    export(nn.Linear(3, 2), tmp_path / "m", paddle.zeros([1, 3]))
    for command in ("infer", "serve"):
        words = ["--input", tmp_path / "a.png"] if command == "infer" else []
        done = run_tool(command, "--model_dir", tmp_path / "m", *words, cwd=tmp_path)
        assert done.status == 2
        assert "this model was exported without a served form" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_an_export_that_fails_leaves_the_one_before(tmp_path):
    export(nn.Linear(3, 2), tmp_path / "m", paddle.zeros([1, 3]))
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    with pytest.raises(UserError, match="a row for each sample"):
        export(OneOf(lambda y: y.mean()), tmp_path / "m", paddle.zeros([1, 3, 8, 8]))
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before


class Ignores(nn.Layer):
    def forward(self, used, ignored):
        return used + 1


def test_a_network_that_was_typed_in_is_named(tmp_path):
    """Its source is nowhere, which is no fault of the folder's."""
    names = {"nn": nn}
    exec("class Typed(nn.Layer):\n    def forward(self, x):\n        return x if x.mean() > 0 else x + 1", names)
    with pytest.raises(UserError, match="by its source, and can't read that of this one: define its class in a file"):
        export(names["Typed"](), tmp_path / "m", np.zeros([1, 3]))


PICTURE = np.zeros([1, 3, 8, 8], np.float32)


@pytest.mark.parametrize(
    ("network", "example", "options", "words"),
    [
        (len, PICTURE, {}, "network takes a paddle.nn.Layer, got builtin_function"),
        (OneOf(list), [[1.0]], {}, r"example takes a Tensor or an array \[N, ...\] .*, got list"),
        (OneOf(list), PICTURE[:0], {}, r"example .* of one sample or more, got \[0, 3, 8, 8\]"),
        (OneOf(list), PICTURE.astype("uint8"), {}, "example takes numbers of float32, int32, int64, bool, got uint8"),
        (OneOf(list), (PICTURE, np.zeros([2, 3])), {}, r"example takes as many samples of each input, got \[1, 2\]"),
        (OneOf(list), (), {}, "example takes as many samples"),
        (OneOf(lambda y: {"y": y}), PICTURE, {}, "a Tensor or a tuple of Tensors, and this one a dict"),
        (OneOf(lambda y: y[0]), PICTURE, {}, r"a row for each sample, and this one \[4, 6, 6\] for 1 samples"),
        (OneOf(lambda y: y), PICTURE, {"format": "tflite"}, "format takes one of paddle, legacy, onnx, got 'tflite'"),
        (OneOf(lambda y: y), PICTURE, {"precision": "fp8"}, "precision takes one of"),
        (OneOf(lambda y: y), PICTURE, {"window": True}, "window is for networks with CoordConv"),
        (nn.Bilinear(2, 2, 1), (np.zeros([1, 2]),) * 2, {"dynamic_size": True}, "with one input, and this one has 2"),
        (
            Ignores(),
            (PICTURE, PICTURE),
            {},
            "the network ignores one of its inputs, .*; export one that doesn't take it",
        ),
        (
            OneOf(lambda y: y),
            PICTURE,
            {"calibration": PICTURE[:, :1]},
            r"calibration takes samples \['N', 3, 8, 8\], as",
        ),
        (OneOf(lambda y: y), PICTURE, {"labels": ["a"]}, "served_form tells what labels and preprocess are for"),
        (OneOf(lambda y: y), PICTURE, {"served_form": "clasification"}, "served_form takes one of .*classification"),
        (OneOf(lambda y: y), PICTURE, {"served_form": "classification"}, r"inputs of \[\[3, 8, 8\]\], got one of None"),
        (
            OneOf(lambda y: y.flatten(1)),
            PICTURE,
            {"served_form": "classification", "preprocess": Preprocess((8, 8)), "labels": ["a"]},
            "the model gives 144 classes, and .* 1 labels",
        ),
        (nn.Dropout(), PICTURE, {}, "Paddle writes no inference.pdiparams of a network without"),
        (
            OneOf(lambda y: y.flatten(1)),
            PICTURE,
            {"served_form": "classification", "preprocess": {"image_size": [8, 8]}},
            "preprocess takes what makes .*, got one of dict",
        ),
    ],
)
def test_wrong_arguments(tmp_path, network, example, options, words):
    with pytest.raises(UserError, match=words):
        export(network, tmp_path / "m", example, **options)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("folder", ["", None])
def test_a_folder_that_is_none(folder):
    with pytest.raises(UserError, match=f"folder takes a path, got {folder!r}"):
        export(OneOf(list), folder, PICTURE)
