"""Runs an exported folder over the ``inputs.npz`` beside it with some settings: apart, so that it may crash alone."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .apart import end_with_parent
from .predictor import Predictor


def main(folder: Path, name: str, **settings: Any) -> None:
    """Writes the outputs, in the windows of ``places.npz`` if it has some, to ``<name>.npz``, beside the folder too."""
    predictor = Predictor(str(folder), **settings)
    with np.load(folder.parent / "inputs.npz") as inputs, np.load(folder.parent / "places.npz") as places:
        windows = {key: (places[key][:, :4], places[key][:, 4:]) for key in places.files}
        outputs = [predictor(inputs[key], window=windows.get(key)) for key in inputs.files]
    np.savez(folder.parent / f"{name}.npz", *outputs)


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3]))
