"""Several processes train what one trains, count every sample once, and end together."""

import ast
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import paddle
import pytest
from conftest import ENVIRONMENT, ROOT
from forked import Forked
from paddle import nn
from parts import run_part
from tiny import CONFIG, weights

from ppcoordconv.models.fine_tuning import freeze
from ppcoordconv.training import dist
from ppcoordconv.utils.weights import load_state

PART = ROOT / "tests" / "training" / "parts.py"


def words(folder, changes):
    folder.mkdir(exist_ok=True)
    return [str(folder), *(f"{key}={value}" for key, value in changes.items())]


def start(folder, processes, **changes):
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes), "--log_dir", str(folder / "log")]
    command = [sys.executable, *(launch if processes > 1 else []), str(PART), *words(folder, changes)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_forked(folder, processes, **changes):
    """The same in processes that have Paddle imported already."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(socket.socket()) for _ in range(processes)]
        for port in ports:
            port.bind(("127.0.0.1", 0))
        places = ["{}:{}".format(*port.getsockname()) for port in ports]
    parts = [
        Forked(
            run_part,
            words(folder, changes),
            {
                "PADDLE_TRAINER_ID": str(rank),
                "PADDLE_TRAINERS_NUM": str(processes),
                "PADDLE_TRAINER_ENDPOINTS": ",".join(places),
                "PADDLE_CURRENT_ENDPOINT": place,
                "PADDLE_MASTER": places[0],
                "PADDLE_DISTRI_BACKEND": "gloo",
            },
        )
        for rank, place in enumerate(places)
    ]
    for part in parts:
        done = part.finish()
        assert done.returncode == 0, done.stderr


def finish(process):
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said


def assert_close(a, b):
    assert set(a) == set(b)
    for key in a:
        np.testing.assert_allclose(a[key], b[key], rtol=1e-5, atol=1e-6)


# 40 held-out samples and batches of 7: remainders everywhere; one sample is left for the last batch of 13.
@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 7},
        pytest.param(
            {"batch_size": 13, "accumulate_steps": 3, "ema": 0.9, "gradient_clip": 0.3}, marks=pytest.mark.any_paddle
        ),
    ],
    ids=["batches of 7", "of 13 in three parts"],
)
def test_two_and_three_processes_train_what_one_trains(tmp_path, changes):
    runs = {count: tmp_path / str(count) for count in (1, 2, 3)}
    for count, folder in runs.items():
        run_forked(folder, count, **changes)
    one = json.loads((runs[1] / "run" / "metrics.json").read_text())
    for count in (2, 3):
        assert_close(weights(runs[count] / "run"), weights(runs[1] / "run"))
        many = json.loads((runs[count] / "run" / "metrics.json").read_text())
        assert many["last"] == {key: pytest.approx(value, rel=1e-5) for key, value in one["last"].items()}
        assert json.loads((runs[count] / "run" / "run.json").read_text())["processes"] == count
        assert len(list((runs[count] / "run" / "vdl").iterdir())) == 1
        for rank in range(count):
            files = (runs[1] / "outputs0.txt", runs[count] / f"outputs{rank}.txt")
            outputs = [np.array(ast.literal_eval(file.read_text())) for file in files]
            np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)
            assert len(outputs[0]) == 40


@pytest.mark.any_paddle
@pytest.mark.slow
def test_two_processes_train_a_network_of_the_configs_as_one_does(tmp_path):
    arguments = [str(ROOT / "tools" / "train.py"), "-c", str(CONFIG.with_name("coordconv.yml"))]
    # With a seed in whose first steps no rounding error decides on which side of its corner a ReLU is.
    arguments += ["-o", "optimizer={name: momentum, learning_rate: 0.02}", "max_steps=20", "epochs=1", "seed=1"]
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(tmp_path / "log")]
    for name, launched in (("one", []), ("two", launch)):
        command = [sys.executable, *launched, *arguments, f"output_dir={tmp_path / name}"]
        subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True, timeout=300)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert set(one) == set(two)
    for key in one:
        assert np.abs(one[key] - two[key]).max() <= 1e-5 * np.abs(one[key]).max()
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2


@pytest.mark.any_paddle
@pytest.mark.slow
def test_a_killed_process_ends_the_job_which_resumes_on_another_number(tmp_path):
    job = start(tmp_path / "parts", 2, epochs=6, save_steps=1, slow=0.05)
    state = tmp_path / "parts" / "run" / "last.1.pdopt"
    while not state.exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    killed = time.monotonic()
    os.kill(int((tmp_path / "parts" / "pid1").read_text()), signal.SIGKILL)
    said, _ = job.communicate(timeout=60)
    assert time.monotonic() - killed < 60
    assert job.returncode != 0, said
    step = load_state(tmp_path / "parts" / "run" / "last.pdopt")["step"]
    assert 1 <= step < 36
    finish(start(tmp_path / "parts", 3, epochs=6))
    run_forked(tmp_path / "whole", 1, epochs=6)
    assert_close(weights(tmp_path / "parts" / "run"), weights(tmp_path / "whole" / "run"))


@pytest.mark.any_paddle
@pytest.mark.slow
def test_a_limit_of_minutes_stops_all_after_the_same_step(tmp_path):
    """Also while one of them draws, which the other spends waiting in its next step."""
    finish(start(tmp_path, 2, epochs=1000, max_minutes=0.02, drawing=0.1))
    assert load_state(tmp_path / "run" / "last.pdopt")["seconds"] >= 1.2


@pytest.mark.any_paddle
@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path):
    job = start(tmp_path / "parts", 2, epochs=50, save_steps=1, slow=0.05)
    while not (tmp_path / "parts" / "run" / "last.pdopt").exists():
        assert job.poll() is None, job.communicate()
        time.sleep(0.05)
    os.kill(int((tmp_path / "parts" / "pid1").read_text()), signal.SIGTERM)
    said, _ = job.communicate(timeout=60)
    assert job.returncode != 0, said
    logs = [path.read_text() for path in sorted((tmp_path / "parts" / "log").glob("workerlog.*"))]
    stopped = [next(line for line in log.splitlines() if "stopped by SIGTERM in" in line) for log in logs]
    assert len({line.split("stopped by")[1] for line in stopped}) == 1


def test_frozen_batch_norms_are_not_synchronised():
    inner = nn.Sequential(nn.Conv2D(2, 2, 1), nn.BatchNorm2D(2))
    network = nn.Sequential(("body", inner), ("norm", nn.BatchNorm2D(2)), ("head", nn.Conv2D(2, 1, 1)))
    freeze(network, "body")
    frozen = inner[1]
    converted = dist.with_synchronised_norms(network)
    assert converted is network
    assert network.body[1] is frozen
    assert type(network.norm) is nn.SyncBatchNorm
    before = frozen._mean.numpy()
    network.train()
    network.body(paddle.rand([4, 2, 3, 3]))
    assert (frozen._mean.numpy() == before).all()
