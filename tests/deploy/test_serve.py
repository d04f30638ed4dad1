"""The web service: what ``infer`` says, for many clients at once, and one sentence for what is wrong."""

import asyncio
import contextlib
import http.client
import io
import json
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ENVIRONMENT, ROOT, examples, wait_until
from forked import Forked, run_module
from PIL import Image

pytest.importorskip("fastapi")

from ppcoordconv.config import load_config  # noqa: E402
from ppcoordconv.data.images import Preprocess  # noqa: E402
from ppcoordconv.deploy import Predictor  # noqa: E402
from ppcoordconv.deploy.batching import Batcher, QueueFull  # noqa: E402
from ppcoordconv.deploy.export_task import export_task  # noqa: E402
from ppcoordconv.deploy.infer import infer  # noqa: E402
from ppcoordconv.deploy.serve import Limits, create_app, prepared  # noqa: E402
from ppcoordconv.deploy.server import listen  # noqa: E402
from ppcoordconv.tasks import build_task  # noqa: E402
from ppcoordconv.utils.errors import UserError  # noqa: E402

pytestmark = pytest.mark.any_paddle

POINTS = ROOT / "docs" / "trained" / "classification"
BOUNDARY = "a-boundary"


class Server:
    """``ppcoordconv serve`` in a process of its own, on a free port."""

    def __init__(self, model_dir, *options, **popen):
        command = [sys.executable, "-m", "ppcoordconv", "serve", "--model_dir", str(model_dir), "--port", "0"]
        pipes = {"stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT, "cwd": ROOT}
        self.process = subprocess.Popen([*command, *map(str, options)], **pipes, **popen)
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"serving on http://127.0.0.1:(\d+)", line):
                self.port = int(found.group(1))
                break
        threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, path):
        connection = self.connection()
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def post(self, body, kind="application/json", connection=None):
        connection = connection or self.connection()
        connection.request("POST", "/predict", body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def post_files(self, files):
        return self.post(multipart(files), f"multipart/form-data; boundary={BOUNDARY}")

    def post_inputs(self, inputs, connection=None):
        return self.post(json.dumps({"inputs": inputs}), connection=connection)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def multipart(files):
    body = b""
    for name, content in files.items():
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


FORM = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    task = build_task(load_config(ROOT / "configs" / "digits" / "coordconv.yml", ["model.pretrained=true"]))
    folder = tmp_path_factory.mktemp("served")
    export_task(task, folder / "model")
    (folder / "pictures").mkdir()
    for number in range(6):
        Image.fromarray(task.test_samples().pixels(number)).save(folder / "pictures" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(digits):
    server = Server(digits / "model", "--max_body_mb", 1, "--max_megapixels", 1)
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def points():
    server = Server(POINTS, "--max_wait_ms", 5)
    yield server
    assert server.stop() == 0


def test_pictures_get_what_infer_says(pictures, digits):
    files = sorted((digits / "pictures").iterdir())
    expected = list(infer(Predictor(str(digits / "model")), files))
    sent = {path.name: path.read_bytes() for path in files}
    status, answer = pictures.post_files({**sent, "bad.png": b"no picture"})
    assert status == 200
    *results, bad = answer["results"]
    assert "bad.png is not a readable picture" in bad["error"]
    for result, wanted in zip(results, expected):
        assert result["input"] == Path(wanted["input"]).name
        assert result["label"] == wanted["label"]
        assert result["score"] == pytest.approx(wanted["score"], abs=1e-4)


def test_arrays_are_pictures_too(pictures, digits):
    path = digits / "pictures" / "0.png"
    with Image.open(path) as image:
        values = np.asarray(image.convert("RGB")).tolist()
    status, answer = pictures.post_inputs([values, [[1, 2], [3]], "x", [[[0, 0, 256]]]])
    assert status == 200
    right, *wrong = answer["results"]
    assert right["input"] == "0"
    assert right["label"] == pictures.post_files({"0.png": path.read_bytes()})[1]["results"][0]["label"]
    assert all("a picture is a list of rows" in result["error"] for result in wrong)


def test_points_get_what_infer_says(points, tmp_path):
    (tmp_path / "points.txt").write_text("40,17\n3,60\n")
    expected = list(infer(Predictor(str(POINTS)), [tmp_path / "points.txt"]))
    status, answer = points.post_inputs([[40, 17], [3, 60], [1, 2, 3], [1, None], [1e300, 0], ["1", "2"], [True, 1]])
    assert status == 200
    for result, wanted in zip(answer["results"], expected):
        assert {**result, "input": 0} == {**wanted, "input": 0, "score": pytest.approx(wanted["score"], abs=1e-4)}
    assert [result["error"] for result in answer["results"][2:]] == [
        "a point is a list of two numbers of at most 1e+09, as [40, 17]"
    ] * 5


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"{", "application/json", 400, 'takes JSON of the form {"inputs": [...]}'),
        (b"[" * 100_000, "application/json", 400, "takes JSON of the form"),
        (b'{"inputs": 3}', "application/json", 400, "takes JSON of the form"),
        (b"", "application/json", 400, "takes JSON of the form"),
        (b"x", "text/plain", 415, "takes pictures as multipart/form-data, or JSON, as application/json"),
        (b"x", "multipart/form-data", 400, "the multipart body can't be read"),
        (b"x", f"multipart/form-data; boundary={BOUNDARY}", 400, "the multipart body can't be read"),
        (b'{"inputs": [[' + b"[]," * 100_000 + b"[]]]}", "application/json", 400, "takes JSON of the form"),
        (json.dumps({"inputs": [0] * 513}).encode(), "application/json", 413, "at most 512 inputs, got 513"),
        (multipart({f"{n}.png": b"" for n in range(513)}), FORM, 413, "a request has at most 512 inputs, got 513"),
        (b"x", "multipart/form-data; charset=utf-7; boundary=b", 415, "a multipart body takes no charset"),
        (b"x" * 2**21, "application/json", 413, "a request has at most 1.0 MiB"),
        (multipart({"a.png": b"x" * 2**21}), f"multipart/form-data; boundary={BOUNDARY}", 413, "at most 1.0 MiB"),
        (
            multipart({"a.png": png(np.zeros([1001, 1000, 3], np.uint8))}),
            f"multipart/form-data; boundary={BOUNDARY}",
            413,
            "a.png has 1000x1001 pixels; at most 1.0 million are taken",
        ),
    ],
    ids=range(14),
)
def test_what_it_does_not_take(pictures, body, kind, status, words):
    got, answer = pictures.post(body, kind)
    assert got == status
    assert words in answer["error"]


