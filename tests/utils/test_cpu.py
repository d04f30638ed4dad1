"""The CPU tuning: what is set on which machine, what is left alone, and that a real process takes it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppcoordconv.deploy.runtimes import cpu_has_bf16
from ppcoordconv.utils import cpu as tuning

ROOT = Path(__file__).resolve().parents[2]
TUNED = sys.platform.startswith("linux") and tuning.platform.machine() == "x86_64"
LINUX = pytest.mark.skipif(
    not (TUNED and tuning.platform.libc_ver()[0] == "glibc"), reason="tuned on Linux with glibc on x86-64 only"
)


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("AuthenticAMD", "sse avx avx2 avx512f avx512bw avx512dq avx512vl", {"MKL_DEBUG_CPU_TYPE": "7"}),
        ("AuthenticAMD", "sse avx avx2 avx512f", {"MKL_DEBUG_CPU_TYPE": "5"}),
        ("AuthenticAMD", "sse avx", {}),
        ("GenuineIntel", "sse avx avx2 avx512f avx512bw avx512dq avx512vl", {}),
        ("", "", {}),
    ],
)
def test_vector_instructions(vendor, flags, expected):
    assert tuning._vector_instructions({"vendor_id": vendor, "flags": flags}) == expected
    assert tuning._vector_instructions({}) == {}


def run(code, **environment):
    names = ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", tuning.SWITCH, *tuning._MALLOC)
    clean = {key: value for key, value in os.environ.items() if key not in names}
    command = [sys.executable, "-c", f"import json, os, sys\n{code}"]
    done = subprocess.run(command, cwd=ROOT, env={**clean, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


BEFORE = "import ppcoordconv as pcc; assert 'paddle' not in sys.modules; print(json.dumps(pcc.tune_cpu()))"
AFTER = "import paddle, ppcoordconv as pcc; print(json.dumps(pcc.tune_cpu()))"


@LINUX
def test_before_paddle_all_is_done_and_after_it_what_is_possible():
    before, after = run(BEFORE), run(AFTER)
    assert set(after) == {"threads", *tuning._MALLOC}
    assert after["threads"] == len(os.sched_getaffinity(0))
    assert set(after) <= set(before)
    assert set(before) - set(after) == set(tuning._vector_instructions(tuning.cpu_info()))


@LINUX
@pytest.mark.parametrize("code", [BEFORE, AFTER])
@pytest.mark.parametrize("threads", ["1", "7"])
def test_what_the_user_has_set_is_left_alone(code, threads):
    done = run(code, OMP_NUM_THREADS=threads, MALLOC_TOP_PAD_="1")
    assert "threads" not in done
    assert "MALLOC_TOP_PAD_" not in done
    assert "MALLOC_TRIM_THRESHOLD_" in done


@LINUX
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
@pytest.mark.parametrize("code", [BEFORE, AFTER])
def test_paddle_uses_the_threads(code):
    """A matrix product starts them."""
    code += """
import paddle
def threads():
    return len(os.listdir("/proc/self/task"))
before, a = threads(), paddle.rand([1000, 1000])
paddle.matmul(a, a).numpy()
print(json.dumps(threads() - before))"""
    assert run(code) >= len(os.sched_getaffinity(0)) - 1
    assert run(code, PPCC_TUNE_CPU="0") == 0


@LINUX
def test_processes_launched_together_share_the_processors():
    assert run(BEFORE, PADDLE_LOCAL_SIZE="1000")["threads"] == 1


@LINUX
def test_one_line_says_what_was_done():
    code = """
import io, logging, ppcoordconv as pcc
log, logger = io.StringIO(), logging.getLogger("ppcoordconv")
logger.setLevel(logging.INFO)
logger.addHandler(logging.StreamHandler(log))
pcc.tune_cpu()
print(json.dumps(log.getvalue()))"""
    (line,) = run(code).splitlines()
    assert "threads=" in line
    assert "PPCC_TUNE_CPU=0" in line


def test_the_switch():
    assert run(BEFORE, PPCC_TUNE_CPU="0") == {}


def test_the_import_changes_nothing():
    code = "before = dict(os.environ); import ppcoordconv; print(json.dumps(before == dict(os.environ)))"
    assert run(code) is True


@pytest.mark.parametrize(("attribute", "value"), [("platform", "darwin"), ("machine", "aarch64")])
def test_elsewhere_it_does_nothing(monkeypatch, attribute, value):
    monkeypatch.delenv(tuning.SWITCH, raising=False)
    if attribute == "platform":
        monkeypatch.setattr(tuning.sys, "platform", value)
    else:
        monkeypatch.setattr(tuning.platform, "machine", lambda: value)
    assert tuning.tune_cpu() == {}


def test_where_the_processor_is_not_told_nothing_is_known_of_it(monkeypatch, tmp_path):
    monkeypatch.setattr(tuning, "CPUINFO", tmp_path / "nowhere")
    assert tuning.cpu_info() == {}
    assert not cpu_has_bf16()


@LINUX
def test_without_glibc_its_settings_are_left_out(monkeypatch):
    monkeypatch.delenv(tuning.SWITCH, raising=False)
    monkeypatch.setattr(tuning.platform, "libc_ver", lambda: ("", ""))
    assert not set(tuning.tune_cpu()) & set(tuning._MALLOC)


@LINUX
def test_freed_memory_is_kept():
    """A block of 64 MiB, freed and taken again, comes from the heap and costs no page faults."""
    code = (
        "import resource, ppcoordconv as pcc\nif TUNE: pcc.tune_cpu()\n"
        "def faults():\n    b = bytearray(2**26); del b\n"
        "    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(4):\n        b = bytearray(2**26); b[::4096] = bytes(len(b[::4096])); del b\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start\n"
        "print(faults())"
    )
    assert run(code.replace("TUNE", "True")) < 0.5 * run(code.replace("TUNE", "False"))
