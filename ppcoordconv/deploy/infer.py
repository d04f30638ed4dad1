"""Pictures or points in, results out, with an exported folder alone."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, Callable, ContextManager, Deque, Dict, Generator, Iterator, List, Optional, Union

import numpy as np
from PIL import Image

from ..data.inputs import Input, Prepared, value_or_error
from ..data.preprocessing import served_preprocess
from ..postprocess import Result, ServedForm, decoded, served_form_of
from ..utils.errors import ArgumentError, MissingFileError, UserError
from ..utils.files import atomic_write, move_aside, open_regular, remove_abandoned
from ..utils.progress import bar, log_info
from .predictor import Predictor

BATCH_SIZE = 32
READERS = 2
RESULTS = "results.jsonl"
# Of the output, where pictures are that belong to results.
MASKS = "masks"
# In bytes; file systems take 255, of which some are for what atomic_write adds.
LONGEST_STEM = 200


def infer(
    predictor: Predictor,
    inputs: List[Path],
    output: Optional[Path] = None,
    resume: bool = False,
    recursive: bool = False,
    threshold: Optional[float] = None,
    tile: Optional[int] = None,
    overlap: Optional[int] = None,
) -> Iterator[Dict[str, Any]]:
    """A result for each input, in order: "input" (the path, or path:line) and what the served form decodes, or "error".

    The next inputs are read and preprocessed while the model runs; of a picture no more is kept than the network takes.
    Of one that is cut into tiles, the rows of a tile are held where its format allows (``data.streaming``), else all.

    Parameters:
        inputs: picture files or folders of them; for a model that takes points, text files with an ``x,y`` a line.
        output: a folder that gets a picture of each result, its "picture", and all results in ``results.jsonl``, their
            masks in ``masks``. What is in their way there is moved to ``earlier.1``, ``earlier.2``, ... Of tiles, it is
            a whole number of times smaller than a picture of more than 2**24 pixels.
        resume: goes on after the results that an earlier call with the same options left in ``output``, and gives the
            rest.
        recursive: takes the pictures in folders of the folders, too, but for those in ``output``.
        threshold: the score, 0 to 1, below which objects are left out; None: that of the export.
        tile, overlap: pictures are cut into squares of so many pixels, each an input, of which neighbours share
            ``overlap``, by default a quarter; their results are joined. For boxes, and masks of classes.

    Raises:
        UserError: an input would be replaced, the results in ``output`` are of other inputs, there is no ``output`` to
            resume from, or an option is not for this model.
    """
    if resume and output is None:
        raise ArgumentError("resume", "needs the output folder that the earlier call had")
    description = predictor.description
    form = served_form_of(description)
    preprocess = served_preprocess(description)
    if threshold is not None:
        _check_finds_objects("threshold", form)
        if not 0 <= threshold <= 1:
            raise ArgumentError("threshold", f"takes a score from 0 to 1, got {threshold}")
        form.score_threshold = threshold
    if tile is not None:
        if not form.can_be_tiled():
            joins = "is for what finds boxes, or a class for each pixel"
            raise ArgumentError("tile", f"{joins}, and this model's served form is {form.name}")
        from .tiles import Tiles, drawn_reduced, results_in_tiles  # which need an extra

        tiles = Tiles(tile, overlap)
    elif overlap is not None:
        raise ArgumentError("overlap", "is that of tiles; give their side, tile, too")
    items = [item for path in inputs for item in preprocess.inputs(path, recursive)]
    if recursive and output is not None:  # what an earlier call drew in there is no input
        items = [item for item in items if not _is_in(item.path, output)]
    pictures: List[Optional[Path]] = [None] * len(items)
    done = 0
    if output is not None:
        if type(form).draw is ServedForm.draw:
            raise ArgumentError("output", f"gets a picture of each result, and the served form {form.name} draws none")
        names = _distinct_names([item.stem for item in items])
        pictures = [output / name for name in names]
        # Where the results are of these inputs, their pictures have these names.
        before = [] if resume else _pictures_before(output / RESULTS)
        masks = [f"{MASKS}/{name}" for name in names] if form.saves_pictures() else []
        _refuse_to_replace([item.path for item in items], [output / n for n in (*names, *before, *masks, RESULTS)])
        if not (output / RESULTS).exists() and (own := next((n for n in masks if (output / n).exists()), None)):
            raise ArgumentError("output", f"has {output / own}, which is no result of infer; choose another folder")
        if resume:
            done = _results_before(output / RESULTS, [item.name for item in items])
            for folder in (output, output / MASKS):
                remove_abandoned(folder, names[done : done + 1])
        if not done:
            _move_aside(output, [RESULTS, *names, *before, *masks])
    left = items[done:]
    if tile is None:
        results = _results(predictor, form, preprocess, left)
    else:
        results = results_in_tiles(predictor, form, preprocess, left, tiles)
    with contextlib.ExitStack() as stack:
        stack.callback(results.close)
        progress = stack.enter_context(bar(len(items), done, unit="input"))
        file = stack.enter_context(_results_file(output, bool(done)))
        for item, picture, (row, result) in zip(left, pictures[done:], results):
            if picture is not None and "error" not in result:
                if tile is None:
                    draw = partial(_drawn, form, item, row, result)
                else:
                    draw = partial(drawn_reduced, form, item, result)
                result = _save(draw, result, picture)
            if "error" not in result:
                result = form.as_plain(result, partial(_save_mask, picture) if picture else None)
            result = {"input": item.name, **result}
            if file is not None:
                _write_line(file, as_json(result))
            progress.update()
            yield result


def as_json(result: Dict[str, Any], encoding: str = "utf-8") -> str:
    """A result in a line, with what can't be encoded, as a file name of another encoding, in JSON's escapes."""
    text = json.dumps(result, ensure_ascii=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(result)
    return text


def _check_finds_objects(name: str, form: ServedForm) -> None:
    if form.score_threshold is None:
        raise ArgumentError(name, f"is for models that find objects, and this one's served form is {form.name}")


def _results(
    predictor: Predictor, form: ServedForm, preprocess: Any, items: List[Input]
) -> Generator[Result, None, None]:
    """The outputs and the result of each input, in order."""
    with contextlib.closing(_ahead(items)) as prepared:
        while ready := list(itertools.islice(prepared, BATCH_SIZE)):
            xs = [one[0] for one in ready if not isinstance(one, UserError)]
            found: Iterator[Result] = iter(())
            if xs:
                rows = predictor(np.stack(xs))
                found = zip(rows, decoded(form, rows, predictor.description["labels"]))
            for one in ready:
                if isinstance(one, UserError):
                    yield np.empty(0), {"error": str(one)}
                    continue
                row, result = next(found)
                yield row, result if "error" in result else form.to_image(result, preprocess, one[1])


def _ahead(items: List[Input]) -> Generator[Union[Prepared, UserError], None, None]:
    """The items, prepared, in order, by threads that are a batch ahead."""
    with ThreadPoolExecutor(READERS) as pool:
        waiting: Deque[Future[Union[Prepared, UserError]]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(value_or_error, item.prepare))
                if len(waiting) > BATCH_SIZE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _drawn(form: ServedForm, item: Input, row: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
    """It on the input, which is read again: whole pictures that wait for the model would take much memory."""
    return form.draw(item.read(), row, result)


def _save(draw: Callable[[], np.ndarray], result: Dict[str, Any], picture: Path) -> Dict[str, Any]:
    try:
        pixels = draw()
    except UserError as error:
        return {"error": str(error)}
    with atomic_write(picture) as path:
        Image.fromarray(pixels).save(path, format="PNG")
    return {**result, "picture": picture.name}


def _save_mask(picture: Path, png: bytes) -> str:
    """Keeps it in a folder beside the picture, under its name; gives the path from that one's folder."""
    with atomic_write(picture.parent / MASKS / picture.name) as path:
        path.write_bytes(png)
    return f"{MASKS}/{picture.name}"