@pytest.mark.parametrize(("path", "status"), [("/predict", 405), ("/", 404), ("/nowhere", 404)])
def test_what_is_not_there_is_said(points, path, status):
    got, text = points.get(path)
    assert got == status
    assert json.loads(text)["error"].endswith("; there are POST /predict, GET /health and GET /metrics")


@pytest.mark.parametrize("ending", ["ico", "icns"])
def test_a_picture_in_a_picture_is_not_decoded(pictures, ending):
    """The size that such a file names first is that of a smaller one."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, format=ending)
    status, answer = pictures.post_files({f"a.{ending}": file.getvalue()})
    assert status == 200
    assert "its format is not known" in answer["results"][0]["error"]


def test_a_body_of_objects_is_not_parsed(points):
    status, answer = points.post('{"inputs": [' + '{"": 1},' * 100 + "1]}")
    assert (status, answer) == (400, {"error": 'the body takes JSON of the form {"inputs": [...]}'})


@pytest.mark.parametrize("path", ["/predict/", "/health/"])
def test_no_answer_sends_a_client_elsewhere(points, path):
    assert points.get(path)[0] == 404


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /health HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /h\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=["no host", "a negative length", "no ASCII", "TLS"],
)
def test_what_is_no_http_is_answered_as_json(points, request_text):
    with socket.create_connection(("127.0.0.1", points.port)) as client:
        client.settimeout(20)
        client.sendall(request_text)
        answer = b"".join(iter(partial(client.recv, 4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 400 " in head.splitlines()[0]
    assert json.loads(body) == {"error": "Invalid HTTP request received."}


def test_a_client_that_does_not_read_is_cut_off():
    server = Server(POINTS, "--timeout", 1)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    assert server.get("/health")[0] == 200
    assert server.stop() == 0


def test_a_model_of_points_takes_no_pictures(points):
    status, answer = points.post_files({"a.png": png(np.zeros([2, 2, 3], np.uint8))})
    assert (status, answer) == (415, {"error": 'this model takes JSON, as application/json: {"inputs": [...]}'})


@pytest.mark.parametrize(
    ("outputs", "status", "words"),
    [
        (np.full([1, 4096], np.nan, "float32"), 200, "the model's output is not finite"),
        (np.full([1, 4096], np.inf, "float32"), 200, "the model's output is not finite"),
        (UserError("the model takes another shape"), 500, "the model takes another shape"),
        (RuntimeError("oneDNN"), 500, "the service failed; its log says why"),
    ],
    ids=["nan", "infinite", "a sentence", "a bug"],
)
def test_a_model_that_fails_is_an_answer(outputs, status, words, caplog):
    class Failing:
        description = Predictor(str(POINTS)).description
        max_concurrency = 1

        def __call__(self, batch):
            if isinstance(outputs, Exception):
                raise outputs
            return outputs

    app = create_app(Failing())
    got, answer = asyncio.run(asked(app, "POST", "/predict", b'{"inputs": [[40, 17]]}'))
    assert got == status
    answer = json.loads(answer)
    assert words == (answer["results"][0]["error"] if status == 200 else answer["error"])
    _, metrics = asyncio.run(asked(app, "GET", "/metrics", b""))
    assert f'ppcoordconv_requests_total{{status="{status}"}} 1.0' in metrics.decode()
    assert ("oneDNN" in caplog.text) == ("oneDNN" in str(outputs))


async def asked(app, method, path, body):
    """Without a server."""
    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


def test_half_a_body_is_answered_when_its_time_is_over():
    server = Server(POINTS, "--timeout", 1)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        answer = client.recv(4096)
    assert b"408" in answer.splitlines()[0]
    assert server.stop() == 0


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first", "second"])
def test_half_a_head_is_cut_off_when_its_time_is_over(before):
    server = Server(POINTS, "--timeout", 1)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(20)
        client.sendall(before)
        if before:
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(4096)
        client.sendall(b"GET /heal")
        assert client.recv(4096) == b""
    assert server.stop() == 0


def test_more_connections_than_it_may_open_are_closed_and_the_others_served():
    few = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (384, 384))}
    server = Server(POINTS, "--timeout", 1, **few)
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(330)]
        for client in idle:
            client.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        assert server.post_inputs([[40, 17]])[0] == 200
    assert server.stop() == 0
    assert "Traceback" not in "".join(server.said)


def test_pictures_of_a_request_that_was_given_up_are_not_decoded():
    decoded, is_given_up = [], threading.Event()

    def read(number):
        decoded.append(number)
        is_given_up.set()
        return np.zeros([3, 32, 32], np.float32), (32, 32)

    prepared([(str(n), partial(read, n)) for n in range(5)], is_given_up)
    assert decoded == [0]


def test_arrays_of_long_texts_take_no_memory():
    value = [["a" * 500_000, *["b"] * 1500]]
    tracemalloc.start()
    with pytest.raises(UserError, match="a picture is a list of rows"):
        Preprocess.from_value(value)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_it_tells_how_it_is(points):
    status, health = points.get("/health")
    assert (status, json.loads(health)) == (200, {"status": "ok", "served_form": "coordinate_classification"})
    points.post_inputs([[1, 2]])
    status, metrics = points.get("/metrics")
    assert status == 200
    assert float(re.search(r'ppcoordconv_requests_total{status="200"} (\S+)', metrics).group(1)) >= 1
    assert float(re.search(r"^ppcoordconv_inputs_total (\S+)", metrics, re.MULTILINE).group(1)) >= 1
    assert "ppcoordconv_request_seconds_bucket" in metrics


def test_many_clients_that_stay(points):
    """EXAMPLES=50 makes it 20,000 requests."""
    expected = {point: points.post_inputs([point])[1]["results"][0] for point in [(5 * n, 3 * n) for n in range(12)]}

    def work(seed):
        rng, connection, wrong = random.Random(seed), points.connection(), 0
        for _ in range(examples(400) // 16):
            chosen = rng.sample(sorted(expected), rng.choice([1, 2, 5]))
            status, answer = points.post_inputs(chosen, connection)
            for number, (point, result) in enumerate(zip(chosen, answer["results"])):
                wanted = {**expected[point], "input": str(number)}
                wrong += result != {**wanted, "score": pytest.approx(wanted["score"], abs=1e-4)}
            wrong += status != 200
        return wrong

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 0


def test_clients_that_behave_badly_are_survived(points):
    """They hang up, send half of what they announced, or bytes drawn at random."""
    rng = random.Random(0)
    good = json.dumps({"inputs": [[40, 17]] * 50}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        good
    )
    for number in range(examples(150)):
        with socket.create_connection(("127.0.0.1", points.port)) as client:
            whole = bytearray(head + good)
            if number % 3 == 0:
                whole = whole[: rng.randrange(len(whole))]
            elif number % 3 == 1:
                for _ in range(5):
                    whole[rng.randrange(len(whole))] = rng.randrange(256)
            client.sendall(whole)
            if number % 2:
                client.shutdown(socket.SHUT_WR)
    # Those that had sent all are in the queue.
    status = 429
    while status == 429:
        status, _ = points.post_inputs([[40, 17]])
    assert status == 200


def test_answers_do_not_wait_for_the_client_to_acknowledge():
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_full_queue_is_said():
    server = Server(POINTS, "--max_waiting", 4)
    status, answer = server.post_inputs([[1, 2]] * 5)
    assert (status, answer) == (413, {"error": "a request has at most 4 inputs, got 5"})
    assert server.post_inputs([[1, 2]] * 4)[0] == 200
    with ThreadPoolExecutor(8) as pool:
        statuses = [status for status, _ in pool.map(lambda _: server.post_inputs([[1, 2]] * 3), range(40))]
    assert set(statuses) == {200, 429}
    metrics = server.get("/metrics")[1]
    assert f"ppcoordconv_inputs_total {4 + 3 * statuses.count(200)}.0" in metrics
    assert server.stop() == 0


def test_sigterm_finishes_what_runs():
    server = Server(POINTS, "--max_wait_ms", 1500, "--timeout", 20)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.post_inputs, [[40, 17]])
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert answer.result()[0] == 200
    assert server.process.wait(30) == 0
    assert "Traceback" not in "".join(server.said)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--timeout", "0"], "--timeout takes a number from 0.001 to 86400, got 0.0"),
        (["--max_megapixels", "inf"], "--max_megapixels takes a number from 0.001 to 178, got inf"),
        (["--port", "70000"], "can't listen on 127.0.0.1, port 70000"),
        (["--host", "203.0.113.1"], "can't listen on 203.0.113.1, port 0: "),
    ],
)
def test_wrong_options(options, words):
    process = Forked(run_module, "ppcoordconv", "serve", "--model_dir", str(POINTS), "--port", "0", *options)
    wait_until(lambda: process.exitcode is not None, 30)
    done = process.finish()
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]


def test_a_process_that_may_open_too_few_files():
    server = Server(POINTS, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    assert server.process.wait(30) == 2
    words = "may open 256 files, and needs 256 and one for each connection; allow more by ulimit -n 1024"
    assert words in server.said[-1]


def test_wrong_limits():
    for wrong in (-1, 0.5, "8", True):
        with pytest.raises(UserError, match=f"max_batch takes a whole number from 1 to 10000, got {wrong!r}"):
            Limits(max_batch=wrong)
    with pytest.raises(UserError, match="max_body_mb takes a number from 0.001 to 100000, got 1e\\+308"):
        Limits(max_body_mb=1e308)
    assert Limits(max_wait_ms=0).max_wait_ms == 0


def batched(run, inputs, **options):
    options = {"max_batch": 4, "max_wait_ms": 20, "max_concurrency": 2, "max_waiting": 100, **options}

    async def all_at_once():
        batcher = Batcher(run, **options)
        async with batcher.started():
            return await asyncio.gather(*(batcher(np.array(x)) for x in inputs), return_exceptions=True)

    return asyncio.run(all_at_once())


def test_what_waits_goes_together_by_shape():
    sizes = []

    def run(batch):
        sizes.append(batch.shape)
        return 2 * batch

    inputs = [[1], [2], [3, 3], [4], [5], [6], [7, 7]]
    outputs = batched(run, inputs)
    assert [output.tolist() for output in outputs] == [[2 * n for n in x] for x in inputs]
    assert sorted(sizes) == [(1, 1), (2, 2), (4, 1)]


def test_an_error_reaches_those_that_wait_and_no_others():
    def run(batch):
        if batch[0].shape == (2,):
            raise ValueError("no pairs")
        return batch

    one, pair, other = batched(run, [[1], [2, 2], [3]])
    assert (one.tolist(), other.tolist()) == ([1], [3])
    assert isinstance(pair, ValueError)


def test_what_is_reserved_is_held_against_the_limit_until_it_is_answered():
    batcher = Batcher(lambda batch: batch, 4, 0, 1, 6)
    with batcher.reserved(4):
        with batcher.reserved(2), pytest.raises(QueueFull), batcher.reserved(1):
            pass
        with pytest.raises(ZeroDivisionError), batcher.reserved(2):
            raise ZeroDivisionError
        with batcher.reserved(2):
            pass
    with pytest.raises(QueueFull), batcher.reserved(7):
        pass


def test_at_the_end_what_runs_is_finished_and_what_waits_is_cancelled():
    started = threading.Event()

    def run(batch):
        started.set()
        time.sleep(0.2)
        return batch

    async def leave_early():
        batcher = Batcher(run, max_batch=1, max_wait_ms=0, max_concurrency=2, max_waiting=100)
        async with batcher.started():
            tasks = [asyncio.create_task(batcher(np.array([n]))) for n in range(5)]
            await asyncio.to_thread(started.wait)
            await asyncio.sleep(0.05)
        return await asyncio.gather(*tasks, return_exceptions=True)

    outputs = asyncio.run(leave_early())
    assert [output.tolist() for output in outputs[:2]] == [[0], [1]]
    assert all(isinstance(output, asyncio.CancelledError) for output in outputs[2:])
