"""Not-so-Clevr (Liu et al. 2018): a 9x9 square at each of the 3,136 places where a canvas of 64x64 has room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict

import numpy as np

from ..ops.canvas import SIZE, SQUARE
from ..utils.arguments import check_choice, check_int
from . import DATASETS

HALF = SQUARE // 2


@dataclass(frozen=True)
class Positions:
    """The squares' centres to train and to test on: int64 ``[N, 2]``, x (the column) and y (the row), 4..59."""

    train: np.ndarray
    test: np.ndarray


def all_centres() -> np.ndarray:
    """The centres, row by row: int64 ``[3136, 2]``."""
    places = np.arange(HALF, SIZE - HALF)
    y, x = np.meshgrid(places, places, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], axis=1)


def one_hot(centre: np.ndarray) -> np.ndarray:
    """The canvas with the pixel at (x, y) lit: uint8 ``[64, 64]``, 0 and 255."""
    canvas = np.zeros([SIZE, SIZE], np.uint8)
    canvas[centre[1], centre[0]] = 255
    return canvas


def square(centre: np.ndarray) -> np.ndarray:
    """The canvas with the square around (x, y) lit: uint8 ``[64, 64]``, 0 and 255."""
    x, y = centre - HALF
    canvas = np.zeros([SIZE, SIZE], np.uint8)
    canvas[y : y + SQUARE, x : x + SQUARE] = 255
    return canvas


@DATASETS.register
def not_so_clevr(split: str = "uniform", quadrant_from: int = 32) -> Positions:
    """The squares' positions, four fifths drawn at random to train on, or all but one quadrant of the canvas.

    Parameters:
        split: "uniform", 2,509 and 627, drawn once and for all; or "quadrant".
        quadrant_from: to test on are those with x and y both at least this: 32, 2,352 and 784, is the tutorial's
            definition; 33, 2,407 and 729, that of the paper's code.
    """
    check_choice("split", split, SPLITS)
    check_int("quadrant_from", quadrant_from, 5, 59)
    centres = all_centres()
    is_test = SPLITS[split](centres, quadrant_from)
    return Positions(centres[~is_test], centres[is_test])


def _a_fifth(centres: np.ndarray, _: int) -> np.ndarray:
    return np.isin(np.arange(len(centres)), np.random.default_rng(0).permutation(len(centres))[: len(centres) // 5])


def _a_quadrant(centres: np.ndarray, quadrant_from: int) -> np.ndarray:
    return (centres[:, 0] >= quadrant_from) & (centres[:, 1] >= quadrant_from)


SPLITS: Dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"uniform": _a_fifth, "quadrant": _a_quadrant}
