"""``fit``: any network and data get the loop, the files and the resume of the command."""

import json
import os
import random
import signal

import numpy as np
import paddle
import pandas
import pytest
from paddle import nn
from paddle.optimizer import Adam
from tiny import TinyTask

import ppcoordconv as pcc
from ppcoordconv.training import fit
from ppcoordconv.training.first_batch import try_first_batch
from ppcoordconv.utils.errors import Stopped, UserError
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


class Sizes(Rows):
    """Pictures of two sizes."""

    def __init__(self):
        super().__init__(40, 60)

    def __getitem__(self, index):
        x, label = super().__getitem__(index)
        return x[..., index % 2 :], label


class TwoInputs(nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv, self.head = pcc.CoordConv(1, 4, 8), nn.Linear(5, 2)

    def forward(self, maps, number):
        return self.head(paddle.concat([self.conv(maps).flatten(1), number], axis=1))


class TwoOutputs(nn.Layer):
    """The classes, and their margin, in a tuple or otherwise."""

    def __init__(self, form=tuple):
        super().__init__()
        self.body, self.form = network(), form

    def forward(self, x):
        logits = self.body(x)
        return self.form([logits, logits[:, 1] - logits[:, 0]])


class Scaled(nn.Layer):
    def forward(self, x):
        return x.astype("float32") / 255


class Counting(nn.Layer):
    """Adds noise of every generator and counts its calls, in evaluation too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", paddle.zeros([1]))
        self.modes = []

    def forward(self, x):
        self.modes.append(self.training)
        self.calls.set_value(self.calls + 1)
        return x + 0.01 * (paddle.rand(x.shape) + np.random.rand() + random.random())


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


@pytest.mark.parametrize("form", [tuple, list])
def test_several_outputs(tmp_path, form):
    """Each is measured; what the first is trained to is, bit for bit, what it is alone."""
    seen = []

    def loss(outputs, label):
        seen.append(type(outputs))
        return nn.CrossEntropyLoss()(outputs[0], label) + 0 * outputs[1].mean()

    metrics = {
        "accuracy": lambda outputs, label: outputs[0].argmax(1) == label,
        "margin": lambda outputs, label: (outputs[1] > 0) == label,
    }
    options = {"epochs": 3, "batch_size": 10, "optimizer": {"learning_rate": 0.02}}
    net = TwoOutputs(form)
    result = fit(net, *ARRAYS, loss, metrics, output_dir=tmp_path / "two", **options)
    alone, expected = fitted(tmp_path / "one")
    assert set(seen) == {form}
    assert result["last"]["margin"] == result["last"]["accuracy"] == expected["last"]["accuracy"]
    assert result["last"]["loss"] == expected["last"]["loss"]
    for a, b in zip(net.parameters(), alone.parameters()):
        assert (a == b).all()


def test_the_batch_that_is_tried_leaves_no_trace():
    task = TinyTask()
    task.network = net = nn.Sequential(nn.BatchNorm1D(4), Counting(), nn.Dropout(0.5), task.network)
    net[0].eval()

    def everything():
        weights = [value.numpy().tobytes() for value in net.state_dict().values()]
        return weights, [layer.training for layer in net.sublayers()], str(np.random.get_state()), random.getstate()

    before = everything()
    try_first_batch(task, 10)
    assert everything() == before and net[1].modes == [False]
    net(paddle.to_tensor(task.x))
    assert [a == b for a, b in zip(everything(), before)] == [False, True, False, False]


@pytest.mark.parametrize(("folder", "resume"), [("parts", "auto"), ("others", "parts/last.pdopt")])
def test_ctrl_c_stops_it_and_a_resume_goes_on(tmp_path, folder, resume, interruptible):
    whole, _ = fitted(tmp_path / "whole")
    steps = []

    def loss(outputs, label):
        steps.append(label)
        if len(steps) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return nn.CrossEntropyLoss()(outputs, label)

    options = {"epochs": 3, "batch_size": 10, "optimizer": {"learning_rate": 0.02}}
    with pytest.raises(Stopped, match="stopped by SIGINT in epoch 2 after 10 samples; the state is saved"):
        fit(network(), *ARRAYS, loss, ACCURACY, output_dir=tmp_path / "parts", **options)
    resumed = network()
    resume = resume if resume == "auto" else tmp_path / resume
    fit(resumed, *ARRAYS, loss, ACCURACY, output_dir=tmp_path / folder, resume=resume, **options)
    # The batch that is tried, twice; all 12 steps, once; the evaluations of 3 epochs, in two batches each.
    assert len(steps) == 2 + 12 + 6
    for a, b in zip(whole.parameters(), resumed.parameters()):
        assert (a == b).all()


def test_whole_numbers_go_into_networks_that_take_them(tmp_path):
    levels = [((x * 100).astype(np.uint8), label) for x, label in ARRAYS]
    net = nn.Sequential(Scaled(), *network())
    assert fit(net, *levels, nn.CrossEntropyLoss(), ACCURACY, epochs=1, output_dir=tmp_path)["epochs"] == 1


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
        ({"optimizer": Adam(parameters=network().parameters())}, "optimizer takes options, as .*'adamw'.*, got Adam"),
        ({"schedule": "cosine"}, "schedule takes options, as .*'one_cycle'.*, got str"),
        ({"learning_rate": 0.1}, r"there is no key 'learning_rate': did you mean optimizer=\{'learning_rate': ...\}\?"),
        ({"data": {"name": "digits"}}, "there is no key 'data'. The keys here are optimizer, .*, resume$"),
        ({"num_input": 2}, "there is no key 'num_input': did you mean 'num_inputs'?"),
        ({"network": TwoInputs()}, "num_inputs is how many .* takes, got 1: missing .* 'number'"),
        ({"train": (X, X, CLASSES), "test": (X, X, CLASSES), "num_inputs": 2}, "num_inputs is .*, got 2: too many"),
        ({"loss": nn.CrossEntropyLoss(reduction="none")}, r"loss takes .* one number .*, got the shape \[20"),
        ({"loss": lambda outputs, label: 0.5}, r"loss takes .* one number .*, got float"),
        ({"metrics": [len]}, "metrics takes functions by name, as .*, got list"),
        ({"resume": True}, "resume takes 'auto', the path of a last.pdopt, or None, got True"),
        ({"test": (X.astype(np.uint8), CLASSES)}, "the network takes inputs in floating-point numbers, got uint8: "),
        ({"train": (X, CLASSES, CLASSES)}, "test takes samples of 3 fields, as train has, got 2"),
        (
            {"network": TwoOutputs(lambda outputs: {"logits": outputs[0]})},
            "network takes one .*, got one that gives dict",
        ),
        ({"network": TwoOutputs(lambda outputs: (outputs[0], None))}, "network .* that gives a tuple with NoneType"),
        ({"network": nn.Flatten()}, "network takes one with weights to train; it has none"),
        ({"train": list(zip(X, CLASSES))}, "train takes arrays of the same length, .*, got a list of tuples"),
        ({"train": (X, 3)}, "train takes arrays of the same length, got one without a length: .*int"),
        ({"train": {"x": X, "y": CLASSES}}, "train takes a paddle.io.Dataset with a length, or arrays, got dict"),
        ({"train": (X, CLASSES.astype(str))}, "a sample takes numbers, got .*'[01]'"),
        ({"test": Sizes()}, r"the samples of a batch take one shape, got \[1, 8, 8\] and \[1, 8, 7\]"),
        ({"metrics": {"loss": len}}, "metrics takes names other than epoch, train_loss, loss, seconds, .*, got 'loss'"),
        ({"metrics": {1: len}}, "metrics takes names other than .*, got 1"),
        ({"metrics": {"near": lambda y, t: np.full(len(t), np.nan)}}, "near takes .* a finite number .*, got nan"),
        ({"output_dir": ""}, "output_dir takes a path, got ''"),
        ({"output_dir": None}, "output_dir takes a path, got None"),
    ],
)
def test_wrong_arguments(tmp_path, changes, words):
    train, test = ARRAYS
    given = {"network": network(), "train": train, "test": test, "loss": nn.CrossEntropyLoss(), "metrics": ACCURACY}
    with pytest.raises(UserError, match=words):
        fit(**{**given, "epochs": 1, "output_dir": tmp_path / "run", **changes})
    assert not (tmp_path / "run").exists()


def test_a_metric_that_is_no_number_stops_it_and_leaves_the_state(tmp_path):
    calls = []  # for the batch that is tried, and for each epoch

    def far(outputs, label):
        calls.append(len(label))
        return np.full(len(label), np.nan if len(calls) == 3 else 1.0)

    options = {"epochs": 2, "output_dir": tmp_path}
    with pytest.raises(UserError, match="the metric far became nan in epoch 2; .* --resume auto goes on from it"):
        fit(network(), *ARRAYS, nn.CrossEntropyLoss(), {"far": far}, **options)
    assert fit(network(), *ARRAYS, nn.CrossEntropyLoss(), {"far": far}, resume="auto", **options)["epochs"] == 2


def test_a_resume_with_another_metric_is_refused(tmp_path):
    fitted(tmp_path, epochs=1)
    words = (
        "the run to go on from has measured accuracy, and not 'right', by which the best .*; resume with the metrics"
    )
    with pytest.raises(UserError, match=words):
        fit(
            network(),
            *ARRAYS,
            nn.CrossEntropyLoss(),
            {"right": ACCURACY["accuracy"]},
            output_dir=tmp_path,
            resume="auto",
        )


def test_a_loss_without_a_gradient_is_refused(tmp_path):
    def loss(outputs, label):
        return nn.functional.cross_entropy(outputs.detach(), label)

    with pytest.raises(UserError, match="the loss has no gradient, so that nothing is learnt"):
        fit(network(), *ARRAYS, loss, ACCURACY, output_dir=tmp_path)


def test_rows_of_pandas_are_taken_by_their_place(tmp_path):
    order = np.random.default_rng(1).permutation(40)
    shuffled = X[:40][order], pandas.Series(CLASSES[:40])[order]
    (plain, _), (net, _) = (
        fitted(tmp_path / form, ((shuffled[0], labels), ARRAYS[1]))
        for form, labels in (("array", CLASSES[:40][order]), ("series", shuffled[1]))
    )
    assert all(np.array_equal(a, b) for a, b in zip(plain.parameters(), net.parameters()))


def test_other_mistakes_of_a_network_keep_their_traceback(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fit(TwoOutputs(lambda outputs: 1 / 0), *ARRAYS, nn.CrossEntropyLoss(), ACCURACY, output_dir=tmp_path)
