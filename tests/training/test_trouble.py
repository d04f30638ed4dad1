"""A training that goes wrong, and one that is resumed with other settings or other data."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ENVIRONMENT, ROOT
from forked import Forked
from paddle import nn
from tiny import TinyTask, assert_same_weights, config, weights

from ppcoordconv.training.seeds import train_seeds
from ppcoordconv.training.trainer import find_resume, train
from ppcoordconv.utils.errors import Stopped, UnreadableImageError, UserError
from ppcoordconv.utils.weights import load_state

pytestmark = pytest.mark.any_paddle


class RegressionTask(TinyTask):
    """Its loss has no bound."""

    def __init__(self):
        super().__init__()
        self.network = nn.Linear(4, 2)

    def loss(self, outputs, targets):
        return nn.functional.mse_loss(outputs[:, 0], targets[0].astype("float32")) + self.poisoned


def sgd(tmp_path, rate=0.01, **changes):
    return config(tmp_path, optimizer=f"{{name: sgd, learning_rate: {rate}}}", schedule="{name: constant}", **changes)


@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("save_steps", [1, "null"])
def test_diverged_it_is_resumed_from_before_the_loss_rose(tmp_path, capsys, keep, save_steps):
    """The cure that the message names: a lower rate, and --resume auto."""
    options = {"max_checkpoints": keep, "save_steps": save_steps}
    train(RegressionTask(), sgd(tmp_path, epochs=2, **options))
    good = load_state(tmp_path / "run" / "last.pdopt")
    too_fast = sgd(tmp_path, 10, epochs=9, **options)
    words = r"the loss became (nan|inf) in step \d+, .* may help\. The state from before that is in .*/run: --resume"
    with pytest.raises(UserError, match=words):
        train(RegressionTask(), too_fast, find_resume("auto", too_fast))
    kept = load_state(tmp_path / "run" / "last.pdopt")
    assert good["step"] <= kept["step"] <= good["step"] + 6
    assert all(np.isfinite(value).all() for value in kept["network"].values())
    assert kept["recent_loss"] < 10 * kept["first_loss"]
    cured = sgd(tmp_path, 0.05, epochs=60, **options)
    result = train(RegressionTask(), cured, find_resume("auto", cured))
    assert result["last"]["train_loss"] < 1
    assert result["epochs"] == 60


@pytest.mark.parametrize("rate", [1.5, 3, 10])
@pytest.mark.parametrize("save_steps", [1, 2, "null"])
def test_no_state_is_of_weights_that_no_rate_can_save(tmp_path, rate, save_steps):
    """Those of a run that was too fast from its first step."""
    too_fast = sgd(tmp_path, rate, epochs=9, save_steps=save_steps)
    with pytest.raises(UserError, match="a lower optimizer.learning_rate or a gradient_clip may help"):
        train(RegressionTask(), too_fast)
    cured = sgd(tmp_path, 0.05, epochs=30)
    result = train(RegressionTask(), cured, find_resume("auto", cured))
    assert result["last"]["train_loss"] < 1


def test_a_picture_that_cannot_be_read_says_what_leaves_it_out(tmp_path):
    task = TinyTask()

    class Broken(list):
        def __getitem__(self, index):
            if index == 13:
                raise UnreadableImageError("a.png is not a readable picture")
            return super().__getitem__(index)

    samples = Broken(task.train_samples(0))
    task.train_samples = lambda seed: samples
    with pytest.raises(UserError, match="^a.png is not .*; remove it, or leave out all such with data.on_error=skip$"):
        train(task, config(tmp_path))


def test_a_run_without_progress_is_said(tmp_path, capsys):
    first = config(tmp_path, epochs=1, **{"optimizer.learning_rate": 10})
    train(TinyTask(), first)
    said = capsys.readouterr().err
    assert "40 samples to train on, 40 held out; 6 steps" in said
    assert re.search(r"the loss has risen, from \S+ to \S+; a lower optimizer.learning_rate may help", said)
    first = config(tmp_path, epochs=1, output_dir=tmp_path / "good")
    train(TinyTask(), first)
    train(TinyTask(), first, find_resume("auto", first))
    assert "nothing is left to do: all 1 epochs are done" in capsys.readouterr().err
    other = config(tmp_path, epochs=1, output_dir=tmp_path / "other")
    assert find_resume("auto", other) is None
    assert "other to resume from; beginning" in capsys.readouterr().err


def test_stopped_after_it_diverged_no_state_is_promised(tmp_path):
    task = TinyTask()
    loss = task.loss

    def ask_to_stop(outputs, targets):
        task.network[0].weight.set_value(1e9 * task.network[0].weight)
        os.kill(os.getpid(), signal.SIGTERM)
        return loss(outputs, targets)

    task.loss = ask_to_stop
    with pytest.raises(Stopped, match="after 7 samples; No state was saved before that"):
        train(task, config(tmp_path))
    assert not (tmp_path / "run" / "last.pdopt").exists()


def test_diverged_before_there_was_a_state(tmp_path):
    with pytest.raises(UserError, match="No state was saved before that"):
        train(RegressionTask(), sgd(tmp_path, 10, epochs=50))
    assert not (tmp_path / "run" / "last.pdopt").exists()


def test_weights_that_became_nan_in_an_epochs_last_step(tmp_path):
    """The loss of that step was finite; evaluation sees it, and the states are those from before."""
    train(TinyTask(), config(tmp_path, epochs=1))
    before = (tmp_path / "run" / "last.pdopt").read_bytes()
    measured = json.loads((tmp_path / "run" / "metrics.json").read_text())
    task, longer = TinyTask(), config(tmp_path, epochs=3, max_checkpoints=1)
    loss, steps = task.loss, []

    def loss_and_spoil(outputs, targets):
        steps.append(1)
        if len(steps) == 6:  # the last of an epoch of 40 samples
            task.network[0].weight.register_hook(lambda gradient: gradient * float("nan"))
        return loss(outputs, targets)

    task.loss = loss_and_spoil
    with pytest.raises(UserError, match="weights became infinite or nan in epoch 2; "):
        train(task, longer, find_resume("auto", longer))
    assert (tmp_path / "run" / "last.pdopt").read_bytes() == before
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == measured


def test_evaluation_that_fails_does_not_cost_the_epoch(tmp_path):
    whole, parts = (config(tmp_path, epochs=2, output_dir=tmp_path / name) for name in ("whole", "parts"))
    expected = train(TinyTask(), whole)
    broken = TinyTask()
    broken.metrics = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        train(broken, parts)
    assert load_state(tmp_path / "parts" / "last.pdopt")["position"] == 40
    mended = TinyTask(seed=9)
    got = train(mended, parts, find_resume("auto", parts))
    assert {k: got[k] for k in ("best", "last")} == {k: expected[k] for k in ("best", "last")}
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


ALLOWED = [
    {"epochs": 4},
    {"optimizer.learning_rate": 0.001},
    {"optimizer.weight_decay": 0.1},
    {"batch_size": 3},
    {"batch_size": 40},
    {"batch_size": 3, "schedule": "{name: one_cycle, pct_start: 0.5}", "epochs": 3},
    {"schedule": "{name: cosine}"},
    {"schedule": "{name: step, milestones: [1, 2], warmup_steps: 4}"},
    {"max_steps": 8},
    {"max_minutes": 5},
    {"patience": 1},
    {"workers": 3},
    {"accumulate_steps": 2},
    {"gradient_clip": 0.1},
    {"ema": 0.9},
    {"max_checkpoints": 5},
    {"save_steps": 1},
]


@pytest.mark.parametrize("changes", ALLOWED, ids=[" ".join(changes) for changes in ALLOWED])
def test_what_may_change_at_a_resume(tmp_path, changes):
    """In the middle of the second of three epochs."""
    first = config(tmp_path, epochs=3, max_steps=9)
    assert train(TinyTask(), first)["epochs"] == 2
    other = config(tmp_path, **{"epochs": 3, **changes})
    result = train(TinyTask(), other, find_resume("auto", other))
    state = load_state(tmp_path / "run" / "last.pdopt")
    if "max_steps" in changes:
        assert (state["step"], result["epochs"]) == (9, 2)
    else:
        assert result["epochs"] == (2 if "patience" in changes and state["epoch"] == 3 else other.epochs)
        rest = 40 - 9 % 6 * 7
        steps = -(-rest // other.batch_size) + (state["epoch"] - 3) * -(-40 // other.batch_size)
        assert state["step"] == 9 + steps


def test_the_rate_follows_the_new_schedule(tmp_path):
    """At the part of the run that is done, as if it had been so from the beginning."""
    rates = {}
    for name, before in {"whole": {}, "changed": {"optimizer.learning_rate": 0.5, "batch_size": 10}}.items():
        output = tmp_path / name
        train(TinyTask(), config(tmp_path, epochs=2, output_dir=output, **before))
        rest = config(tmp_path, epochs=4, output_dir=output)
        train(TinyTask(), rest, find_resume("auto", rest))
        state = load_state(output / "last.pdopt")
        rates[name] = state["optimizer"]["LR_Scheduler"]["last_lr"], state["rate"]
    assert rates["changed"] == rates["whole"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "{name: sgd}"}, "optimizer.name was 'adamw' and is 'sgd'"),
        ({"seed": 5}, "seed was 0 and is 5"),
        ({"model.num_classes": 3}, "model.num_classes was None and is 3"),
        ({"data.name": "cifar10"}, "data.name was 'digits' and is 'cifar10'"),
        ({"task.shift": 1, "seed": 1}, "seed was 0 and is 1; task.shift was 2 and is 1"),
    ],
)
def test_what_may_not_change_at_a_resume(tmp_path, changes, words):
    train(TinyTask(), config(tmp_path, epochs=1))
    other = config(tmp_path, epochs=2, **changes)
    with pytest.raises(UserError, match=f"with other settings: {words}; resume with those, or with resume_anyway"):
        train(TinyTask(), other, find_resume("auto", other))
    assert train(TinyTask(), other, find_resume("auto", other), resume_anyway=True)["epochs"] == 2


class FewerSamples(TinyTask):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def train_samples(self, seed):
        return super().train_samples(seed)[: self.count]


@pytest.mark.parametrize("count", [1, 10, 21, 39])
def test_data_that_have_become_fewer(tmp_path, capsys, count):
    """Fewer than the place in the epoch that the state was written at, too."""
    first = config(tmp_path, epochs=3, max_steps=9)
    train(TinyTask(), first)
    rest = config(tmp_path, epochs=3)
    result = train(FewerSamples(count), rest, find_resume("auto", rest))
    assert result["epochs"] == 3
    assert f"last.pdopt was written with: 40 samples then, {count} now" in capsys.readouterr().err


def test_data_that_have_changed(tmp_path, capsys):
    train(TinyTask(), config(tmp_path, epochs=1))
    other, rest = TinyTask(), config(tmp_path, epochs=2)
    other.x = other.x + 1
    train(other, rest, find_resume("auto", rest))
    assert "last.pdopt was written with: other content" in capsys.readouterr().err


def train_for_long(tmp_path):
    train(TinyTask(), config(tmp_path, epochs=100_000))


def test_two_trainings_do_not_write_one_directory(tmp_path):
    first = Forked(train_for_long, tmp_path)
    while not (tmp_path / "run" / "last.pdopt").exists():
        assert first.exitcode is None
    with pytest.raises(UserError, match="run is being written by another training; choose another output_dir"):
        train(TinyTask(), config(tmp_path, epochs=1))
    assert not (tmp_path / "run" / "earlier.1").exists()
    first.kill()
    first.finish()
    train(TinyTask(), config(tmp_path, epochs=1))
    assert (tmp_path / "run" / "earlier.1").exists()


def test_several_seeds_that_have_nothing_left_to_do(tmp_path):
    several = config(tmp_path, seed=[0, 1], max_steps=1)
    first = train_seeds(several, lambda run: TinyTask(seed=run.seed))
    again = train_seeds(several, lambda run: TinyTask(seed=run.seed), "auto")
    assert again == first


STREAMS = {
    "stderr on a full disk": "2>/dev/full",
    "all closed": ">&- 2>&- <&-",
    "a reader that goes away": "2>&1 | head -c 1",
}


@pytest.mark.parametrize("stream", STREAMS)
def test_who_reads_the_messages_does_not_matter(tmp_path, stream):
    arguments = [f"{ROOT / 'configs' / 'digits' / 'conv.yml'}", "epochs=2", "max_steps=2", "output_dir=run"]
    command = f"exec {sys.executable} {ROOT / 'tools' / 'train.py'} -c {arguments[0]} -o {' '.join(arguments[1:])}"
    shell = ["bash", "-c", f"({command}) {STREAMS[stream]}; exit ${{PIPESTATUS[0]}}"]
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 1
    assert load_state(tmp_path / "run" / "last.pdopt")["step"] == 2


def test_a_result_that_cannot_be_printed_is_said_and_the_run_is_whole(tmp_path):
    config = ROOT / "configs" / "digits" / "conv.yml"
    words = ["-c", config, "-o", "epochs=1", "max_steps=1", "output_dir=run"]
    command = [sys.executable, str(ROOT / "tools" / "train.py"), *map(str, words)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "train.py: stdout can't be written: No space left on device"
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 1


FORGED = {
    "config": ["x", None],
    "network": [[1], None],
    "optimizer": [None, [1], {"x": 1, "master_weights": [1]}, {"master_weights": {"x": 1}}],
    "history": [None, [1], "abc", [{"epoch": 1}], [{"epoch": "1", "accuracy": 1.0}], [{"epoch": 1, "accuracy": "x"}]],
    "partial": [{"x": 1}, [1], {"epoch": 1, "accuracy": np.zeros(2)}],
    "epoch": ["x", None, 0, -5, 1.5, 2**200, True],
    "position": [-3, 1.5, "9", 41, 10**9, np.zeros(1)],
    "step": ["x", -(10**6)],
    "size": ["x", -1, None],
    "seconds": ["x"],
    "loss_total": [float("nan"), "x"],
    "first_loss": ["x", None],
    "measured_step": [-1],
}


@pytest.fixture(scope="module")
def last_state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    train(TinyTask(), config(folder, epochs=1))
    return load_state(folder / "run" / "last.pdopt")


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in FORGED.items() for value in values])
def test_a_forged_state_is_a_sentence(tmp_path, last_state, key, value):
    (tmp_path / "last.pdopt").write_bytes(pickle.dumps({**last_state, key: value}, 2))
    with pytest.raises(UserError, match="last.pdopt (is not a state to resume from: |does not fit the network)"):
        train(TinyTask(), config(tmp_path, epochs=2), tmp_path / "last.pdopt")


def test_a_good_state_written_like_the_forged_ones_is_resumed(tmp_path, last_state):
    (tmp_path / "last.pdopt").write_bytes(pickle.dumps(last_state, 2))
    assert train(TinyTask(), config(tmp_path, epochs=2), tmp_path / "last.pdopt")["epochs"] == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"batch_size": 7, "max_steps": 3}, {"batch_size": 19}),
        ({"batch_size": 7, "max_steps": 5}, {"batch_size": 3}),
        ({"batch_size": 20, "max_steps": 1}, {"batch_size": 5, "max_steps": 12}),
    ],
)
def test_one_cycle_ends_with_the_run_whatever_the_batch_size(tmp_path, before, after):
    """It counts steps, of which there may be one more than a run of the new size alone has."""
    train(TinyTask(), config(tmp_path, epochs=2, **before))
    other = config(tmp_path, epochs=2, **after)
    train(TinyTask(), other, find_resume("auto", other))
    state = load_state(tmp_path / "run" / "last.pdopt")
    assert state["rate"] < 0.2 * 0.05
    if "max_steps" in after:
        assert state["step"] == after["max_steps"]
    else:
        assert state["epoch"] == 3


def test_what_is_in_the_way_of_a_run_is_moved_aside(tmp_path):
    run = tmp_path / "run"
    (run / ".writing-abcdefghlast.pdopt").mkdir(parents=True)
    (run / "vdl").symlink_to("nowhere")
    train(TinyTask(), config(tmp_path, epochs=1))
    assert (run / "earlier.1" / "vdl").is_symlink()
    assert (run / ".writing-abcdefghlast.pdopt").is_dir()
