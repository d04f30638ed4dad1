"""Weights on disk: Paddle's own format, whole, checked against the network, and no code from strangers."""

import collections
import os
import pickle

import numpy as np
import paddle
import pytest
from paddle import nn

from ppcoordconv.training.checkpoints import save_state
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import load_metadata, load_state, load_weights


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.Linear(4, 2))


def values(network):
    return {key: value.numpy().copy() for key, value in network.state_dict().items()}


def assert_equal(a, b):
    assert set(a) == set(b)
    assert all((a[key] == b[key]).all() for key in a)


def paddles_own(state, path):
    paddle.save(state, str(path))


@pytest.mark.parametrize("save", [save_state, paddles_own])
def test_what_is_saved_is_loaded(network, tmp_path, save):
    save(network.state_dict(), tmp_path / "a.pdparams")
    expected = values(network)
    for parameter in network.parameters():
        parameter.set_value(parameter * 0)
    load_weights(network, tmp_path / "a.pdparams")
    assert_equal(values(network), expected)


def test_paddle_loads_what_we_save(network, tmp_path):
    save_state(network.state_dict(), tmp_path / "a.pdparams")
    other = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.Linear(4, 2))
    missing, unexpected = other.set_state_dict(paddle.load(str(tmp_path / "a.pdparams")))
    assert not missing
    assert not unexpected
    assert_equal(values(other), values(network))


def test_nested_states(tmp_path):
    state = {"a": {"b": paddle.ones([2]), "c": np.float32(3)}, "history": [{"epoch": 1, "x": 0.5}], "n": None}
    save_state(state, tmp_path / "a")
    loaded = load_state(tmp_path / "a")
    assert loaded["a"]["b"].tolist() == [1, 1]
    assert loaded["history"] == [{"epoch": 1, "x": 0.5}]
    assert (loaded["a"]["c"], loaded["n"]) == (3, None)


def test_weights_that_do_not_fit_are_named_and_change_nothing(network, tmp_path):
    before = values(network)
    state = dict(network.state_dict())
    state.pop("0.bias")
    state["2.weight"] = paddle.ones([5, 2])
    state["3.extra"] = paddle.ones([1])
    save_state(state, tmp_path / "a.pdparams")
    with pytest.raises(UserError) as caught:
        load_weights(network, tmp_path / "a.pdparams")
    message = str(caught.value)
    assert "0.bias is missing" in message
    assert "2.weight has shape [5, 2] instead of [4, 2]" in message
    assert "3.extra is not the network's" in message
    assert_equal(values(network), before)


def test_many_misfits_are_counted(network, tmp_path):
    save_state({f"layer{i}": paddle.ones([1]) for i in range(20)}, tmp_path / "a.pdparams")
    with pytest.raises(UserError, match="and 23 more"):
        load_weights(network, tmp_path / "a.pdparams")


class Malicious:
    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"a": Malicious()}),
        pickle.dumps({"a": collections.Counter()}),
        pickle.dumps({"a": eval}),
        b"cnumpy\nload\n.",
        b"\x80\x04\x95",
    ],
    ids=["empty", "text", "list", "system", "class", "eval", "numpy.load", "truncated"],
)
def test_files_that_are_no_weights_run_nothing(network, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pdparams").write_bytes(content)
    with pytest.raises(UserError, match="a.pdparams is not a valid weights file") as caught:
        load_weights(network, tmp_path / "a.pdparams")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "hacked").exists()


def test_truncated_anywhere(network, tmp_path):
    path = tmp_path / "a.pdparams"
    save_state(network.state_dict(), path)
    good = path.read_bytes()
    for length in np.random.default_rng(0).integers(0, len(good), 30):
        path.write_bytes(good[:length])
        with pytest.raises(UserError, match="is not a valid weights file"):
            load_weights(network, path)


def test_a_missing_file_and_a_folder(network, tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        load_weights(network, tmp_path / "a")
    with pytest.raises(UserError, match="is a folder, not a file"):
        load_weights(network, tmp_path)


def test_a_value_that_is_no_array(network, tmp_path):
    save_state({**network.state_dict(), "0.bias": "text"}, tmp_path / "a")
    with pytest.raises(UserError, match="0.bias is a str, not an array"):
        load_weights(network, tmp_path / "a")


def test_metadata_go_with_the_weights_and_damage_is_seen(tmp_path):
    path, metadata = tmp_path / "w.pdparams", {"labels": ["é", "b"], "preprocess": {"kind": "image"}}
    save_state({"w": np.ones([2], "float32")}, path, metadata=metadata)
    assert load_metadata(path) == metadata
    assert list(load_state(path)) == list(paddle.load(str(path))) == ["w"]
    whole = path.read_bytes()
    for damaged in (whole.replace(b'"b"', b'"c"'), whole[:-70], whole[:-1], whole + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="is not a valid weights file"):
            load_metadata(path)


def test_weights_without_metadata(tmp_path):
    save_state({"w": np.ones([2], "float32")}, tmp_path / "ours.pdparams")
    paddle.save({"w": paddle.ones([2])}, str(tmp_path / "others.pdparams"))
    assert load_metadata(tmp_path / "ours.pdparams") is None
    assert load_metadata(tmp_path / "others.pdparams") is None
