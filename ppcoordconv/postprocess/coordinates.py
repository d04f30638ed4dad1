"""The coordinate tasks: a place on a canvas of 64x64 pixels, or a square that is drawn there."""

from __future__ import annotations

from typing import Any, Dict, List

import numpy as np

from ..ops.canvas import SIZE
from ..viz.draw import canvas, captioned
from . import SERVED, ServedForm
from .classification import best_class


class _Place(ServedForm):
    """A result with the "x" and "y" of a place, in pixels."""

    def draw(self, pixels: np.ndarray, output: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
        place = np.clip(np.round([result["x"], result["y"]]), 0, SIZE - 1).astype(int)
        return captioned(canvas(SIZE, {"blue": place[None]}), f"x {result['x']}, y {result['y']}")


@SERVED.register
class CoordinateClassification(_Place):
    """From logits ``[N, size * size]`` to the likeliest pixel, and its "score", the softmax probability (0..1)."""

    name = "coordinate_classification"
    output_shape = (SIZE * SIZE,)

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        return [
            {"x": int(index % SIZE), "y": int(index // SIZE), "score": round(float(score), 6)}
            for index, score in zip(*best_class(outputs))
        ]


@SERVED.register
class CoordinateRegression(_Place):
    """From x and y as parts of the canvas, ``[N, 2]``, to pixels."""

    name = "coordinate_regression"
    output_shape = (2,)

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        # As Python's numbers: the largest of float32 times the size is none of it.
        return [{"x": round(SIZE * x, 4), "y": round(SIZE * y, 4)} for x, y in outputs.tolist()]


@SERVED.register
class CoordinateCorner(_Place):
    """The x and y, in pixels, of a row and a column, ``[N, 2]``."""

    name = "coordinate_corner"
    output_shape = (2,)

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        return [{"x": round(float(column), 4), "y": round(float(row), 4)} for row, column in outputs]


@SERVED.register
class CoordinateRendering(ServedForm):
    """What each row of logits ``[N, size * size]`` lights: how many "pixels", their mean "x" and "y", and their "box".

    The box is [left, top, right, bottom], in pixels, inclusive; where nothing is lit, it and x and y are None.
    """

    name = "coordinate_rendering"
    output_shape = (SIZE * SIZE,)

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        results: List[Dict[str, Any]] = []
        for lit in is_lit(outputs).reshape(-1, SIZE, SIZE):
            y, x = np.nonzero(lit)
            if not len(x):
                results.append({"x": None, "y": None, "pixels": 0, "box": None})
                continue
            box = [int(edge) for edge in (x.min(), y.min(), x.max(), y.max())]
            centre = {"x": round(float(x.mean()), 4), "y": round(float(y.mean()), 4)}
            results.append({**centre, "pixels": len(x), "box": box})
        return results

    def draw(self, pixels: np.ndarray, output: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
        y, x = np.nonzero(is_lit(output.reshape(SIZE, SIZE)))
        return captioned(canvas(SIZE, {"blue": np.stack([x, y], axis=1)}), f"{result['pixels']} pixels")


def is_lit(logits: np.ndarray) -> np.ndarray:
    """Whether a pixel's probability is above 0.5."""
    return logits > 0
