"""Runs an exported folder over ``inputs.npz`` with some settings: apart, so that it may crash alone."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .predictor import Predictor


def main(folder: Path, name: str, **settings: Any) -> None:
    """Writes the outputs to ``<name>.npz``."""
    predictor = Predictor(str(folder), **settings)
    with np.load(folder / "inputs.npz") as inputs:
        np.savez(folder / f"{name}.npz", *[predictor(inputs[key]) for key in inputs.files])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3]))
