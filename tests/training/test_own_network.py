"""``fit``: any network and data get the loop, the files and the resume of the command."""

import json

import numpy as np
import paddle
import pytest
from paddle import nn

import ppcoordconv as pcc
from ppcoordconv.training import fit
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import load_weights

RNG = np.random.default_rng(0)
X, CLASSES = RNG.random([60, 1, 8, 8]), RNG.integers(0, 2, 60)
X[CLASSES == 1, :, :, :4] += 1
ARRAYS = (X[:40], CLASSES[:40]), (X[40:], CLASSES[40:])
ACCURACY = {"accuracy": lambda outputs, label: outputs.argmax(1) == label}


class Rows(paddle.io.Dataset):
    """The same as Tensors and whole numbers."""

    def __init__(self, start, stop):
        self.rows = [(paddle.to_tensor(X[i]), int(CLASSES[i])) for i in range(start, stop)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


class TwoInputs(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv, self.head = pcc.CoordConv(1, 4, 8), nn.Linear(5, 2)

    def forward(self, maps, number):
        return self.head(paddle.concat([self.conv(maps).flatten(1), number], axis=1))


def network():
    paddle.seed(3)
    return nn.Sequential(pcc.CoordConv(1, 4, 8), nn.Flatten(), nn.Linear(4, 2))


def fitted(folder, data=ARRAYS, **options):
    net = network()
    options = {"epochs": 3, "batch_size": 10, "optimizer": {"learning_rate": 0.02}, **options}
    return net, fit(net, *data, nn.CrossEntropyLoss(), ACCURACY, output_dir=folder, **options)


def test_it_learns_and_writes_what_the_command_writes(tmp_path):
    net, result = fitted(tmp_path, epochs=12)
    assert result["best"]["accuracy"] == 1
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert {"config.yml", "run.json", "best.pdparams", "last.pdopt", "vdl"} <= {p.name for p in tmp_path.iterdir()}
    best = network()
    load_weights(best, tmp_path / "last.pdparams")
    x = paddle.to_tensor(X, "float32")
    assert (best(x) == net(x)).all()
    outputs, labels = net(x[40:]).numpy(), CLASSES[40:]
    assert result["last"]["accuracy"] == (outputs.argmax(1) == labels).mean()
    assert result["last"]["loss"] == pytest.approx(nn.CrossEntropyLoss()(net(x[40:]), paddle.to_tensor(labels)).item())


def test_a_dataset_gives_what_arrays_give(tmp_path):
    assert fitted(tmp_path / "a")[1]["last"] == fitted(tmp_path / "b", (Rows(0, 40), Rows(40, 60)))[1]["last"]


def test_a_resume_ends_where_one_run_would(tmp_path):
    options = {"epochs": 4, "schedule": {"name": "constant"}}
    whole, _ = fitted(tmp_path / "whole", **options)
    fitted(tmp_path / "parts", **options, max_steps=7)
    resumed, result = fitted(tmp_path / "parts", **options, resume="auto")
    assert result["epochs"] == 4
    for a, b in zip(whole.parameters(), resumed.parameters()):
        assert (a == b).all()


def test_several_inputs(tmp_path):
    data = [(x, x.mean((1, 2, 3))[:, None], label) for x, label in ARRAYS]
    result = fit(TwoInputs(), *data, nn.CrossEntropyLoss(), ACCURACY, num_inputs=2, epochs=1, output_dir=tmp_path)
    assert 0 <= result["last"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": len}, "network takes a paddle.nn.Layer, got builtin"),
        ({"train": ([], [])}, "train takes one sample at least, got none"),
        ({"train": (X, CLASSES[:3])}, r"train takes arrays of the same length, got \[60, 3\]"),
        ({"test": (X,)}, r"test takes samples of 1 input\(s\) and a target at least, got 1 field"),
        ({"test": iter([])}, "test takes a paddle.io.Dataset with a length, or arrays, got list_iterator"),
        ({"loss": "mse"}, "loss takes a function, got str"),
        ({"metrics": {}}, "metrics takes one function at least"),
        ({"metrics": {"accuracy": 1}}, "accuracy takes a function, got int"),
        ({"metrics": {"near": lambda y, t: 0.5}}, r"near takes a function that gives a number .*\[20\], got \[\]"),
        ({"epoch": 3}, "there is no key 'epoch': did you mean 'epochs'?"),
        ({"optimizer": {"name": "lion"}}, "optimizer.name takes one of"),
        ({"seed": [1, 2]}, "seed takes one whole number"),
    ],
)
def test_wrong_arguments(tmp_path, changes, words):
    train, test = ARRAYS
    given = {"network": network(), "train": train, "test": test, "loss": nn.CrossEntropyLoss(), "metrics": ACCURACY}
    with pytest.raises(UserError, match=words):
        fit(**{**given, "epochs": 1, "output_dir": tmp_path, **changes})
