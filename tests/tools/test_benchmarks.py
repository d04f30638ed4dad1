"""The benchmark measures what it says, of layers that compute the same."""

import importlib
import inspect
import json
import math
import socket
import sys
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from benchmark import PARAMETERS
from benchmarks import files, inference, int8, load, loading, steps, train, tuning, windows
from benchmarks import layer as benchmark
from conftest import run_tool
from PIL import Image

from ppcoordconv.utils.cpu import START
from ppcoordconv.utils.errors import UserError

SHAPES = [((2, 4, 8, 6), 3, 3), ((2, 4, 8, 6), 3, 1)]


def test_the_variants_compute_the_same():
    concat, ours = benchmark.VARIANTS["concat"](4, 6, 3, 1), benchmark.VARIANTS["coordconv"](4, 6, 3, 1)
    ours.set_state_dict(concat.state_dict())
    x = paddle.randn([2, 4, 7, 5])
    np.testing.assert_allclose(ours(x).numpy(), concat(x).numpy(), atol=1e-5)


def test_rows_and_ratios():
    result = benchmark.measure("cpu", repeats=3, shapes=SHAPES)
    assert [row["kernel_size"] for row in result["rows"]] == [3, 1]
    for row in result["rows"]:
        for key in ("forward_ms", "step_ms", *(["peak_mib"] if "peak_mib" in row else [])):
            assert set(row[key]) == set(benchmark.VARIANTS)
            assert all(value > 0 for value in row[key].values())
    first, second = (row["step_ms"]["coordconv"] / row["step_ms"]["concat"] for row in result["rows"])
    ratio = result["ratios"]["step"]["concat"]
    assert ratio["mean"] == pytest.approx(math.sqrt(first * second))
    assert ratio["worst"] == max(first, second)
    lines = benchmark.as_table(result).splitlines()
    assert len(lines) == 1 + len(SHAPES) + 2
    assert lines[1].startswith("2x4x8x6 -> 3, 3")


def test_peak_memory_is_that_of_the_step():
    if not hasattr(benchmark.core, "host_memory_stat_reset_peak_value"):
        pytest.skip("this Paddle can't reset its memory statistics")
    peak = benchmark._peak(lambda layer: layer(paddle.ones([256, 1024])), paddle.nn.Softmax(), "cpu")
    assert peak == pytest.approx(2, abs=0.1)


def test_windows_are_beside_the_same_call_without():
    result = windows.measure(repeats=2, shapes=SHAPES[:1])
    assert set(result["ratios"]) == {f"{key}, {name}" for key in ("forward", "step") for name in windows.BASES}
    (row,) = result["rows"]
    ratio = row["forward_ms"]["each sample"] / row["forward_ms"]["none"]
    assert result["ratios"]["forward, each sample"] == {"mean": pytest.approx(ratio), "worst": ratio}
    assert len(windows.as_table(result).splitlines()) == 4


@pytest.mark.parametrize(
    "what", ["layer", "windows", "tuning", "train", "inference", "int8", "necks", "files", "load", "loading"]
)
def test_the_command_has_what_each_measurement_takes(what):
    arguments = SimpleNamespace(device="cpu", amp=None, repeats=3, count=5, clients=2, seconds=1)
    measure = importlib.import_module(f"benchmarks.{what}").measure
    inspect.signature(measure).bind(*PARAMETERS[what](arguments))


def test_processes_are_timed_in_turn(tmp_path):
    code = "import sys\nfor i, _ in enumerate(sys.stdin): print({} + i, flush=True)"
    commands = {name: [sys.executable, "-c", code.format(first)] for name, first in (("a", 10), ("b", 20))}
    assert steps.interleaved(commands, {}, 3) == {"a": 12, "b": 22}
    # One that ends at once, and one that has ended long before it is asked.
    slow = [sys.executable, "-c", "import time; time.sleep(2); " + "input(); print(1)"]
    for first in (commands["a"], slow):
        with pytest.raises(UserError, match="the process of 'b' ended"):
            steps.interleaved({"a": first, "b": [sys.executable, "-c", ""]}, {}, 3)


@pytest.mark.skipif(not START.exists(), reason="what a process was started with is read from Linux's /proc")
def test_processes_start_without_what_the_tuning_of_this_one_has_set(monkeypatch):
    monkeypatch.setenv("SET_SINCE", "1")
    value = "10 * ('SET_SINCE' in os.environ) + int(os.environ['GIVEN'])"
    code = f"import os, sys\nfor _ in sys.stdin: print({value}, flush=True)"
    assert steps.interleaved({"a": [sys.executable, "-c", code]}, {"a": {"GIVEN": "5"}}, 1) == {"a": 5}


