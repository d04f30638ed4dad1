"""Nothing is lost: runs that are stopped, killed, damaged or out of space go on bit for bit, or say what is wrong."""

import json
import os
import random
import signal
import subprocess
import time

import numpy as np
import paddle
import pytest
from conftest import mounted, run_tool, start_tool
from forked import Forked
from tiny import CONFIG, TinyTask, assert_same_weights, config, train_or_resume, weights

from ppcoordconv.training.checkpoints import rotated_path
from ppcoordconv.training.trainer import find_resume, train
from ppcoordconv.utils.errors import Stopped, UserError
from ppcoordconv.utils.weights import load_state

STEP = "{name: step, milestones: [2, 4], factor: 0.5}"
OPTIONS = {
    "sgd, constant": {"optimizer": "{name: sgd, learning_rate: 0.1}", "schedule": "{name: constant}"},
    "momentum, step": {"optimizer": "{name: momentum, weight_decay: 0.01}", "schedule": STEP},
    "adam, cosine, warm-up": {"optimizer.name": "adam", "schedule": "{name: cosine, warmup_steps: 9}"},
    "adamw, one-cycle, EMA": {"ema": 0.9},
    "kernels only, clipped": {
        "optimizer.no_decay_bias_norm": True,
        "gradient_clip": 0.5,
        "optimizer.weight_decay": 0.5,
    },
    "in parts, by three threads": {"accumulate_steps": 3, "workers": 3},
}


class SignalledTask(TinyTask):
    """Sends its process a signal in the middle of some step."""

    def __init__(self, at_step, number=signal.SIGTERM):
        super().__init__(seed=7)
        self.steps_left = at_step
        self.number = number

    def loss(self, outputs, targets):
        if self.network.training:
            self.steps_left -= 1
            if self.steps_left == 0:
                os.kill(os.getpid(), self.number)
        return super().loss(outputs, targets)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("at_step", [1, 8, 12])
def test_stopped_in_mid_epoch_it_goes_on_bit_for_bit(tmp_path, name, at_step):
    whole, parts = (config(tmp_path, output_dir=tmp_path / n, **OPTIONS[name]) for n in ("whole", "parts"))
    expected = train(TinyTask(seed=7), whole)
    with pytest.raises(Stopped, match=r"stopped by SIGTERM .* the state is saved in") as stopped:
        train(SignalledTask(at_step * (3 if "parts" in name else 1)), parts)
    assert stopped.value.status == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert load_state(tmp_path / "parts" / "last.pdopt")["step"] == at_step
    got = train(TinyTask(seed=99), parts, find_resume("auto", parts))
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    assert {k: got[k] for k in ("best", "last")} == {k: expected[k] for k in ("best", "last")}


def test_twice_interrupted_it_stops_at_once(tmp_path, interruptible):
    task = SignalledTask(3, signal.SIGINT)
    loss = task.loss

    def loss_and_again(outputs, targets):
        value = loss(outputs, targets)
        if task.steps_left == 0:
            # Two signals at once are one: the second comes when the first was received.
            while signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        return value

    task.loss = loss_and_again
    with pytest.raises(KeyboardInterrupt):
        train(task, config(tmp_path))


def test_an_ignored_signal_stays_ignored(tmp_path, interruptible):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    result = train(SignalledTask(3, signal.SIGINT), config(tmp_path))
    assert result["epochs"] == 5
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_save_steps(tmp_path):
    with pytest.raises(ZeroDivisionError):
        task = TinyTask()
        task.metrics = lambda: 1 / 0
        train(task, config(tmp_path, save_steps=2))
    assert load_state(tmp_path / "run" / "last.pdopt")["step"] == 6
    assert load_state(tmp_path / "run" / "last.1.pdopt")["step"] == 4


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_states_are_kept(tmp_path, keep):
    train(TinyTask(), config(tmp_path, max_checkpoints=keep))
    states = sorted(path.name for path in (tmp_path / "run").glob("*.pdopt"))
    assert states == sorted(rotated_path(tmp_path / "last.pdopt", n).name for n in range(keep))
    assert [load_state(rotated_path(tmp_path / "run" / "last.pdopt", n))["epoch"] for n in range(keep)] == [6, 5, 4][
        :keep
    ]


@pytest.mark.parametrize("damage", ["truncated", "a bit flipped", "emptied"])
def test_a_damaged_newest_state_is_named_and_the_one_before_taken(tmp_path, capsys, damage):
    whole = config(tmp_path)
    train(TinyTask(), whole)
    expected, newest = weights(tmp_path / "run"), tmp_path / "run" / "last.pdopt"
    content = bytearray(newest.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 8):
        bad = bytearray(content)
        bad[place] ^= 1 << rng.integers(8)
        newest.write_bytes({"truncated": content[:place], "a bit flipped": bad, "emptied": b""}[damage])
        state = find_resume("auto", whole)
        assert state == tmp_path / "run" / "last.1.pdopt"
        said = capsys.readouterr().err
        assert "last.pdopt is not a valid weights file" in said
        assert "taking" in said
    train(TinyTask(seed=9), whole, state)
    assert_same_weights(weights(tmp_path / "run"), expected)
    for path in (tmp_path / "run").glob("*.pdopt"):
        path.write_bytes(b"gone")
    with pytest.raises(UserError, match="all saved states are damaged: .*last.pdopt.*last.1.pdopt"):
        find_resume("auto", whole)


