"""The loop: it learns, writes what it promises, repeats and resumes bit for bit, and loses nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from paddle import nn
from PIL import Image
from tiny import ReportingTask, TinyTask, assert_same_weights, config, weights

import ppcoordconv as pcc
from ppcoordconv.training.evaluation import evaluate
from ppcoordconv.training.trainer import RUN_FILES, find_resume, train
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import load_state
from ppcoordconv.windows import current_window

# Of a classification.
FILES = {*RUN_FILES} - {"precision_recall.png"}


def test_a_run_learns_and_writes_what_it_promises(tmp_path):
    task = ReportingTask()
    result = train(task, config(tmp_path, epochs=20))
    run = tmp_path / "run"
    assert result["best"]["accuracy"] >= 0.95
    assert json.loads((run / "metrics.json").read_text()) == result
    assert set(result) == {"best", "last", "epochs", "seconds"}
    assert (result["epochs"], result["last"]["epoch"]) == (20, 20)
    assert {path.name for path in run.iterdir()} == {*FILES, "last.1.pdopt"}
    record = json.loads((run / "run.json").read_text())
    assert record["paddle"] == paddle.__version__
    assert record["processes"] == 1
    assert yaml.safe_load((run / "config.yml").read_text())["epochs"] == 20
    assert_same_weights(weights(run), {key: value.numpy() for key, value in task.network.state_dict().items()})


def test_the_report_is_that_of_the_last_evaluation(tmp_path, capsys):
    from visualdl import LogReader

    task = ReportingTask()
    result = train(task, config(tmp_path, epochs=2))
    metric = task.metrics()
    evaluate(task, task.test_samples(), 7, metric=metric)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report == {"epoch": 2, **metric.report(["left", "right"])}
    assert report["accuracy"] == result["last"]["accuracy"]
    drawn = metric.pictures(["left", "right"])["confusion"]
    assert (np.asarray(Image.open(tmp_path / "run" / "confusion.png")) == drawn).all()
    (log,) = (tmp_path / "run" / "vdl").iterdir()
    (shown,) = LogReader(file_path=str(log)).get_data("image", "confusion")
    assert shown.id == 2
    assert "always saying" not in capsys.readouterr().err


def test_a_result_of_chance_is_said_to_be_one(tmp_path, capsys):
    task = ReportingTask()
    task.x = np.zeros_like(task.x)
    train(task, config(tmp_path, epochs=2))
    share = max(np.bincount(task.y)) / 40
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "always saying" in line]
    assert said.startswith(f"accuracy {share:.2f} is no better than always saying ")


class InWindows(TinyTask):
    """The same on vectors as maps of one axis, each with a window."""

    window = True

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(pcc.CoordConv1D(1, 4, 1), nn.Flatten(), nn.Linear(16, 2))
        self.seen = []
        self.network[0].register_forward_pre_hook(lambda layer, inputs: self.seen.append(current_window()))

    def train_samples(self, seed):
        samples = super().train_samples(seed)
        return [(x[None], y, np.float32([n, n + 4, 50])) for n, (x, y) in enumerate(samples)]

    def test_samples(self):
        return [(x[None], y) for x, y in super().test_samples()]


def test_training_samples_are_seen_in_their_windows_and_those_held_out_are_not(tmp_path):
    task = InWindows()
    train(task, config(tmp_path, epochs=1, accumulate_steps=2))
    windows = [window.boxes for window in task.seen if window is not None]
    assert sorted(np.concatenate(windows)[:, 0]) == list(range(40))
    assert task.seen.count(None) == 6  # of 40 held out, 7 at a time


def test_the_best_weights_are_those_of_the_best_epoch(tmp_path):
    result = train(TinyTask(), config(tmp_path, epochs=8))
    task = TinyTask()
    task.network.set_state_dict(load_state(tmp_path / "run" / "best.pdparams"))
    metrics, _ = evaluate(task, task.test_samples(), 7)
    assert metrics["accuracy"] == result["best"]["accuracy"]
    assert metrics["loss"] == pytest.approx(result["best"]["loss"], rel=1e-6)


def test_the_best_weights_may_be_those_of_an_evaluation_within_an_epoch(tmp_path):
    """As where max_steps ended a run, which was resumed then."""
    task, shorter = TinyTask(), config(tmp_path, max_steps=3, epochs=9)
    first = train(task, shorter)["best"]
    longer, other = config(tmp_path, epochs=2), TinyTask()
    other.poisoned = 1.0
    metrics = other.metrics
    other.metrics = lambda: worse(metrics())
    result = train(other, longer, find_resume("auto", longer))
    assert result["best"] == first
    assert result["last"]["accuracy"] < first["accuracy"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == result
    best, last = (load_state(tmp_path / "run" / f"{name}.pdparams") for name in ("best", "last"))
    assert any((best[key] != last[key]).any() for key in best)
    unfinished = config(tmp_path, max_steps=3, epochs=9, output_dir=tmp_path / "again")
    train(TinyTask(), unfinished)
    assert_same_weights(best, load_state(tmp_path / "again" / "best.pdparams"))


def worse(metric):
    """As a metric that falls from here on."""
    compute = metric.compute
    metric.compute = lambda: {key: value / 10 for key, value in compute().items()}
    return metric


def test_evaluation_does_not_depend_on_the_batch_size():
    task = TinyTask()
    whole, outputs = evaluate(task, task.test_samples(), 40)
    for batch_size in (1, 7, 39, 1000):
        parts, again = evaluate(task, task.test_samples(), batch_size)
        assert parts == {key: pytest.approx(value, rel=1e-5) for key, value in whole.items()}
        np.testing.assert_allclose(again, outputs, rtol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(TinyTask(), config(tmp_path, seed=seed, output_dir=tmp_path / name))
    assert_same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert any((weights(tmp_path / "c")[key] != value).any() for key, value in weights(tmp_path / "a").items())


def test_every_epoch_draws_anew(tmp_path):
    task = TinyTask()
    train_samples, orders = task.train_samples, []

    class Recorded(list):
        def __getitem__(self, index):
            orders[-1].append(index)
            return super().__getitem__(index)

    def recorded(seed):
        orders.append([])
        return Recorded(train_samples(seed))

    task.train_samples = recorded
    train(task, config(tmp_path, epochs=3))
    epochs = [order for order in orders if len(order) == 40]  # some are read for the fingerprint
    assert len(epochs) == 3
    assert len({tuple(order) for order in epochs}) == 3
    assert all(sorted(order) == list(range(40)) for order in epochs)


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_resumed_run_is_bit_identical(tmp_path, stop_after):
    train(TinyTask(), config(tmp_path, output_dir=tmp_path / "whole"))

    task = TinyTask()
    metrics, epochs = task.metrics, []

    def metrics_or_stop():
        epochs.append(1)
        if len(epochs) > stop_after:
            raise KeyboardInterrupt
        return metrics()

    task.metrics = metrics_or_stop
    parts = config(tmp_path, output_dir=tmp_path / "parts")
    if stop_after < 5:
        with pytest.raises(KeyboardInterrupt):
            train(task, parts)
    else:
        train(task, parts)
    result = train(TinyTask(seed=99), parts, find_resume("auto", parts))
    assert_same_weights(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    whole = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert (result["best"], result["last"]) == (whole["best"], whole["last"])


def test_an_earlier_run_is_moved_aside(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("not the run's")
    train(ReportingTask(), config(tmp_path, epochs=1))
    assert "earlier" not in capsys.readouterr().err
    first = weights(tmp_path / "run")
    for number in (1, 2):
        train(ReportingTask(seed=5), config(tmp_path, epochs=1))
        assert f"holds an earlier run; it is now in {tmp_path}/run/earlier.{number}" in capsys.readouterr().err
    assert_same_weights(weights(tmp_path / "run" / "earlier.1"), first)
    assert {path.name for path in (tmp_path / "run" / "earlier.1").iterdir()} == FILES
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*FILES, "notes.txt", "earlier.1", "earlier.2"}


def test_a_run_is_moved_aside_where_another_is_resumed_into_its_place(tmp_path):
    train(TinyTask(), config(tmp_path, epochs=1, output_dir=tmp_path / "other"))
    result = train(TinyTask(seed=1), config(tmp_path, epochs=3))
    run = config(tmp_path, epochs=2)
    train(TinyTask(), run, tmp_path / "other" / "last.pdopt")
    assert json.loads((tmp_path / "run" / "earlier.1" / "metrics.json").read_text()) == result
    train(TinyTask(), config(tmp_path, epochs=3), find_resume("auto", run))
    assert not (tmp_path / "run" / "earlier.2").exists()


def test_a_run_is_moved_aside_where_one_of_earlier_is_resumed(tmp_path):
    """Which lies in its own directory."""
    train(TinyTask(), config(tmp_path, epochs=1))
    result = train(TinyTask(seed=1), config(tmp_path, epochs=3))
    train(TinyTask(), config(tmp_path, epochs=2), tmp_path / "run" / "earlier.1" / "last.pdopt")
    assert json.loads((tmp_path / "run" / "earlier.2" / "metrics.json").read_text()) == result
    assert (tmp_path / "run" / "earlier.1" / "last.pdopt").exists()


def test_the_current_directory_as_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        train(ReportingTask(), config(tmp_path, epochs=1, output_dir="."))
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "earlier.1"}


def test_nothing_to_resume_from_is_a_fresh_start_for_auto_only(tmp_path):
    fresh = config(tmp_path)
    assert find_resume("auto", fresh) is None
    assert find_resume(None, fresh) is None
    with pytest.raises(UserError, match="there is no file"):
        train(TinyTask(), fresh, find_resume(str(tmp_path / "nowhere.pdopt"), fresh))


def test_a_state_that_is_none(tmp_path):
    train(TinyTask(), config(tmp_path, epochs=1))
    with pytest.raises(UserError, match="lacks average, best, config, epoch, .*; take a last.pdopt"):
        train(TinyTask(), config(tmp_path, epochs=2), tmp_path / "run" / "last.pdparams")


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_good(tmp_path):
    task = TinyTask()
    visualize, drawn = task.visualize, []

    def draw_and_poison(outputs):
        drawn.append(1)
        task.poisoned = float("nan") if len(drawn) == 2 else 0.0
        return visualize(outputs)

    task.visualize = draw_and_poison
    with pytest.raises(
        UserError, match=r"the loss became nan in step 13, epoch 3, at learning rate 0.0\d+, on the samples \d+, "
    ):
        train(task, config(tmp_path))
    assert all(np.isfinite(value).all() for value in weights(tmp_path / "run").values())
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 2


def test_an_output_directory_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for output_dir in (tmp_path / "file" / "run", Path("/proc/run")):
        with pytest.raises(UserError, match="can't be written"):
            train(TinyTask(), config(tmp_path, output_dir=output_dir))


def test_visualdl_holds_the_curves_and_pictures(tmp_path):
    from visualdl import LogReader

    task = TinyTask()
    task.network = nn.Sequential(nn.Unflatten(1, [1, 2, 2]), pcc.CoordConv(1, 2, 2), nn.Flatten())
    result = train(task, config(tmp_path))
    (log,) = (tmp_path / "run" / "vdl").iterdir()
    reader = LogReader(file_path=str(log))
    history = load_state(tmp_path / "run" / "last.pdopt")["history"]
    for tag, key in (("train_loss", "train_loss"), ("test_accuracy", "accuracy"), ("test_loss", "loss")):
        values = [record.value for record in reader.get_data("scalar", tag)]
        assert values == pytest.approx([entry[key] for entry in history], rel=1e-6)
    shares = [record.value for record in reader.get_data("scalar", "coordinate_share/1")]
    assert len(shares) == 5
    assert shares[-1] == pytest.approx(pcc.coord_usage(task.network)["1"].total, rel=1e-5)
    (best,) = reader.get_data("scalar", "best_accuracy")
    assert best.value == pytest.approx(result["best"]["accuracy"], rel=1e-6)
    assert len(reader.get_data("image", "held out")) == 5
    assert set(reader.get_tags()["histogram"]) == {"1.conv.weight", "1.conv.bias"}
    for name, parameter in task.network.named_parameters():
        records = reader.get_data("histogram", name)
        assert len(records) == 5
        counts, edges = np.histogram(parameter.numpy().astype(np.float64), bins=32)
        assert list(records[-1].histogram.hist) == counts.tolist()
        assert list(records[-1].histogram.bin_edges) == pytest.approx(edges.tolist())


def test_visualdl_takes_weights_that_lie_close_together(tmp_path):
    task = TinyTask()
    task.network[0].bias.set_value(np.array([1, np.nextafter(np.float32(1), np.float32(2))] * 4, "float32"))
    task.network[0].bias.stop_gradient = True
    assert train(task, config(tmp_path, epochs=1))["epochs"] == 1


def test_visualdl_takes_every_plain_option(tmp_path):
    from visualdl import LogReader

    options = {"model.norm": "false", "model.width": 3, "model.coords": "paddle", "model.sizes": [1]}
    train(TinyTask(), config(tmp_path, epochs=1, **options))
    (log,) = (tmp_path / "run" / "vdl").iterdir()
    (shown,) = LogReader(file_path=str(log)).get_data("hyper_parameters", "hparam")
    kinds = {info.name: info for info in shown.hparam.hparamInfos}
    assert kinds["model.norm"].string_value == "False"
    assert kinds["model.width"].int_value == 3
    assert kinds["model.coords"].string_value == "paddle"
    assert kinds["optimizer.learning_rate"].float_value == pytest.approx(0.05)
    assert "model.sizes" not in kinds


def test_visualdl_serves_it(tmp_path):
    train(TinyTask(), config(tmp_path, epochs=2))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("visualdl")), "--disable-telemetry", "--logdir", str(tmp_path)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def get(what):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/app/api/{what}", timeout=5) as answer:
            return json.loads(answer.read())["data"]

    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                (tags,) = get("scalar/tags")["tags"]
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert {"train_loss", "test_accuracy", "learning_rate", "best_accuracy"} <= set(tags)
        (hyperparameters,) = get("hparams/list")
        assert hyperparameters["hparams"]["optimizer.name"] == "adamw"
        (run,) = get("runs")
        assert len(get(f"scalar/list?run={urllib.parse.quote(run)}&tag=train_loss")) == 2
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