def _results_before(path: Path, names: List[str]) -> int:
    """How many results are in a file, from which a last line that was not written whole is taken off."""
    try:
        with open_regular(path) as file:
            lines = file.read().splitlines(keepends=True)
    except MissingFileError:
        return 0
    whole = lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]
    try:
        before = [json.loads(line)["input"] for line in whole]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} does not hold results of infer: {error}") from error
    if before != names[: len(before)]:
        raise UserError(f"{path} holds results of other inputs; choose another folder, or don't resume")
    if len(whole) < len(lines):
        try:
            os.truncate(path, sum(map(len, whole)))
        except OSError as error:
            raise UserError(f"{path} can't be written: {error.strerror}") from error
    return len(before)


def _is_in(path: Path, folder: Path) -> bool:
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))  # noqa: PTH118


def _pictures_before(path: Path) -> List[str]:
    """Those that the results of an earlier call name, as far as they can be read, and their masks."""
    try:
        with open_regular(path) as file:
            results = [json.loads(line) for line in file]
        names = [os.path.basename(result["picture"]) for result in results if "picture" in result]  # noqa: PTH119
        return [*names, *(f"{MASKS}/{name}" for name in names)]
    except (UserError, ValueError, TypeError, RecursionError):
        return []


def _move_aside(output: Path, names: List[str]) -> None:
    try:
        there = {entry.name for entry in os.scandir(output)}
        there |= {f"{MASKS}/{entry.name}" for entry in os.scandir(output / MASKS)} if MASKS in there else set()
        there &= {*names}
    except (FileNotFoundError, NotADirectoryError):  # _results_file makes it, or says why not
        return
    if there:
        log_info(f"what an earlier call wrote to {output} is now in {move_aside(output, there)}")


def _results_file(output: Optional[Path], resumed: bool) -> ContextManager[Optional[IO[str]]]:
    if output is None:
        return contextlib.nullcontext()
    try:
        output.mkdir(parents=True, exist_ok=True)
        return (output / RESULTS).open("a" if resumed else "w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output} can't be written: {error.strerror}") from error


def _write_line(file: IO[str], line: str) -> None:
    try:
        print(line, file=file, flush=True)
    except OSError as error:
        with contextlib.suppress(OSError):  # it tries to write the line once more
            file.close()
        raise UserError(f"{file.name} can't be written: {error.strerror}") from error


def _refuse_to_replace(inputs: List[Path], outputs: List[Path]) -> None:
    paths = {os.path.realpath(path) for path in inputs if "\0" not in str(path)}
    replaced = [path for path in outputs if os.path.realpath(path) in paths]
    if replaced:
        raise ArgumentError("output", f"would replace the input {replaced[0]}; choose another folder")


def _distinct_names(stems: List[str]) -> List[str]:
    """A .png name for each stem; of equal ones, the later get a number."""
    names: Dict[str, None] = {}
    numbers: Counter[str] = Counter()
    for stem in stems:
        stem = stem.replace("\0", "")
        while len(os.fsencode(stem)) > LONGEST_STEM:
            stem = stem[:-1]
        name = f"{stem}.png"
        while name in names:
            numbers[stem] += 1
            name = f"{stem}_{numbers[stem] + 1}.png"
        names[name] = None
    return list(names)
