"""``ppcoordconv serve`` under load: many clients at once, with batching and without, beside one request at a time."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np

from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.progress import bar, log_info

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "docs" / "trained" / "classification"
# Options of `serve`, and whether all clients ask or one alone.
MODES = {
    "one at a time": (["--max_batch", "1"], False),
    "without batching": (["--max_batch", "1"], True),
    "with batching": ([], True),
}
# The modes take turns, so that the machine's load affects all alike.
TURN_SECONDS = 10.0


@dataclass
class _Counts:
    """What the clients of a mode have seen."""

    seconds: List[float] = field(default_factory=list)
    is_right: List[bool] = field(default_factory=list)
    errors: List[str] = field(default_factory=list)
    duration: float = 0.0


def measure(clients: int, seconds: float) -> Dict[str, Any]:
    """Asks a service for what is at random points, over connections that are kept.

    Parameters:
        clients: threads that each send a request once the one before is answered.
        seconds: of each mode, in turns.

    Returns:
        "clients"; "modes": by mode "requests", "failed" (no answer, or not 200), "wrong" (not what the service says of
        that point alone), "per_second", "p50_ms", "p99_ms"; "ratio": requests per second with batching to without.
    """
    counts = {mode: _Counts() for mode in MODES}
    turns = math.ceil(seconds / TURN_SECONDS)
    with contextlib.ExitStack() as stack:
        ports = {mode: stack.enter_context(_service(options)) for mode, (options, _) in MODES.items()}
        log_info("asking for the answers, one at a time")
        bodies, expected = _questions(ports["one at a time"])
        with bar(len(MODES) * turns, unit="turn") as progress:
            for _ in range(turns):
                for mode, (_, together) in MODES.items():
                    _ask(ports[mode], clients if together else 1, seconds / turns, bodies, expected, counts[mode])
                    progress.update()
    modes = {mode: _summary(count) for mode, count in counts.items()}
    ratio = modes["with batching"]["per_second"] / modes["without batching"]["per_second"]
    return {"clients": clients, "modes": modes, "ratio": ratio}


def as_table(result: Dict[str, Any]) -> str:
    columns = ("requests", "failed", "wrong", "per_second", "p50_ms", "p99_ms")
    lines = [f"{result['clients']} clients".ljust(18) + "".join(f"{column:>12}" for column in columns)]
    for mode, row in result["modes"].items():
        lines.append(mode.ljust(18) + "".join(f"{row[column]:>12.6g}" for column in columns))
    return "\n".join([*lines, f"requests per second with batching to without: {result['ratio']:.2f}"])


@contextlib.contextmanager
def _service(options: List[str]) -> Iterator[int]:
    """The port of a service in a process of its own."""
    command = [sys.executable, str(ROOT / "tools" / "serve.py"), "--model_dir", str(MODEL), "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"serving on http://[\d.]+:(\d+)", line):
                break
        else:
            raise UserError(f"the service has ended, with status {process.wait()}")
        # What it says further on would fill the pipe.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield int(found.group(1))
    finally:
        process.terminate()
        process.wait()


def _place(connection: http.client.HTTPConnection, body: str) -> Tuple[int, int]:
    """What the service finds at one point.

    Raises:
        OSError, HTTPException, ValueError, LookupError: there is no answer, or not the one that was asked for.
    """
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise ValueError(f"{answer.status}: {text.decode()}")
    (result,) = json.loads(text)["results"]
    return result["x"], result["y"]


def _questions(port: int) -> Tuple[List[str], List[Tuple[int, int]]]:
    """Bodies, and what the service finds for each."""
    points = np.random.default_rng(0).integers(0, 64, [256, 2]).tolist()
    bodies = [json.dumps({"inputs": [point]}) for point in points]
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        return bodies, [_place(connection, body) for body in bodies]


def _ask(port: int, clients: int, seconds: float, bodies: List[str], expected: List[Any], counts: _Counts) -> None:
    start = time.perf_counter()

    def client(number: int) -> None:
        rng = np.random.default_rng(number)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            while (sent := time.perf_counter()) < start + seconds:
                index = rng.integers(len(bodies))
                try:
                    found = _place(connection, bodies[index])
                except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
                    counts.errors.append(f"{type(error).__name__}: {error}")
                    connection.close()
                    continue
                counts.seconds.append(time.perf_counter() - sent)
                counts.is_right.append(found == expected[index])

    threads = [threading.Thread(target=client, args=[number]) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.duration += time.perf_counter() - start


def _summary(counts: _Counts) -> Dict[str, float]:
    p50, p99 = (1000 * np.percentile(counts.seconds, [50, 99])).tolist() if counts.seconds else (0.0, 0.0)
    return {
        "requests": len(counts.seconds) + len(counts.errors),
        "failed": len(counts.errors),
        "wrong": counts.is_right.count(False),
        "per_second": len(counts.seconds) / counts.duration,
        "p50_ms": p50,
        "p99_ms": p99,
    }
