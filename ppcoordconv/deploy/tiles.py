"""Pictures that are much larger than a network's input, cut into tiles: the results of all tiles, joined."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, Generator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..data.inputs import Input
from ..data.streaming import open_of_any_size, read_reduced
from ..postprocess import Result, ServedForm, decoded
from ..utils.arguments import check_int
from ..utils.errors import UserError
from ..utils.progress import bar
from .predictor import Predictor

# In parts of an overlap: this near a tile's end, the neighbour alone is asked.
MARGIN = 0.375
# So many tiles go through the network at a time.
BATCH_SIZE = 8


class Part(NamedTuple):
    """A tile, and of that its own: where the middle of what it finds must lie, else a neighbour sees it better.

    Both are left, top, right and bottom, in pixels of the picture.
    """

    box: Tuple[int, int, int, int]
    own: Tuple[float, float, float, float]


@dataclass(frozen=True)
class Tiles:
    """Squares of a picture.

    Parameters:
        tile: their side, in pixels of the picture.
        overlap: how many pixels two neighbours share at least; None: a quarter of the side.
    """

    tile: int
    overlap: Optional[int] = None

    def __post_init__(self) -> None:
        check_int("tile", self.tile, 1, 2**20)
        if self.overlap is not None:
            check_int("overlap", self.overlap, 0, self.tile - 1)

    def parts(self, size: Sequence[int]) -> List[Part]:
        """Of a picture of that height and width.

        The last of a row or a column ends where the picture does; a picture that is smaller is one tile.
        """
        rows, columns = (self._along(length) for length in size)
        return [
            Part((left, top, right, bottom), (own_left, own_top, own_right, own_bottom))
            for top, bottom, own_top, own_bottom in rows
            for left, right, own_left, own_right in columns
        ]

    def _along(self, length: int) -> List[Tuple[int, int, float, float]]:
        """Of each tile along an axis its ends, and those of its own."""
        overlap = self.tile // 4 if self.overlap is None else self.overlap
        starts = [min(n, max(0, length - self.tile)) for n in range(0, max(1, length - overlap), self.tile - overlap)]
        ends = [min(start + self.tile, length) for start in starts]
        margins = [MARGIN * (end - start) for end, start in zip(ends, starts[1:])]
        lows = [-math.inf, *(start + margin for start, margin in zip(starts[1:], margins))]
        highs = [*(end - margin for end, margin in zip(ends, margins)), math.inf]
        return list(zip(starts, ends, lows, highs))


def results_in_tiles(
    predictor: Predictor, form: ServedForm, preprocess: Any, items: List[Input], tiles: Tiles
) -> Generator[Result, None, None]:
    """Nothing, as the outputs of all tiles are not kept, and the result of each picture, in order.

    Of a picture that can be streamed, the rows of the tiles that are at work are held, of others all. A model that
    takes windows gets each tile's.
    """
    for item in items:
        try:
            if item.error:
                raise item.error
            with open_of_any_size(item.path) as picture:
                result = _result(predictor, form, preprocess, picture, tiles)
        except UserError as error:
            result = {"error": str(error)}
        yield np.empty(0), result


def drawn_reduced(form: ServedForm, item: Input, result: Dict[str, Any]) -> np.ndarray:
    """Its picture, as ``read_reduced`` gives it, with the result of its tiles; raises UserError as that does."""
    pixels, factor = read_reduced(item.path)
    return form.draw(pixels, np.empty(0), form.reduced(result, factor))


def _result(predictor: Predictor, form: ServedForm, preprocess: Any, picture: Any, tiles: Tiles) -> Dict[str, Any]:
    """``picture`` has a size and a ``crop``, as Pillow's."""
    size, labels = picture.size[::-1], predictor.description["labels"]
    parts = tiles.parts(size)
    results: List[Dict[str, Any]] = []
    with bar(len(parts), unit="tile") as progress:
        for start in range(0, len(parts), BATCH_SIZE):
            chunk = parts[start : start + BATCH_SIZE]
            window = {}
            if predictor.description["window"]:
                places = np.stack([preprocess.window(np.array(part.box), size, preprocess) for part in chunk])
                window = {"window": (places[:, :4], places[:, 4:])}
            rows = predictor(np.stack([preprocess.of_image(picture.crop(part.box)) for part in chunk]), **window)
            for found, part in zip(decoded(form, rows, labels), chunk):
                if "error" in found:
                    return found
                left, top, right, bottom = part.box
                results.append(form.to_image(found, preprocess, (bottom - top, right - left)))
            progress.update(len(chunk))
    return form.joined(results, parts, size)