@pytest.mark.any_paddle
@pytest.mark.slow
def test_the_engine_benchmark(tmp_path, monkeypatch):
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(20):
            Image.new("L", (32, 32), i).save(tmp_path / label / f"{i}.png")
    config = {"_BASE_": str(train.CONFIG), "data": {"name": "image_folder", "path": str(tmp_path)}, "batch_size": 4}
    (tmp_path / "small.yml").write_text(json.dumps(config))
    monkeypatch.setattr(train, "CONFIG", tmp_path / "small.yml")
    assert 0 < train._overhead() < 1
    real, seconds = train._epoch_seconds, iter([6.0, 4.0])
    measured = []
    monkeypatch.setattr(train, "_epoch_seconds", lambda state: (measured.append(real(state)), next(seconds))[1])
    rows = train._scaling()
    assert rows == {"1": {"seconds": 6, "efficiency": 1}, "2": {"seconds": 4, "efficiency": 0.75}}
    assert len(measured) == 2
    assert min(measured) > 0
    networks = {"net": {"paddle": 30.0, "torch": 20.0, "ratio": 1.5}}
    table = train.as_table({"networks": networks, "overhead": 0.012, "processes": rows}).splitlines()
    assert table[1].split() == ["net", "30", "20", "1.50"]
    assert "1.2 %" in table[2]


@pytest.mark.slow
def test_the_inference_benchmark(monkeypatch):
    monkeypatch.setattr(inference, "THREADS", (1,))
    name = "coordinate_corner"
    result = inference.measure(2, [name])
    rows = result["rows"]
    assert {row["batch"] for row in rows} == {1, 8, 32}
    assert {"paddle, oneDNN", "paddle"} <= {row["engine"] for row in rows}
    mean = result["ratios"]["networks"]["paddle"]["plain"]["mean"]
    quotients = [
        r["variants"]["coordconv"]["p50_ms"] / r["variants"]["plain"]["p50_ms"] for r in rows if r["engine"] == "paddle"
    ]
    assert mean == pytest.approx(np.prod(quotients) ** (1 / 3))
    assert len(inference.as_table(result).splitlines()) == 1 + len(rows) + 2 * len(result["ratios"]["networks"])


def test_the_ratios_of_the_inference_benchmark():
    """Geometric means and the largest, of each engine and kind by itself."""

    def row(subject, engine, plain, concat):
        times = {"plain": plain, "coordconv": 6.0, "concat": concat}
        return {"subject": subject, "engine": engine, "variants": {k: {"p50_ms": v} for k, v in times.items()}}

    network = next(iter(inference.NETWORKS))
    rows = [row(network, "paddle", 3.0, 12.0), row(network, "paddle", 12.0, 12.0), row(network, "onnx", 6.0, 8.0)]
    ratios = inference._ratios([*rows, row("a layer", "paddle", 4.0, 5.0)])
    assert ratios["networks"]["paddle"]["plain"] == {"mean": pytest.approx(1), "worst": 2}
    assert ratios["networks"]["paddle"]["concat"] == {"mean": pytest.approx(0.5), "worst": 0.5}
    assert ratios["networks"]["onnx"]["concat"] == {"mean": pytest.approx(0.75), "worst": 0.75}
    assert ratios["layers"]["paddle"]["plain"] == {"mean": pytest.approx(1.5), "worst": 1.5}


@pytest.mark.parametrize("name", inference.NETWORKS)
def test_the_variants_of_a_network_are_what_they_are_called(name):
    network = inference.NETWORKS[name]()
    variants = inference._variants(network)
    kinds = {base: [type(layer).__name__ for layer in net.sublayers()] for base, net in variants.items()}
    assert "CoordConv" not in kinds["plain"] + kinds["concat"]
    assert "ConcatenatingCoordConv" in kinds["concat"]
    # The shares of the coordinates: two weights for each channel that the convolutions on them have.
    plain, ours, concat = (
        sum(p.size for p in variants[base].parameters()) for base in ("plain", "coordconv", "concat")
    )
    assert plain < ours <= concat
    by_shape = {base: sorted(tuple(p.shape) for p in net.parameters()) for base, net in variants.items()}
    # The concatenating layer has a bias, before a norm, too, as PaddleDetection's has.
    if len(by_shape["concat"]) == len(by_shape["coordconv"]) and "ppyolo" not in name:
        assert by_shape["concat"] == by_shape["coordconv"]
        for net in variants.values():
            net.eval()
        variants["concat"].set_state_dict(dict(zip(variants["concat"].state_dict(), network.state_dict().values())))
        x = paddle.randn([2, *network.input_shape])
        np.testing.assert_allclose(variants["concat"](x), network(x), rtol=1e-4, atol=1e-4)


