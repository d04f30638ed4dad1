"""Pictures or points in, results out, with an exported folder alone."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Callable, ContextManager, Deque, Dict, Iterable, Iterator, List, Optional, Tuple, Union

import numpy as np
from PIL import Image

from ..data.inputs import Input
from ..data.preprocessing import preprocess_of
from ..postprocess import SERVED
from ..utils.errors import ArgumentError, UserError
from ..utils.files import atomic_write, remove_abandoned
from ..utils.progress import bar
from .predictor import Predictor

BATCH_SIZE = 32
READERS = 2
RESULTS = "results.jsonl"


def infer(
    predictor: Predictor, inputs: List[Path], output: Optional[Path] = None, resume: bool = False
) -> Iterator[Dict[str, Any]]:
    """A result for each input, in order: "input" (the path, or path:line) and what the served form decodes, or "error".

    The next batches are read and preprocessed while the model runs.

    Parameters:
        inputs: picture files or folders of them; for a model that takes points, text files with an ``x,y`` a line.
        output: a folder that gets a picture of each result, and all of them in ``results.jsonl``.
        resume: goes on after the results that an earlier call left in ``output``, and gives the rest.

    Raises:
        UserError: a picture in ``output`` would replace an input, the results there are of other inputs, or there is
            no ``output`` to resume from.
    """
    if resume and output is None:
        raise ArgumentError("resume", "needs the output folder that the earlier call had")
    description = predictor.description
    preprocess = preprocess_of(description["preprocess"])
    form = SERVED.build(description["served_form"])
    items = [item for path in inputs for item in preprocess.inputs(path)]
    pictures: List[Optional[Path]] = [None] * len(items)
    if output is not None:
        pictures = [output / name for name in _distinct_names([item.stem for item in items])]
        _refuse_to_replace([item.path for item in items], [path for path in pictures if path])
    done = 0
    if resume and output:
        done = _results_before(output / RESULTS, [item.name for item in items])
        remove_abandoned(output, [path.name for path in pictures[done : done + 1] if path])

    def read(start: int) -> Tuple[slice, List[Union[np.ndarray, UserError]], np.ndarray]:
        chunk = slice(start, start + BATCH_SIZE)
        values = [_read(item) for item in items[chunk]]
        readable = [preprocess(value) for value in values if isinstance(value, np.ndarray)]
        return chunk, values, np.stack(readable) if readable else np.zeros([0, *preprocess.input_shape], np.float32)

    with bar(len(items), done, unit="input") as progress, _results_file(output, bool(done)) as file:
        for chunk, values, batch in _ahead(read, range(done, len(items), BATCH_SIZE)):
            rows = predictor(batch)
            results = iter(zip(rows, form.decode(rows, description["labels"])))
            for item, picture, value in zip(items[chunk], pictures[chunk], values):
                if isinstance(value, UserError):
                    result: Dict[str, Any] = {"error": str(value)}
                else:
                    row, result = next(results)
                    result = form.to_image(result, preprocess, value.shape)
                    if picture is not None:
                        with atomic_write(picture) as path:
                            Image.fromarray(form.draw(value, row, result)).save(path, format="PNG")
                result = {"input": item.name, **result}
                if file is not None:
                    print(json.dumps(result, ensure_ascii=False), file=file, flush=True)
                progress.update()
                yield result


def _ahead(function: Callable[[int], Any], arguments: Iterable[int]) -> Iterator[Any]:
    """What the function gives for each argument, in order, computed by threads that are a little ahead."""
    with ThreadPoolExecutor(READERS) as pool:
        waiting: Deque[Future] = deque()
        for argument in arguments:
            waiting.append(pool.submit(function, argument))
            if len(waiting) > READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _results_before(path: Path, names: List[str]) -> int:
    """How many results are in a file, from which a last line that was not written whole is taken off."""
    if not path.exists():
        return 0
    lines = path.read_bytes().splitlines(keepends=True)
    whole = lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]
    try:
        before = [json.loads(line)["input"] for line in whole]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not hold results of infer: {error}") from error
    if before != names[: len(before)]:
        raise UserError(f"{path} holds results of other inputs; choose another folder, or don't resume")
    os.truncate(path, sum(map(len, whole)))
    return len(before)


def _results_file(output: Optional[Path], resumed: bool) -> ContextManager[Optional[IO[str]]]:
    if output is None:
        return contextlib.nullcontext()
    try:
        output.mkdir(parents=True, exist_ok=True)
        return (output / RESULTS).open("a" if resumed else "w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output} can't be written: {error.strerror}") from error


def _read(item: Input) -> Union[np.ndarray, UserError]:
    try:
        return item.read()
    except UserError as error:
        return error


def _refuse_to_replace(inputs: List[Path], outputs: List[Path]) -> None:
    replaced = {path.resolve() for path in inputs} & {path.resolve() for path in outputs}
    if replaced:
        raise ArgumentError("output", f"would replace the input {min(replaced)}; choose another folder")


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
