"""Serving many files: how much of reading them is hidden behind the model, and what memory that takes."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from PIL import Image

from ppcoordconv.config import CONFIGS, load_config
from ppcoordconv.data.preprocessing import preprocess_of
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import BATCH_SIZE, infer
from ppcoordconv.tasks import build_task
from ppcoordconv.utils.progress import bar, log_info

CONFIG = CONFIGS / "digits" / "coordconv.yml"
SIDE = 160


def measure(count: int = 10_000) -> Dict[str, Any]:
    """Runs ``infer`` over that many PNG files of 160x160 pixels, and each half of its work alone.

    Returns:
        "reading_s": to read and preprocess the files in one thread. "model_s": to run the model on as many inputs.
        "infer_s": both, as ``infer`` does it. "mib": the process's memory after each tenth of the files.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_task(build_task(load_config(CONFIG, [])), folder / "model")
        pictures = folder / "pictures"
        _write(pictures, count)
        predictor = Predictor(str(folder / "model"))
        preprocess = preprocess_of(predictor.description["preprocess"])
        log_info("reading them, without the model")
        start = time.perf_counter()
        for item in preprocess.inputs(pictures):
            prepared = preprocess(item.read())
        reading = time.perf_counter() - start
        log_info("running the model, without files")
        batch = np.stack([prepared] * BATCH_SIZE)
        start = time.perf_counter()
        for _ in range(0, count, BATCH_SIZE):
            predictor(batch)
        model = time.perf_counter() - start
        log_info("both")
        memory: List[float] = []
        start = time.perf_counter()
        for number, _ in enumerate(infer(predictor, [pictures]), start=1):
            if number % max(1, count // 10) == 0:
                memory.append(_resident_mib())
        return {
            "files": count,
            "reading_s": reading,
            "model_s": model,
            "infer_s": time.perf_counter() - start,
            "mib": memory,
        }


def as_table(result: Dict[str, Any]) -> str:
    alone = result["reading_s"] + result["model_s"]
    return "\n".join(
        [
            f"{result['files']} files: {result['files'] / result['infer_s']:.0f} a second",
            f"reading alone {result['reading_s']:.2f} s, the model alone {result['model_s']:.2f} s, "
            f"both {result['infer_s']:.2f} s: {result['infer_s'] / alone:.2f} of their sum",
            "MiB after each tenth: " + " ".join(f"{mib:.0f}" for mib in result["mib"]),
        ]
    )


def _write(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, SIDE)
    smooth = np.stack([ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None], 0.5 * (ramp + ramp[:, None])], axis=2)
    with bar(count, unit="picture") as progress:
        for number in range(count):
            noisy = smooth + rng.integers(-20, 20, smooth.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.png", compress_level=1)
            progress.update()


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
