"""Reading pictures for training: how much faster worker processes decode and augment than one thread."""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
from PIL import Image

from benchmarks.timing import interleaved
from ppcoordconv.config import CONFIGS, load_config
from ppcoordconv.tasks import build_task
from ppcoordconv.training.prefetch import prefetch
from ppcoordconv.utils.cpu import usable_cpus
from ppcoordconv.utils.progress import bar, log_info

CONFIG = CONFIGS / "detection" / "digits_coordconv.yml"
# Two megapixels, and what becomes of them.
WIDTH, HEIGHT, INPUT = 1632, 1224, 416
AUGMENTATION = ["task.flip=true", "task.crop=0.3", "task.colour=0.4"]
WORKERS, BATCH = (1, 2), 8


def measure(repeats: int = 5, count: int = 256) -> Dict[str, Any]:
    """Reads JPEGs through the whole augmentation of detection, by one worker and by two in turn, without training.

    Returns:
        "pictures": those that are read, four fifths of ``count``. "per_second": pictures a second by number of workers,
        the median of the repeats, with the start of the processes. "ratio": two workers to one. "processors": those
        that may be used.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, count)
        size = f"task.image_size=[{INPUT},{INPUT}]"
        task = build_task(load_config(CONFIG, [f"data.path={folder}", size, *AUGMENTATION]))
        samples = task.train_samples(0)
        count = len(samples)  # the others are held out
        batches = [np.arange(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
        log_info(f"reading {count} pictures by {' and '.join(map(str, WORKERS))} workers in turn")
        runs = {str(workers): partial(_read, samples, batches, workers) for workers in WORKERS}
        times = interleaved(runs, repeats, warm_up=1)
    rates = {workers: count / statistics.median(seconds) for workers, seconds in times.items()}
    return {"pictures": count, "processors": usable_cpus(), "per_second": rates, "ratio": rates["2"] / rates["1"]}


def as_table(result: Dict[str, Any]) -> str:
    rows = [f"workers={workers}: {rate:.1f} pictures a second" for workers, rate in result["per_second"].items()]
    return "\n".join([*rows, f"{result['ratio']:.2f} times as many, on {result['processors']} processors"])


def _read(samples: Any, batches: List[np.ndarray], workers: int) -> None:
    with contextlib.closing(prefetch(samples, batches, 1, workers)) as found:
        for _ in found:
            pass


def _write(folder: Path, count: int) -> None:
    """Pictures of noise at the scale of objects, with a box each, in COCO's format."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir()
    images, annotations = [], []
    box = [400, 300, 800, 600]
    with bar(count, unit="picture") as progress:
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8))
            file = f"{number:05}.jpg"
            coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / "train" / file, quality=90)
            images.append({"id": number, "file_name": file, "width": WIDTH, "height": HEIGHT})
            annotations.append({"id": number, "image_id": number, "category_id": 1, "bbox": box})
            progress.update()
    tree = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "noise"}]}
    (folder / "train.json").write_text(json.dumps(tree))
