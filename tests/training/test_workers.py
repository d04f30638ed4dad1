"""Reading in processes changes nothing but the time: not the weights, not the errors, and none stays behind."""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import wait_until
from forked import Forked
from tiny import TinyTask, assert_same_weights, config, weights

from ppcoordconv.training import log
from ppcoordconv.training.prefetch import prefetch
from ppcoordconv.training.trainer import train
from ppcoordconv.utils.errors import Stopped, UnreadableImageError, UserError
from ppcoordconv.utils.weights import load_state


class Samples(list):
    """What is done in the process that reads a sample."""

    def __init__(self, items, action):
        super().__init__(items)
        self.action = action

    def __getitem__(self, index):
        self.action(index)
        return super().__getitem__(index)


class ActingTask(TinyTask):
    def __init__(self, action):
        super().__init__()
        self.action = action

    def train_samples(self, seed):
        return Samples(super().train_samples(seed), self.action)


def children(pid):
    """The processes that a process has started and that are there."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def is_there(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("changes", [{}, {"accumulate_steps": 3, "batch_size": 13}], ids=["whole", "in three parts"])
def test_the_number_of_processes_does_not_matter(tmp_path, changes):
    readers = multiprocessing.Queue()
    task = {1: TinyTask(), 2: ActingTask(lambda index: readers.put(os.getpid())), 3: TinyTask()}
    for workers in task:
        train(task[workers], config(tmp_path, workers=workers, epochs=2, output_dir=tmp_path / str(workers), **changes))
        assert not multiprocessing.active_children()
    for workers in (2, 3):
        assert_same_weights(weights(tmp_path / "1"), weights(tmp_path / str(workers)))
    # Besides the sixteen whose content a run notes: in two processes in each epoch, none of them this one.
    pids = [readers.get() for _ in range(16 + 2 * 40)]
    assert pids[:16] == [os.getpid()] * 16
    assert [len(set(pids[start : start + 40])) for start in (16, 56)] == [2, 2]
    assert os.getpid() not in pids[16:]
    readers.close()


def test_what_comes_out_is_what_was_read(tmp_path):
    """Of every type and shape, in batches of which one is smaller than its parts are many."""
    rng = np.random.default_rng(0)
    items = [
        (rng.random([3, 5]).astype(dtype), np.int64(i), np.array(i % 2 > 0), np.empty([0, 4], np.float32), np.uint16(i))
        for i, dtype in enumerate(["float64"] * 9)
    ]
    batches = [np.array([4, 2, 8]), np.array([1]), np.array([0, 3, 5, 6])]
    found = {workers: list(prefetch(items, batches, 2, workers)) for workers in (1, 2)}
    for (indices, ones), (same, others) in zip(found[1], found[2]):
        assert (indices == same).all()
        assert len(ones) == len(others) == min(2, len(indices))
        for one, other in zip(ones, others):
            assert (one.indices == other.indices).all()
            for a, b in zip(one.fields, other.fields):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)
    assert list(prefetch(items, [], 1, 2)) == []


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", [UnreadableImageError, KeyError])
def test_an_error_is_the_same_from_a_process(tmp_path, workers, kind, capfd):
    is_reading = threading.Event()

    def fail(index):
        if index == 13 and is_reading.is_set():
            raise kind("a.png is not a readable picture")

    task = ActingTask(fail)
    run = config(tmp_path, workers=workers)
    test_samples = task.test_samples
    task.test_samples = lambda: (is_reading.set(), test_samples())[1]
    expected = UserError if kind is UnreadableImageError else kind
    hint = "; remove it, or leave out all such with data.on_error=skip"
    with pytest.raises(expected) as raised:
        train(task, run)
    assert raised.value.args == (f"a.png is not a readable picture{hint if expected is UserError else ''}",)
    assert not multiprocessing.active_children()
    assert "Traceback" not in capfd.readouterr().err


def test_no_process_outlives_a_step_that_fails(tmp_path):
    task = TinyTask()
    task.poisoned = float("nan")
    with pytest.raises(UserError, match="the loss became nan") as raised:
        train(task, config(tmp_path, workers=2))
    assert not multiprocessing.active_children(), raised


def fork_workers():
    """As in a process that was not started by a fork server."""
    multiprocessing.set_start_method("fork", force=True)


def kill_while_it_passes_on():
    while not any(frame.f_code.co_name == "_send" for frame in sys._current_frames().values()):
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)


def kill_a_worker_that_passes_on():
    fork_workers()
    main = os.getpid()
    samples = Samples(
        [(np.zeros(50_000_000, np.uint8),)] * 6,
        lambda index: index != 3 or os.getpid() == main or threading.Thread(target=kill_while_it_passes_on).start(),
    )
    with contextlib.closing(prefetch(samples, list(np.arange(6)[:, None]), 1, 2)) as found:
        list(found)


def kill_a_worker_that_reads(folder):
    fork_workers()
    main = os.getpid()
    task = ActingTask(lambda index: index != 13 or os.getpid() == main or os.kill(os.getpid(), signal.SIGKILL))
    train(task, config(folder, workers=2))


def kill_a_worker_that_waits(folder):
    fork_workers()
    task = TinyTask()
    loss = task.loss

    def kill(*arguments):
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        time.sleep(0.2)
        return loss(*arguments)

    task.loss = kill
    train(task, config(folder, workers=2))


def say_the_error(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    assert not multiprocessing.active_children()
    print(raised.value, file=sys.stderr)


@pytest.mark.parametrize(
    "kill", [kill_a_worker_that_reads, kill_a_worker_that_waits, kill_a_worker_that_passes_on], ids=lambda f: f.__name__
)
def test_a_killed_worker_ends_the_run_with_one_line(tmp_path, kill):
    process = Forked(say_the_error, kill, *([tmp_path] if kill is not kill_a_worker_that_passes_on else []))
    try:
        wait_until(lambda: process.exitcode is not None)
    finally:
        process.kill()
    *said, error = process.finish().stderr.splitlines()
    assert said in ([], ["40 samples to train on, 40 held out; 30 steps"])
    assert error.startswith("a worker process that reads data was killed, as where memory is short; ")


class Left:
    """Garbage as soon as it is made, for the collector alone; says in which process it was found."""

    def __init__(self, folder):
        self.itself, self.folder = self, folder

    def __del__(self):
        (self.folder / f"collected_in_{os.getpid()}").touch()


def test_what_a_worker_inherits_is_not_collected_there(tmp_path):
    """An object of C++ would wait for threads that a forked process has not, or abort."""
    main = os.getpid()
    gc.disable()
    try:
        Left(tmp_path)
        train(ActingTask(lambda index: os.getpid() == main or gc.collect()), config(tmp_path, workers=2, epochs=1))
    finally:
        gc.enable()
    gc.collect()
    assert [path.name for path in tmp_path.glob("collected_in_*")] == [f"collected_in_{main}"]


def test_ending_does_not_wait_for_what_is_read():
    with contextlib.closing(
        prefetch(Samples([(1,)] * 9, lambda i: i == 0 or time.sleep(30)), list(np.arange(2)[:, None]), 1, 2)
    ) as found:
        next(found)
        started = time.monotonic()
    assert time.monotonic() - started < 10


def train_slowly(folder, reading, computing):
    fork_workers()
    main = os.getpid()
    (folder / "pid").write_text(str(main))
    task = ActingTask(lambda index: os.getpid() == main or time.sleep(reading))
    loss = task.loss
    task.loss = lambda *arguments: (time.sleep(computing), loss(*arguments))[1]
    run = config(folder, workers=2, epochs=100, save_steps=1)
    try:
        train(task, run)
    except Stopped as stopped:
        sys.exit(stopped.status)


@pytest.mark.parametrize(
    ("number", "reading", "computing"),
    [(signal.SIGTERM, 0.02, 0), (signal.SIGKILL, 0.02, 0), (signal.SIGKILL, 0, 0.3)],
    ids=["stopped", "killed", "killed while they wait"],
)
def test_no_process_outlives_the_training(tmp_path, number, reading, computing):
    """Whoever sends a signal to the whole group lets it stop as one to the training does: saved, and one can go on."""
    process = Forked(train_slowly, tmp_path, reading, computing)
    state = tmp_path / "run" / "last.pdopt"
    wait_until(state.exists)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: len(children(pid)) == 2)
    workers = children(pid)
    if number == signal.SIGTERM:
        for worker in workers:
            os.kill(worker, signal.SIGINT)
            os.kill(worker, number)
    os.kill(pid, number)
    done = process.finish()
    assert done.returncode == (128 + number if number == signal.SIGTERM else -number), done.stderr
    assert "Traceback" not in done.stderr
    wait_until(lambda: not any(map(is_there, workers)))
    assert load_state(state)["step"] >= 1


def test_where_there_can_be_no_processes_there_are_threads(tmp_path, capsys):
    run = config(tmp_path, workers=2, epochs=1)
    thread = threading.Thread(target=train, args=(TinyTask(), run))
    thread.start()
    thread.join()
    assert "workers=2 are threads: processes are forked in the main thread, on Linux" in capsys.readouterr().err
    train(TinyTask(), config(tmp_path, epochs=1, output_dir=tmp_path / "one"))
    assert_same_weights(weights(tmp_path / "run"), weights(tmp_path / "one"))


SLOW = {
    "one of eight": (1, 8, 3, "workers=2 may help"),
    "three of eight": (3, 8, 3, "workers=6 may help"),
    "three of four": (3, 4, 3, "workers=4 may help"),
    "all": (2, 2, 3, "smaller pictures may help, as workers=2 has a worker for each processor"),
    "less than a second": (1, 8, 0.03, None),
    "a quarter": (1, 8, 2 / 3, None),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_reader_is_said_once(tmp_path, capsys, monkeypatch, name):
    """By a clock that moves while a batch is waited for, and in each step."""
    workers, cpus, seconds, advice = SLOW[name]
    now, waited = [0.0], log.RunLog.waited
    task = TinyTask()
    loss = task.loss

    def wait(self):
        now[0] += seconds
        waited(self)

    def slow_loss(*arguments):
        now[0] += 0.02 if seconds < 0.1 else 2
        return loss(*arguments)

    task.loss = slow_loss
    monkeypatch.setattr(log.RunLog, "waited", wait)
    monkeypatch.setattr(log, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
    train(task, config(tmp_path, workers=workers, epochs=2))
    said = [line for line in capsys.readouterr().err.splitlines() if "waiting for data" in line]
    assert said == ([f"waiting for data 60 % of the time: {advice}"] if advice else [])
