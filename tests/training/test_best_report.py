"""The report and the pictures of a run are made once, of its best evaluation, however the training ends."""

import json
import os
import signal

import pytest
from tiny import ReportingTask, config
from visualdl import LogReader

from ppcoordconv.metrics.classification import Accuracy
from ppcoordconv.training.trainer import find_resume, train
from ppcoordconv.utils.errors import Stopped, UserError


class CountingTask(ReportingTask):
    """Six steps an epoch; counts drawings, and at one step does something else."""

    def __init__(self, at_step=None, do=None):
        super().__init__()
        self.steps = self.drawn = 0
        self.at_step, self.do = at_step, do

    def loss(self, outputs, targets):
        self.steps += self.network.training
        loss = super().loss(outputs, targets)
        return self.do(loss) if self.steps == self.at_step and self.network.training else loss

    def metrics(self):
        task = self

        class Counted(Accuracy):
            def pictures(self, labels):
                task.drawn += 1
                return super().pictures(labels)

        return Counted()


def stop(loss):
    os.kill(os.getpid(), signal.SIGTERM)
    return loss


def interrupt(loss):
    raise KeyboardInterrupt


class EvenTask(CountingTask):
    """As good in each epoch but the second, in which it is better."""

    def metrics(self):
        counted = super().metrics()
        compute, share = counted.compute, 0.5 + 0.1 * (6 < self.steps <= 12)
        counted.compute = lambda: {**compute(), "accuracy": share}
        return counted


def epochs_reported(tmp_path):
    """By report.json, and by VisualDL's newest log."""
    log = max((tmp_path / "run" / "vdl").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    reader = LogReader(file_path=str(log))
    shown = reader.get_data("image", "confusion") if "confusion" in reader.get_tags().get("image", []) else []
    assert (tmp_path / "run" / "confusion.png").exists()
    return json.loads((tmp_path / "run" / "report.json").read_text())["epoch"], [record.id for record in shown]


@pytest.mark.parametrize(
    ("changes", "task", "error", "epoch"),
    [
        ({}, EvenTask(), None, 2),
        ({"max_steps": 8}, EvenTask(), None, 2),
        ({"max_steps": 5}, EvenTask(), None, 1),
        ({}, EvenTask(15, stop), Stopped, 2),
        ({}, EvenTask(15, lambda loss: loss * float("nan")), UserError, 2),
    ],
    ids=["three epochs", "limit", "limit before", "signal", "not finite"],
)
def test_it_is_made_once_of_the_best_evaluation(tmp_path, changes, task, error, epoch):
    run = config(tmp_path, epochs=3, **changes)
    if error:
        with pytest.raises(error):
            train(task, run)
    else:
        train(task, run)
    assert task.drawn == 1
    assert epochs_reported(tmp_path) == (epoch, [epoch])


@pytest.mark.parametrize(("at_step", "do", "error"), [(15, interrupt, KeyboardInterrupt), (3, stop, Stopped)])
def test_it_is_not_made_in_a_hurry_nor_before_an_evaluation(tmp_path, at_step, do, error):
    task = CountingTask(at_step, do)
    with pytest.raises(error):
        train(task, config(tmp_path, epochs=3))
    assert task.drawn == 0
    assert not (tmp_path / "run" / "report.json").exists()


def test_a_resume_that_finds_no_better_one_leaves_it(tmp_path):
    run = config(tmp_path, epochs=2)
    train(EvenTask(), run)
    before = (tmp_path / "run" / "report.json").stat().st_mtime_ns
    for epochs in (2, 3):
        task = EvenTask(at_step=None)
        task.steps = 12
        more = config(tmp_path, epochs=epochs)
        train(task, more, find_resume("auto", more))
        assert task.drawn == 0
        assert (tmp_path / "run" / "report.json").stat().st_mtime_ns == before