@pytest.mark.parametrize("name", ["best.pdparams", "last.pdparams", "last.pdopt"])
def test_every_damaged_file_is_found(tmp_path, name):
    train(TinyTask(), config(tmp_path, epochs=1))
    path = tmp_path / "run" / name
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(content), 40):
        bad = bytearray(content)
        bad[place] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        with pytest.raises(UserError, match=f"{name} is not a valid weights file"):
            load_state(path)


@pytest.mark.any_paddle
@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
    """Twenty times SIGKILL, with a state written at every step; in the end the weights of a run that nobody killed."""
    assert Forked(train_or_resume, tmp_path / "whole").finish().returncode == 0
    rng, kills, half_written, steps = random.Random(0), 0, 0, []
    state = tmp_path / "parts" / "run" / "last.pdopt"
    while True:
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = Forked(train_or_resume, tmp_path / "parts")
        if kills < 20:
            while process.exitcode is None and (not state.exists() or state.stat().st_mtime_ns == before):
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.1))
            # Every second time while a state is being written.
            while kills % 2 and process.exitcode is None and not [*state.parent.glob(".writing-*last*")]:
                pass
            process.kill()
            kills += 1
            half_written += bool([*state.parent.glob(".writing-*last*")])
        ended = process.finish()
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        steps.append(load_state(state)["step"])
    assert kills == 20
    assert half_written >= 3
    assert steps == sorted(steps)
    assert steps[-1] < 360
    assert_same_weights(weights(tmp_path / "parts" / "run"), weights(tmp_path / "whole" / "run"))
    assert not [*state.parent.glob(".*")]


@pytest.mark.any_paddle
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_tool(tmp_path, number, interruptible):
    process = start_tool("train", "-c", CONFIG, "-o", "epochs=9", "save_steps=1", "output_dir=run", cwd=tmp_path)
    while not (tmp_path / "run" / "last.pdopt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate()
    assert stdout == ""
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert f"stopped by {number.name} in epoch" in stderr.splitlines()[-1]
        assert "--resume auto goes on" in stderr.splitlines()[-1]
    resumed = run_tool(
        "train", "-c", CONFIG, "-o", "output_dir=run", "epochs=9", "max_steps=20", "--resume", "auto", cwd=tmp_path
    )
    assert resumed.status == 0, resumed.stderr


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", "size=400k") as disk:
        yield disk


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_that_is_full_or_read_only(tmp_path, small_disk, trouble):
    run = config(tmp_path, output_dir=small_disk / "run", epochs=9)
    task = TinyTask()
    visualize, drawn = task.visualize, []

    def draw_and_make_trouble(outputs):
        drawn.append(1)
        if len(drawn) == 3 and trouble == "full":
            with (small_disk / "filler").open("wb") as file, pytest.raises(OSError, match="No space"):
                while True:
                    os.write(file.fileno(), bytes(512))
        elif len(drawn) == 3:
            subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        return visualize(outputs)

    task.visualize = draw_and_make_trouble
    with pytest.raises(UserError, match="can't be written: (No space left on device|Read-only file system)"):
        train(task, run)
    if trouble == "full":
        (small_disk / "filler").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    state = find_resume("auto", run)
    assert load_state(state)["epoch"] == 3
    train(TinyTask(), run, state)
    train(TinyTask(), config(tmp_path, output_dir=tmp_path / "whole", epochs=9))
    assert_same_weights(weights(small_disk / "run"), weights(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("changes", "words", "step"),
    [
        ({"max_steps": 8}, "max_steps=8", 8),
        ({"max_minutes": 1e-9}, "max_minutes=1e-09", 1),
        ({"patience": 2, "optimizer.learning_rate": 1e-9, "epochs": 50}, "patience=2: accuracy did not improve", 18),
    ],
)
def test_limits(tmp_path, capsys, changes, words, step):
    result = train(TinyTask(), config(tmp_path, **changes))
    assert f"training ends: {words}" in capsys.readouterr().err
    assert load_state(tmp_path / "run" / "last.pdopt")["step"] == step
    assert result["epochs"] == (step + 5) // 6
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == result


def test_the_number_of_threads_does_not_matter(tmp_path):
    for workers in (1, 4):
        train(TinyTask(), config(tmp_path, workers=workers, output_dir=tmp_path / str(workers)))
    assert_same_weights(weights(tmp_path / "1"), weights(tmp_path / "4"))


def test_the_random_numbers_of_others_do_not_matter(tmp_path):
    """What is drawn from the global generators between steps changes nothing."""
    for name, draws in (("a", 0), ("b", 3)):
        task = TinyTask()
        metrics = task.metrics
        task.metrics = lambda d=draws, m=metrics: ([paddle.rand([2]) for _ in range(d)], m())[1]
        train(task, config(tmp_path, output_dir=tmp_path / name))
    assert_same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
