"""Boxes, sizes and points as rows of numbers, one for a batch or one for each sample, checked."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence

import numpy as np
import paddle
from paddle import Tensor

# The order of a box's numbers, by the number of axes; the ends along x, y, z, which are the tensor's axes backwards.
BOX = {
    1: "left, right",
    2: "left, top, right, bottom",
    3: "left, top, front, right, bottom, back",
}
BOXES = {2 * axes: names for axes, names in BOX.items()}
SIZE = {1: "length", 2: "height, width", 3: "depth, height, width"}
POINT = {1: "x", 2: "x, y", 3: "x, y, z"}


def checked_rows(name: str, value: Any, names: Dict[int, str]) -> np.ndarray:
    """``[k]`` or ``[M, k]`` numbers as float64 ``[M, k]``.

    Parameters:
        name: "boxes", "image_size" or "points", for the checks and the messages.
        names: by the k that are taken, what the numbers are.

    Raises:
        TypeError, ValueError: they are something else.
    """
    try:
        # numpy has no bfloat16, and takes its bits for whole numbers.
        rows = np.asarray(value.astype("float64") if isinstance(value, Tensor) else value)
    except ValueError:  # lists of different lengths
        rows = np.asarray(None)
    if rows.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected numbers, {_widths(names)}, got {value!r}")
    _check_shape(name, list(rows.shape), names)
    rows = np.atleast_2d(rows).astype(np.float64)
    # First all in one go, axis by axis: in most calls there is nothing to find.
    for number, row in enumerate(rows if WRONG[name](rows.T) else ()):
        if wrong := WRONG[name](row):
            raise ValueError(f"{name}: expected {wrong}, got {row.tolist()} in row {number}")
    return rows


def _wrong_box(box: np.ndarray) -> str:
    axes = len(box) // 2
    if not np.isfinite(box).all():
        return "finite numbers"
    return "" if (box[axes:] > box[:axes]).all() else f"{BOX[axes]} with every end beyond its beginning"


def _wrong_size(size: np.ndarray) -> str:
    return "" if ((size > 0) & np.isfinite(size)).all() else "lengths above 0"


def _wrong_point(point: np.ndarray) -> str:
    return "" if np.isfinite(point).all() else "finite numbers"


# Of what is expected of a row, what is not so.
WRONG: Dict[str, Callable[[np.ndarray], str]] = {
    "boxes": _wrong_box,
    "image_size": _wrong_size,
    "points": _wrong_point,
}


def rows_in_graph(name: str, value: Any, names: Dict[int, str]) -> Tensor:
    """The same as a Tensor in float32, of what may be known only when the graph is run."""
    if isinstance(value, (list, tuple)) and any(hasattr(item, "stop_gradient") for item in value):  # as x.shape[2:]
        value = paddle.concat([paddle.to_tensor(item).reshape([1]).astype("float32") for item in value])
    if not hasattr(value, "stop_gradient"):
        return paddle.to_tensor(checked_rows(name, value, names).astype("float32"))
    shape = list(value.shape)
    _check_shape(name, shape, names)
    rows = value.detach().astype("float32")
    return rows.reshape([1, shape[0]]) if len(shape) == 1 else rows


def same_count(name: str, rows: np.ndarray, sizes: np.ndarray) -> List[np.ndarray]:
    """Both repeated to as many as the longer has; none where one has none, as for an empty batch.

    Raises:
        ValueError: neither is one, nor are they as many.
    """
    if len(rows) != len(sizes) and 1 not in (len(rows), len(sizes)):
        raise ValueError(f"image_size: expected one, or one for each of the {len(rows)} {name}, got {len(sizes)}")
    count = 0 if 0 in (len(rows), len(sizes)) else max(len(rows), len(sizes))
    return [np.broadcast_to(array[:count], [count, array.shape[1]]).copy() for array in (rows, sizes)]


def check_map(name: str, words: Dict[int, str], count: int, axes: int, shape: Sequence[int]) -> None:
    """Whether that many rows, for so many axes, fit a feature map ``[N, C, *spatial]``.

    Parameters:
        shape: the map's; a length that is not known yet is negative.

    Raises:
        ValueError: they don't.
    """
    if len(shape) - 2 != axes:
        raise ValueError(
            f"{name}: {words[axes]} are for maps with {axes} spatial axes, but a layer has a map with "
            f"{len(shape) - 2}: {list(shape)}"
        )
    if count not in (1, shape[0]) and min(count, shape[0]) >= 0:
        raise ValueError(f"{name}: expected one for each of the {shape[0]} samples, or one for all, got {count}")


def _check_shape(name: str, shape: List[int], names: Dict[int, str]) -> None:
    if len(shape) not in (1, 2) or shape[-1] not in names:
        raise ValueError(f"{name}: expected {_widths(names)}, got {shape}")


def _widths(names: Dict[int, str]) -> str:
    return " or ".join(f"[{k}] or [N, {k}] ({words})" for k, words in names.items())