def test_the_int8_benchmark(monkeypatch):
    monkeypatch.setattr(int8, "SUBJECTS", ["aistudio_coordconv"])
    monkeypatch.setattr(int8, "FORMATS_IN_INT8", ["legacy"])
    result = int8.measure(1)
    assert [row["batch"] for row in result["rows"]] == [1, 8]
    assert all(row["ratio"] == row["int8"] / row["float"] > 0 for row in result["rows"])
    assert len(int8.as_table(result).splitlines()) == 3


def test_the_tuning_benchmark(monkeypatch):
    monkeypatch.setattr(tuning, "NETWORKS", ["aistudio_coordconv"])
    result = tuning.measure(1)
    assert result.pop("batch") == 32
    assert set(result) == {"aistudio_coordconv"}
    assert all(value > 0 for value in result["aistudio_coordconv"].values())
    assert len(tuning.as_table({"batch": 32, **result}).splitlines()) == 2


def test_the_speedup_is_that_of_the_tuned(monkeypatch):
    monkeypatch.setattr(tuning, "interleaved", lambda *_: {"stock": 30.0, "tuned": 10.0})
    for row in (tuning.measure(1)[name] for name in tuning.NETWORKS):
        assert row == {"stock_ms": 30, "tuned_ms": 10, "speedup": 3}


@pytest.mark.any_paddle
@pytest.mark.parametrize(
    "arguments", [["tuning", "--repeats", "x"], ["layer", "--repeats", "0"], ["layer", "--amp", "O3"], ["nothing"], []]
)
def test_mistakes(arguments, tmp_path):
    result = run_tool("benchmark", *arguments, cwd=tmp_path)
    assert result.status == 2
    assert len(result.stderr.splitlines()) == 1


def test_many_files_are_read_while_the_model_runs(tmp_path):
    run = run_tool("benchmark", "files", "--count", 50, "--json", cwd=tmp_path)
    assert run.status == 0, run.stderr
    result = json.loads(run.stdout)
    assert len(result["mib"]) == 10
    assert all(value > 0 for value in (*result["mib"], result["reading_s"], result["model_s"], result["infer_s"]))
    assert files.as_table(result).startswith("50 files: ")


def test_pictures_are_loaded_by_each_number_of_workers(tmp_path):
    run = run_tool("benchmark", "loading", "--count", 8, "--repeats", 1, "--json", cwd=tmp_path)
    assert run.status == 0, run.stderr
    result = json.loads(run.stdout)
    rates = result["per_second"]
    assert set(rates) == {"1", "2"}
    assert result["ratio"] == rates["2"] / rates["1"] > 0
    assert len(loading.as_table(result).splitlines()) == 3


@pytest.mark.slow
def test_the_service_answers_under_load(tmp_path):
    pytest.importorskip("fastapi")
    run = run_tool("benchmark", "load", "--clients", 4, "--seconds", 1, "--json", cwd=tmp_path)
    assert run.status == 0, run.stderr
    result = json.loads(run.stdout)
    modes = result["modes"]
    assert all(mode["failed"] == mode["wrong"] == 0 < mode["p50_ms"] <= mode["p99_ms"] for mode in modes.values())
    assert result["ratio"] == modes["with batching"]["per_second"] / modes["without batching"]["per_second"]
    assert len(load.as_table(result).splitlines()) == 5


def test_what_the_service_refuses_or_gets_wrong_is_counted():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    counts = load._Counts()
    load._ask(port, 2, 0.1, ["{}"], [(0, 0)], counts)
    assert counts.errors[0].startswith("ConnectionRefusedError")
    summary = load._summary(counts)
    count = len(counts.errors)
    assert (summary["requests"], summary["failed"], summary["wrong"], summary["per_second"]) == (count, count, 0, 0)
