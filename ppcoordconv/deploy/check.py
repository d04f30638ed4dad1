"""Runs an exported folder over the ``inputs.npz`` beside it with some settings: apart, so that it may crash alone."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .apart import end_with_parent
from .predictor import Predictor


def main(folder: Path, name: str, **settings: Any) -> None:
    """Writes the outputs to ``<name>.npz``, beside the folder, too."""
    predictor = Predictor(str(folder), **settings)
    with np.load(folder.parent / "inputs.npz") as inputs:
        np.savez(folder.parent / f"{name}.npz", *[predictor(inputs[key]) for key in inputs.files])


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3]))
