"""Every door, tried with documents that were made worse at random: a result or a UserError, never anything else.

``pytest tests/fuzz -s --fuzz_seconds 600`` tries each for ten minutes and prints how many cases that were. A case that
fails comes again with ``FUZZ_SEED``, which was printed last. What was found once is in the tests of its module.
"""

import contextlib
import json
import os
import pickle
import random
import shutil
import socket
import time
import tracemalloc
from functools import partial

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT
from deploy.test_serve import BOUNDARY, POINTS, Server, multipart, png
from fuzz.mutate import NASTY, mutated_bytes, mutated_tree
from labelled import write_exports
from PIL import Image

from ppcoordconv.config import load_config
from ppcoordconv.data import DATASETS
from ppcoordconv.data.coco import read_coco
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.infer import infer
from ppcoordconv.training.checkpoints import save_state
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import load_weights

pytestmark = pytest.mark.any_paddle


@pytest.fixture
def cases(request):
    """Generators of random numbers, one for each case, until the time is over."""
    seconds = request.config.getoption("--fuzz_seconds")
    first = int(os.environ.get("FUZZ_SEED", random.randrange(2**31)))

    def generators():
        end, tried = time.monotonic() + seconds, 0
        while not tried or time.monotonic() < end:
            request.node.user_properties[:] = [("FUZZ_SEED", first + tried)]
            print(f"\rFUZZ_SEED={first + tried}", end="")
            yield random.Random(first + tried)
            tried += 1
        print(f"\n{request.node.name}: {tried} cases")

    return generators()


def a_result_or_a_sentence(function):
    try:
        function()
    except UserError as error:
        assert str(error)
        assert "\n" not in str(error)


@contextlib.contextmanager
def at_most(memory):
    """It is traced, which takes its time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()


def test_configs(cases, tmp_path):
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "configs").glob("*/[!_]*.yml"))]
    plain = [value for value in NASTY if value != "\ud800"]
    path = tmp_path / "run.yml"
    for rng in cases:
        text = rng.choice(texts).replace("_BASE_: ", f"_BASE_: {ROOT / 'configs' / 'digits'}/")
        if rng.random() < 0.5:
            path.write_bytes(mutated_bytes(rng, text.encode()))
        else:
            tree = mutated_tree(rng, yaml.safe_load(text), plain)
            path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
        override = rng.choice(["epochs=", "model.", "=", "a.b.c=", "optimizer=", "task.image_size="])
        overrides = [mutated_bytes(rng, f"{override}3".encode()).decode(errors="replace")] if rng.random() < 0.3 else []
        a_result_or_a_sentence(partial(load_config, path, overrides))


def test_coco_files(cases, tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0, "area": 12}
    tree = {
        "images": [{"id": n, "file_name": f"{c}.png", "width": 30, "height": 20} for n, c in ((1, "a"), (2, "b"))],
        "annotations": [{"id": 1, **box}, {"id": 2, **box}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    plain = [value for value in NASTY if not isinstance(value, bytes) and not hasattr(value, "year")]

    def read():
        for picture in read_coco(tmp_path / "a.json", tmp_path)[0]:
            picture.pixels()

    for rng in cases:
        if rng.random() < 0.7:
            text = json.dumps(mutated_tree(rng, tree, plain)).encode()
        else:
            text = mutated_bytes(rng, json.dumps(tree).encode())
        (tmp_path / "a.json").write_bytes(text)
        a_result_or_a_sentence(read)


def test_exports_of_labelling_tools(cases, tmp_path):
    write_exports(tmp_path)
    options = {
        "label_studio": ("coco", {"train_annotations": "result.json", "train_images": "images"}),
        "via": ("via", {"train_annotations": "via_project.json", "train_images": "images"}),
        "voc": ("voc", {}),
        "labelimg": ("voc", {}),
        "labelme": ("labelme", {}),
        "yolo": ("yolo", {}),
        "yolo_of_label_studio": ("yolo", {}),
    }
    plain = [value for value in NASTY if not isinstance(value, bytes) and not hasattr(value, "year")]
    for rng in cases:
        export = rng.choice(list(options))
        name, given = options[export]
        file = rng.choice(sorted(f for f in (tmp_path / export).rglob("*.*") if f.is_file() and f.suffix != ".png"))
        good = file.read_bytes()
        if file.suffix == ".json" and rng.random() < 0.7:
            file.write_text(json.dumps(mutated_tree(rng, json.loads(good), plain)))
        else:
            file.write_bytes(mutated_bytes(rng, good))
        data = partial(DATASETS.build, name, path=str(tmp_path / export), **given)
        a_result_or_a_sentence(lambda data=data: [image.pixels() for image in [*data().train, *data().test]])
        file.write_bytes(good)


def test_weights(cases, tmp_path):
    network = paddle.nn.Sequential(paddle.nn.Conv2D(2, 3, 3), paddle.nn.BatchNorm2D(3))
    arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    save_state(network.state_dict(), tmp_path / "own", metadata={"labels": ["a"]})
    good = [pickle.dumps(arrays, protocol) for protocol in (2, 3, 4, 5)]
    good += [(tmp_path / "own").read_bytes(), pickle.dumps({**arrays, "epoch": 3, "history": [{"loss": 0.5}]}, 4)]
    path = tmp_path / "a.pdparams"
    for rng in cases:
        data = mutated_bytes(rng, rng.choice(good))
        path.write_bytes(data)
        with at_most(2**17 + 4 * len(data)) if rng.random() < 0.1 else contextlib.nullcontext():
            a_result_or_a_sentence(lambda: load_weights(network, path))


def test_exported_folders(cases, tmp_path):
    """The description; what Paddle makes of a forged model of its own is its own."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "docs" / "trained" / "regression", folder)
    path = folder / "inference.yml"
    text = path.read_text(encoding="utf-8")
    plain = [value for value in NASTY if not isinstance(value, bytes) and not hasattr(value, "year")]
    picture = ROOT / "docs" / "trained" / "pixel_40_17.png"
    for rng in cases:
        if rng.random() < 0.7:
            path.write_bytes(json.dumps(mutated_tree(rng, json.loads(text), plain)).encode())
        else:
            path.write_bytes(mutated_bytes(rng, text.encode()))

        def serve():
            with Predictor(str(folder), cpu_threads=1, max_concurrency=1) as predictor:
                list(infer(predictor, [picture]))

        a_result_or_a_sentence(serve)


def test_requests(cases):
    server = Server(POINTS, "--max_body_mb", 1, "--timeout", 2)
    body = json.dumps({"inputs": [[40, 17], [3, 60]]}).encode()
    files = multipart({"a.png": png(np.zeros([8, 8, 3], np.uint8))})
    kinds = [("application/json", body), (f"multipart/form-data; boundary={BOUNDARY}", files), ("text/plain", b"x")]
    statuses = set()
    try:
        for rng in cases:
            kind, content = rng.choice(kinds)
            if rng.random() < 0.5:
                content = mutated_bytes(rng, content)
            head = (
                f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            request = head.encode() + content
            if rng.random() < 0.3:
                request = mutated_bytes(rng, request)
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.settimeout(20)
                client.sendall(request)
                if rng.random() < 0.2:
                    continue  # it hangs up
                client.shutdown(socket.SHUT_WR)
                answer = client.recv(65_536)
            if answer:
                statuses.add(answer.split(b" ")[1])
        assert server.get("/health")[0] == 200
        assert server.post_inputs([[40, 17]])[0] == 200
    finally:
        assert server.stop() == 0
    assert statuses <= {b"200", b"400", b"404", b"405", b"408", b"413", b"415"}
