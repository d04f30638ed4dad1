"""Runs an exported folder over ``inputs.npz`` and writes ``outputs.npz``: apart, so that it may crash alone."""

import sys
from pathlib import Path

import numpy as np

from .predictor import Predictor


def main(folder: Path) -> None:
    predictor = Predictor(str(folder))
    with np.load(folder / "inputs.npz") as inputs:
        np.savez(folder / "outputs.npz", *[predictor(inputs[name]) for name in inputs.files])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
