"""A predictor under the threads of a server: those that stay, that come and go, that pause, and asyncio's."""

import asyncio
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, examples
from forked import Forked
from paddle import inference

import ppcoordconv
from ppcoordconv.config import load_config
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.tasks import build_task
from ppcoordconv.utils.errors import UserError

TRAINED = ROOT / "docs" / "trained"
SIZES = (1, 2, 3, 5, 8, 13, 32)
AT_ONCE = 3
# After so many calls each native predictor has seen each size of batch, and holds what it will.
WARM_UP = 500


class Native:
    """A native predictor, each of which is counted and notes the threads that run it."""

    def __init__(self, made, threads):
        self._made, self._threads, self._own = made, threads, set()
        threads.append(self._own)

    def __getattr__(self, name):
        return getattr(self._made, name)

    def clone(self):
        return Native(self._made.clone(), self._threads)

    def run(self):
        self._own.add(threading.get_ident())
        return self._made.run()


def under_load(model_dir, calls, options):
    """Calls a predictor from all kinds of threads, a third of the calls from each, and prints what went wrong."""
    threads, create = [], inference.create_predictor
    inference.create_predictor = lambda config: Native(create(config), threads)
    predictor = Predictor(model_dir, cpu_threads=1, max_concurrency=AT_ONCE, **options)
    shape = [n or 64 for n in predictor.description["input_shape"]]
    batches = [np.random.default_rng(size).random([size, *shape], np.float32) for size in SIZES]
    with Predictor(model_dir, cpu_threads=1, max_concurrency=1, **options) as alone:
        expected = [alone(batch) for batch in batches]
    threads.pop() if threads else None
    failed, wrong = [], []

    def call(number):
        time.sleep(number * 7919 % 5 / 1000)
        try:
            got = predictor(batches[number % len(SIZES)])
        except BaseException as error:
            failed.append(f"{type(error).__name__}: {error}")
            return
        wanted = expected[number % len(SIZES)]
        if not np.allclose(got, wanted, rtol=1e-4, atol=1e-5):
            wrong.append(float(np.abs(got - wanted).max()))

    def stay(numbers):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, numbers))

    def come_and_go(numbers):
        for start in range(0, len(numbers), 4):
            visitors = [threading.Thread(target=call, args=[number]) for number in numbers[start : start + 4]]
            for visitor in visitors:
                visitor.start()
            for visitor in visitors:
                visitor.join()

    def wait_for_others(numbers):
        async def all_of_them():
            for start in range(0, len(numbers), 8):
                await asyncio.gather(*(asyncio.to_thread(call, number) for number in numbers[start : start + 8]))

        asyncio.run(all_of_them())

    def some(numbers):
        kinds = [threading.Thread(target=kind, args=[numbers[i::3]]) for i, kind in enumerate(KINDS)]
        for kind in kinds:
            kind.start()
        for kind in kinds:
            kind.join()

    KINDS = (stay, come_and_go, wait_for_others)  # noqa: N806
    some(range(min(WARM_UP, calls)))
    memory = resident_mib()
    some(range(WARM_UP, calls))
    grown = resident_mib() / memory
    predictor.close()
    natives, most = len(threads), max(map(len, threads), default=1)
    print(json.dumps({"failed": failed[:5], "wrong": wrong[:5], "natives": natives, "threads": most, "grown": grown}))


def resident_mib():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The classifier of digits, in each format."""

    def exported(model_format):
        if model_format not in made:
            task = build_task(load_config(ROOT / "configs" / "digits" / "coordconv.yml", ["model.pretrained=true"]))
            made[model_format] = tmp_path_factory.mktemp("digits") / model_format
            export_task(task, made[model_format], model_format)
        return made[model_format]

    made = {}
    return exported


@pytest.mark.parametrize(
    ("model", "options", "calls"),
    [
        # Enough calls to see whether memory grows.
        pytest.param(TRAINED / "rendering", {"onednn": True}, examples(1000), marks=pytest.mark.slow),
        (TRAINED / "regression", {"onednn": True}, examples(400)),
        (TRAINED / "regression", {"onednn": False}, examples(400)),
        ("legacy", {"onednn": True}, examples(400)),
        ("onnx", {}, examples(400)),
    ],
    ids=["points, oneDNN", "canvases, oneDNN", "canvases", "pictures, oneDNN", "pictures, ONNX Runtime"],
)
def test_calls_from_all_kinds_of_threads(digits, model, options, calls):
    """EXAMPLES=50 makes it 20,000 calls of each."""
    if model == "onnx":
        pytest.importorskip("paddle2onnx")
    model_dir = digits(model) if isinstance(model, str) else model
    ended = Forked(under_load, str(model_dir), calls, options).finish()
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["failed"] == []
    assert found["wrong"] == []
    assert found["natives"] <= AT_ONCE
    assert found["threads"] == 1
    assert calls <= WARM_UP or found["grown"] <= 1.15


def test_a_thread_that_ended_leaves_nothing_that_the_next_stumbles_over():
    """Of two native predictors, one thread runs both and ends, then another runs the first."""
    predictor = Predictor(str(TRAINED / "regression"), cpu_threads=1, onednn=True)
    canvases = np.zeros([1, 1, 64, 64], np.float32)
    expected = predictor(canvases)
    for _ in range(20):
        with ThreadPoolExecutor(4) as pool:
            for got in pool.map(lambda _: (time.sleep(0.002), predictor(canvases))[1], range(8)):
                np.testing.assert_array_equal(got, expected)


def test_calls_run_at_once_up_to_the_limit_and_no_more(monkeypatch):
    predictor = Predictor(str(TRAINED / "regression"), max_concurrency=2)
    lock, running, seen = threading.Lock(), [0], []

    def run(batch):
        with lock:
            running[0] += 1
            seen.append(running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        return batch

    monkeypatch.setattr(predictor._engine, "runner", lambda: run)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(predictor, [np.zeros([1, 1, 64, 64], np.float32)] * 12))
    assert max(seen) == 2


@pytest.mark.parametrize("name", ["cpu_threads", "max_concurrency"])
def test_more_threads_than_a_machine_has_are_refused(name):
    """Libraries would end the process."""
    with pytest.raises(UserError, match=f"{name} takes a whole number from 1 to 1024, got 1000000"):
        Predictor(str(TRAINED / "regression"), **{name: 1_000_000})


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_max_concurrency_is_a_count(count):
    with pytest.raises(UserError, match="max_concurrency takes a whole number from 1 to 1024, got"):
        Predictor(str(TRAINED / "regression"), max_concurrency=count)


def test_closed_it_says_so_and_can_be_closed_again():
    with Predictor(str(TRAINED / "regression")) as predictor:
        predictor(np.zeros([1, 1, 64, 64], np.float32))
    predictor.close()
    with pytest.raises(RuntimeError, match="this Predictor is closed"):
        predictor(np.zeros([1, 1, 64, 64], np.float32))


def test_in_a_forked_process_it_says_what_to_do():
    predictor = Predictor(str(TRAINED / "regression"))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            predictor(np.zeros([1, 1, 64, 64], np.float32))
        except RuntimeError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as said:
        assert said.read() == "this Predictor was made by the process that this one was forked from; make another here"


def test_the_threads_end_with_the_predictor():
    before = threading.active_count()
    for _ in range(5):
        ppcoordconv.deploy.Predictor(str(TRAINED / "regression"))(np.zeros([1, 1, 64, 64], np.float32))
    time.sleep(0.5)
    assert threading.active_count() <= before + 1
