"""Pictures or points in, results out, with an exported folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Union

import numpy as np
from PIL import Image

from ..data.inputs import Input
from ..data.not_so_clevr import SIZE
from ..data.preprocessing import preprocess_of
from ..decoding import DECODERS, is_lit
from ..errors import UserError
from ..files import replacing
from ..pictures import canvas, captioned
from ..progress import bar
from .predictor import Predictor

BATCH_SIZE = 32


def infer(predictor: Predictor, inputs: List[Path], output: Optional[Path] = None) -> Iterator[Dict[str, Any]]:
    """A result for each input, in order: "input" (the path, or path:line) and what the decoder gives, or "error".

    Parameters:
        inputs: picture files or folders of them; for a model that takes points, text files with an ``x,y`` a line.
        output: a folder that gets a picture of each result.

    Raises:
        UserError: a picture in ``output`` would replace an input.
    """
    description = predictor.description
    preprocess = preprocess_of(description["preprocess"])
    decode, draw = DECODERS[description["task"]], PICTURES[description["task"]]
    items = [item for path in inputs for item in preprocess.inputs(path)]
    names = _distinct_names([item.stem for item in items])
    if output is not None:
        _refuse_to_replace([item.path for item in items], [output / name for name in names])
    with bar(len(items), unit="input") as progress:
        for start in range(0, len(items), BATCH_SIZE):
            chunk = slice(start, start + BATCH_SIZE)
            values = [_read(item) for item in items[chunk]]
            readable = [preprocess(value) for value in values if isinstance(value, np.ndarray)]
            batch = np.stack(readable) if readable else np.zeros([0, *description["input_shape"]], np.float32)
            rows = predictor(batch)
            results = iter(zip(rows, decode(rows, description["labels"])))
            for item, name, value in zip(items[chunk], names[chunk], values):
                progress.update()
                if isinstance(value, UserError):
                    yield {"input": item.name, "error": str(value)}
                    continue
                row, result = next(results)
                if output is not None:
                    with replacing(output / name) as file:
                        Image.fromarray(draw(value, row, result)).save(file, format="PNG")
                yield {"input": item.name, **result}


def _labelled(pixels: np.ndarray, row: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
    return captioned(pixels, f"{result['label']}  {result['score']:.1%}")


def _point(value: np.ndarray, row: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
    place = np.clip(np.round([result["x"], result["y"]]), 0, SIZE - 1).astype(int)
    return captioned(canvas(SIZE, {"blue": place[None]}), f"x {result['x']}, y {result['y']}")


def _rendered(value: np.ndarray, row: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
    y, x = np.nonzero(is_lit(row.reshape(SIZE, SIZE)))
    return captioned(canvas(SIZE, {"blue": np.stack([x, y], axis=1)}), f"{result['pixels']} pixels")


# By the name of the task: (input, row of the output, result) -> uint8 [H, W, 3].
PICTURES: Dict[str, Callable[[np.ndarray, np.ndarray, Dict[str, Any]], np.ndarray]] = {
    "classification": _labelled,
    "coordinate_classification": _point,
    "coordinate_regression": _point,
    "coordinate_corner": _point,
    "coordinate_rendering": _rendered,
}


def _read(item: Input) -> Union[np.ndarray, UserError]:
    try:
        return item.read()
    except UserError as error:
        return error


def _refuse_to_replace(inputs: List[Path], outputs: List[Path]) -> None:
    replaced = {path.resolve() for path in inputs} & {path.resolve() for path in outputs}
    if replaced:
        raise UserError(f"--output would replace the input {min(replaced)}; choose another folder")


def _distinct_names(stems: List[str]) -> List[str]:
    """A .png name for each stem; of equal ones, the later get a number."""
    names: Dict[str, None] = {}
    for stem in stems:
        name, number = f"{stem}.png", 1
        while name in names:
            number += 1
            name = f"{stem}_{number}.png"
        names[name] = None
    return list(names)
