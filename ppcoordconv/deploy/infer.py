"""Pictures in, results out, with an exported folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Union

import numpy as np
from PIL import Image

from ..data.images import Preprocess, list_images, read_image
from ..decoding import DECODERS
from ..errors import UserError
from ..files import replacing
from ..pictures import captioned
from ..progress import bar
from .predictor import Predictor

BATCH_SIZE = 32


def infer(predictor: Predictor, inputs: List[Path], output: Optional[Path] = None) -> Iterator[Dict[str, Any]]:
    """A result for each picture, in order: "input" (the path) and "label", "class_id", "score", or "error".

    Parameters:
        inputs: picture files, or folders of them.
        output: a folder that gets each picture with its result written below it.

    Raises:
        UserError: a picture in ``output`` would replace an input.
    """
    description = predictor.description
    preprocess = Preprocess.from_dict(description["preprocess"])
    decode = DECODERS[description["task"]]
    paths = [path for item in inputs for path in _expanded(item)]
    names = _distinct_names(paths)
    if output is not None:
        _refuse_to_replace(paths, [output / name for name in names])
    with bar(len(paths), unit="image") as progress:
        for start in range(0, len(paths), BATCH_SIZE):
            chunk = slice(start, start + BATCH_SIZE)
            pictures = [_read(path) for path in paths[chunk]]
            readable = [preprocess(pixels) for pixels in pictures if isinstance(pixels, np.ndarray)]
            batch = np.stack(readable) if readable else np.zeros([0, *description["input_shape"]], np.float32)
            results = iter(decode(predictor(batch), description["labels"]))
            for path, name, pixels in zip(paths[chunk], names[chunk], pictures):
                progress.update()
                if isinstance(pixels, UserError):
                    yield {"input": str(path), "error": str(pixels)}
                    continue
                result = next(results)
                if output is not None:
                    _save_captioned(pixels, f"{result['label']}  {result['score']:.1%}", output / name)
                yield {"input": str(path), **result}


def _save_captioned(pixels: np.ndarray, text: str, path: Path) -> None:
    with replacing(path) as file:
        Image.fromarray(captioned(pixels, text)).save(file, format="PNG")


def _expanded(path: Path) -> List[Path]:
    try:
        return list_images(path)
    except UserError:
        return [path]  # an empty folder is an input that can't be read


def _read(path: Path) -> Union[np.ndarray, UserError]:
    try:
        return read_image(path)
    except UserError as error:
        return error


def _refuse_to_replace(inputs: List[Path], outputs: List[Path]) -> None:
    replaced = {path.resolve() for path in inputs} & {path.resolve() for path in outputs}
    if replaced:
        raise UserError(f"--output would replace the input {min(replaced)}; choose another folder")


def _distinct_names(paths: List[Path]) -> List[str]:
    """A .png name for each path; of equal ones, the later get a number."""
    names: Dict[str, None] = {}
    for path in paths:
        name, number = f"{path.stem}.png", 1
        while name in names:
            number += 1
            name = f"{path.stem}_{number}.png"
        names[name] = None
    return list(names)
