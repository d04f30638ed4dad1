"""COCO's outlines of objects: polygons and run lengths, checked, and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from ..ops.boxes import clipped
from ..utils.arguments import is_pixel
from ..utils.errors import UserError, shortened_repr

# How far outside of its picture, in parts of its sides, a polygon is followed.
_BEYOND = 1.0


@dataclass(frozen=True)
class Outline:
    """Where an object is.

    Attributes:
        size: height and width of its picture.
        polygons: each ``[n, 2]``, x and y in pixels; or None: it has
        runs: how many pixels are outside, inside, outside, ..., column by column.
    """

    size: Tuple[int, int]
    polygons: Optional[Sequence[np.ndarray]]
    runs: Optional[np.ndarray]

    def mask(self) -> np.ndarray:
        """bool ``[H, W]``."""
        height, width = self.size
        if self.runs is not None:
            inside = np.arange(len(self.runs)) % 2 == 1
            return np.repeat(inside, self.runs).reshape(width, height).T
        from pycocotools import mask as coco

        assert self.polygons is not None
        flat = [polygon.ravel().tolist() for polygon in self.polygons]
        return coco.decode(coco.merge(coco.frPyObjects(flat, height, width))).astype(bool)

    def box(self) -> np.ndarray:
        """float32 ``[4]``: left, top, right, bottom of what is inside, cut at the edges of the picture."""
        if self.polygons is not None:
            points = np.concatenate(self.polygons)
            corners = np.concatenate([points.min(axis=0), points.max(axis=0)])
        else:
            corners = self._box_of_runs()
        return clipped(corners.astype(np.float32)[None], *self.size)[0]

    def _box_of_runs(self) -> np.ndarray:
        """Without the mask, which may be of a picture that is not so large as its annotations say."""
        assert self.runs is not None
        height, ends = self.size[0], np.cumsum(self.runs)
        starts, ends = (ends - self.runs)[1::2], ends[1::2]
        starts, ends = starts[ends > starts], ends[ends > starts]
        if not len(starts):
            return np.zeros(4)
        columns, last_columns = starts // height, (ends - 1) // height
        is_one = columns == last_columns
        tops, bottoms = np.where(is_one, starts % height, 0), np.where(is_one, (ends - 1) % height + 1, height)
        return np.array([columns.min(), tops.min(), last_columns.max() + 1, bottoms.max()])


def read_outline(where: str, segmentation: Any, size: Tuple[int, int]) -> Optional[Outline]:
    """An annotation's "segmentation"; None: there is none, or a list without polygons.

    Parameters:
        where: what names the annotation, for messages. size: height and width of its picture.

    Raises:
        UserError: it is neither polygons of at least three points nor run lengths of the picture's size.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        return Outline(size, None, _runs(where, segmentation, size))
    if not isinstance(segmentation, list):
        raise UserError(f"{where}: segmentation takes polygons or run lengths, got {shortened_repr(segmentation)}")
    # VIA has the one polygon that is not in a list of its own.
    parts = segmentation if isinstance(segmentation[0], list) else [segmentation]
    return Outline(size, [_polygon(where, part, size) for part in parts], None)


def _polygon(where: str, part: Any, size: Tuple[int, int]) -> np.ndarray:
    if not isinstance(part, list) or not all(map(is_pixel, part)):
        raise UserError(f"{where}: a polygon takes numbers, x and y in turn, got {shortened_repr(part)}")
    if len(part) < 6 or len(part) % 2:
        count = f"{len(part) // 2} points" if len(part) % 2 == 0 else f"{len(part)} numbers, of which one has no other"
        raise UserError(f"{where}: a polygon takes at least 3 points, x and y in turn, got {count}")
    height, width = size
    sides = np.array([width, height])
    return np.clip(np.reshape(part, [-1, 2]), -_BEYOND * sides, (1 + _BEYOND) * sides)


def _runs(where: str, segmentation: Any, size: Tuple[int, int]) -> np.ndarray:
    height, width = size
    given, counts = segmentation.get("size"), segmentation.get("counts")
    if given is not None and given != [height, width]:
        there = shortened_repr(given)
        raise UserError(f"{where}: the size of its run lengths is {there}, that of its picture {[height, width]}")
    if isinstance(counts, str):
        counts = _from_letters(where, counts)
    if not isinstance(counts, list) or not all(type(n) is int and 0 <= n <= height * width for n in counts):
        raise UserError(f"{where}: counts takes run lengths, or their letters, got {shortened_repr(counts)}")
    if sum(counts) != height * width:
        raise UserError(
            f"{where}: its run lengths are of {sum(counts)} pixels, its picture has {height}x{width}={height * width}"
        )
    return np.array(counts, np.int64)


def _from_letters(where: str, text: str) -> List[int]:
    """COCO's compressed run lengths (``rleFrString`` of its API): of each number groups of five bits, the low first;
    from the fourth on, a number is the difference from the last but one.
    """
    counts: List[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise UserError(f"{where}: counts has {letter!r}, which is none of COCO's letters")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise UserError(f"{where}: counts ends within a number")
    return counts
