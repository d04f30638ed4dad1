"""Weights of strangers: what does not fit is named, what is harmless is left out with a line; safetensors."""

import json
import pickle

import numpy as np
import paddle
import pytest
from conftest import mounted
from paddle import nn

from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import load_metadata, load_state, load_weights, save_weights

VALUES = {"weight": np.ones([2, 3], "float32"), "bias": np.zeros([3], "float32")}


@pytest.fixture
def network():
    return nn.Linear(2, 3)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr("ppcoordconv.utils.weights.log_info", lines.append)
    return lines


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"bias": np.zeros([3], "int64")}, "bias holds int64 instead of float32"),
        ({"bias": np.zeros([3], "bool")}, "bias holds bool instead of float32"),
        ({"bias": np.zeros([3], "complex64")}, "bias holds complex64 instead of float32"),
        ({"bias": [0.0, 0.0, 0.0]}, "bias is a list, not an array"),
        ({"bias": "text"}, "bias is a str, not an array"),
        ({"bias": None}, "bias is a NoneType, not an array"),
        ({"more": np.zeros([3], "float32")}, "more is not the network's"),
    ],
)
def test_what_does_not_fit_is_named(network, tmp_path, values, words):
    before = network.bias.numpy().copy()
    paddle.save({**VALUES, **values}, str(tmp_path / "a.pdparams"))
    with pytest.raises(UserError, match=f"does not fit the network: {words}"):
        load_weights(network, tmp_path / "a.pdparams")
    np.testing.assert_array_equal(network.bias.numpy(), before)


def test_what_is_no_array_and_not_asked_for_is_left_out_with_a_line(network, tmp_path, said):
    """As other people's checkpoints have it."""
    extras = {"epoch": 7, "history": [{"loss": 0.5}], "note": "mine"}
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({**VALUES, **extras}))
    load_weights(network, tmp_path / "a.pdparams")
    assert network.weight.numpy().tolist() == VALUES["weight"].tolist()
    assert [line.split("a.pdparams ")[1] for line in said] == [
        "also holds epoch, history, note, which are no weights and are left out"
    ]


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint16"])
def test_other_precisions_are_cast(network, tmp_path, dtype):
    """Paddle keeps bfloat16 in uint16."""
    ones = np.full([2, 3], 0x3F80, "uint16") if dtype == "uint16" else np.ones([2, 3], dtype)
    paddle.save({**VALUES, "weight": ones}, str(tmp_path / "a.pdparams"))
    load_weights(network, tmp_path / "a.pdparams")
    assert network.weight.numpy().tolist() == VALUES["weight"].tolist()


def test_safetensors(network, tmp_path):
    pytest.importorskip("safetensors")
    metadata = {"labels": ["a", "é"], "preprocess": {"kind": "image"}}
    save_weights(network, tmp_path / "a.safetensors", metadata)
    assert load_metadata(tmp_path / "a.safetensors") == metadata
    other = nn.Linear(2, 3)
    load_weights(other, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(other.weight.numpy(), network.weight.numpy())
    save_weights(network, tmp_path / "b.safetensors")
    assert load_metadata(tmp_path / "b.safetensors") is None
    assert set(load_state(tmp_path / "b.safetensors")) == {"weight", "bias"}
    with pytest.raises(UserError, match=r"a path that ends in \.safetensors, got .*c\.pdparams"):
        save_weights(network, tmp_path / "c.pdparams")
    with pytest.raises(ValueError, match="no list of labels"):
        save_weights(network, tmp_path / "d.safetensors", {"note": 1})
    assert not (tmp_path / "d.safetensors").exists()


def test_safetensors_that_the_disk_has_no_room_for(network, tmp_path):
    pytest.importorskip("safetensors")
    with mounted(tmp_path / "disk", "size=4k") as disk, pytest.raises(UserError, match="can't be written: No space"):
        save_weights(nn.Linear(100, 100), disk / "a.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        b"\xff" * 64,
        (2).to_bytes(8, "little") + b"{}x",
        (1000).to_bytes(8, "little") + b"{}",
        *(
            (len(header)).to_bytes(8, "little") + header + b"\0" * 4
            for header in (
                json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()
                for dtype, shape, offsets in [
                    ("F32", [2], [0, 4]),
                    ("F32", [2**40], [0, 2**42]),
                    ("F32", [1], [0, 400]),
                    ("F99", [1], [0, 4]),
                    ("F32", [-1], [0, 4]),
                ]
            )
        ),
    ],
)
def test_damaged_safetensors(network, tmp_path, content):
    pytest.importorskip("safetensors")
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="a.safetensors is not a valid weights file"):
        load_weights(network, tmp_path / "a.safetensors")
