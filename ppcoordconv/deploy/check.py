"""Runs an exported folder over the ``inputs.npz`` beside it with some settings: apart, so that it may crash alone."""

import json
import sys
from pathlib import Path
from typing import Any, List, Sequence, Tuple

import numpy as np

from .apart import end_with_parent
from .predictor import Predictor


def main(folder: Path, name: str, **settings: Any) -> None:
    """Writes the outputs, in the windows of ``places.npz`` if it has some, to ``<name>.npz``, beside the folder too."""
    predictor = Predictor(str(folder), **settings)
    outputs = []
    with np.load(folder.parent / "places.npz") as places:
        for number, batch in enumerate(load_batches(folder.parent / "inputs.npz")):
            place = places[f"arr_{number}"] if places.files else None
            given = predictor(*batch, window=None if place is None else (place[:, :4], place[:, 4:]))
            outputs.append(given if isinstance(given, tuple) else (given,))
    save_batches(folder.parent / f"{name}.npz", outputs)


def save_batches(path: Path, batches: Sequence[Tuple[np.ndarray, ...]]) -> None:
    """Each of the same number of arrays."""
    np.savez(path, *[array for batch in batches for array in batch], count=len(batches[0]))


def load_batches(path: Path) -> List[Tuple[np.ndarray, ...]]:
    """What ``save_batches`` wrote."""
    with np.load(path) as file:
        count = int(file["count"])
        arrays = [file[f"arr_{number}"] for number in range(len(file.files) - 1)]
    return [tuple(arrays[start : start + count]) for start in range(0, len(arrays), count)]


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3]))
