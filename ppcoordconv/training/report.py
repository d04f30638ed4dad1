"""What a metric reports of a test set beside its numbers, as files: report.json, and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import numpy as np
from PIL import Image

from ..utils.files import atomic_write, write_text


def write_report(folder: Path, report: Dict[str, Any], pictures: Dict[str, np.ndarray]) -> None:
    """``report.json``, a line for each key, and ``<name>.png`` for each picture; what is empty is not written."""
    if report:
        lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in report.items()]
        write_text(folder / "report.json", "{\n" + ",\n".join(lines) + "\n}\n")
    for name, pixels in pictures.items():
        with atomic_write(folder / f"{name}.png") as file:
            Image.fromarray(pixels).save(file)
