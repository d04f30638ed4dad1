"""Windows: where a model is given crops, its layers take the coordinates that these have in the whole image."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import paddle
from paddle import Tensor

from .compat import dtype_name, is_eager
from .contexts import Context
from .coord_grids import Axis

WINDOWS: Context[Window] = Context("window", "boxes that are an input")
# The order of a box's numbers, by the number of axes; the ends along x, y, z, which are the tensor's axes backwards.
BOX = {
    1: "left, right",
    2: "left, top, right, bottom",
    3: "left, top, front, right, bottom, back",
}
BOXES = {2 * axes: names for axes, names in BOX.items()}
SIZE = {1: "length", 2: "height, width", 3: "depth, height, width"}


class Window:
    """What ``window`` was given, checked.

    Attributes:
        boxes, sizes: ``[1 or N, 2 * axes]`` and ``[1 or N, axes]``, as ``window`` takes them.
        grids: what the layers have computed in it, by the map's size and the convention.
    """

    def __init__(self, boxes: Any, image_size: Any) -> None:
        if is_eager():
            self.boxes, self.sizes = map(paddle.to_tensor, checked_window(boxes, image_size))
        else:
            self.boxes = _rows_in_graph("boxes", boxes, BOXES)
            axes = self.boxes.shape[1] // 2
            self.sizes = _rows_in_graph("image_size", image_size, {axes: SIZE[axes]})
        self.axes = self.sizes.shape[1]
        self.grids: Dict[Tuple[Any, ...], Any] = {}

    @property
    def is_shared(self) -> bool:
        """All samples of a batch lie at the same place."""
        return self.boxes.shape[0] == 1 and self.sizes.shape[0] == 1

    def check_map(self, shape: Sequence[int]) -> None:
        """Whether the boxes fit a feature map ``[N, C, *spatial]``; a length that is not known yet is negative."""
        count = max(self.boxes.shape[0], self.sizes.shape[0])
        if len(shape) - 2 != self.axes:
            raise ValueError(
                f"boxes: {BOX[self.axes]} are for maps with {self.axes} spatial axes, but a layer has a map with "
                f"{len(shape) - 2}: {list(shape)}"
            )
        if count > 1 and shape[0] >= 0 and count != shape[0]:
            raise ValueError(f"boxes: expected one for each of the {shape[0]} samples, or one for all, got {count}")

    def axes_of_map(self, spatial_shape: Sequence[Any]) -> List[Axis]:
        """Where the samples of a map lie in the map that the whole would have."""
        return [self._axis(axis, length) for axis, length in enumerate(spatial_shape)]

    def _axis(self, axis: int, length: Any) -> Axis:
        # A box has the tensor's axes backwards: x, y, z.
        backwards = self.axes - 1 - axis
        places = (self.boxes, backwards), (self.boxes, self.axes + backwards), (self.sizes, axis)
        low, high, size = (rows[:, place : place + 1] for rows, place in places)
        n = length if isinstance(length, int) else length.astype(low.dtype)
        # Products first: where the window is the whole, the quotients are exact.
        first, whole = low * n / (high - low), size * n / (high - low)
        index = first + paddle.arange(length, dtype=dtype_name(low.dtype))
        return Axis(index[0], whole[0]) if self.is_shared else Axis(index, whole)


@paddle.jit.not_to_static
@contextlib.contextmanager
def window(boxes: Any, image_size: Any) -> Iterator[None]:
    """In here, a model that is given crops of an image takes the coordinates that the crops have in the whole.

    This holds for every ``CoordConv`` and ``AddCoords`` at whatever stride: column j of a map of w columns, made of a
    crop of ``right - left`` pixels, has the coordinate of index ``left / s + j`` on an axis of length ``W / s``, with
    ``s = (right - left) / w`` and W the width of the whole; so do rows and planes. The crop may have been resized, and
    may reach beyond the image. Windows can be nested: the innermost holds. Each thread, and each asyncio task, has its
    own.

    Parameters:
        boxes: the place of the crop in the whole, in its pixels: ``[4]``, or ``[N, 4]`` with one for each sample:
            left, top, right, bottom; floats. With one spatial axis ``[2]`` or ``[N, 2]``: left, right; with three
            ``[6]`` or ``[N, 6]``: left, top, front, right, bottom, back. Lists, arrays or Tensors; no gradient flows
            into them.
        image_size: of the whole, in the order of the tensor's axes: ``(height, width)``, or ``[N, 2]``; ``(length,)``;
            ``(depth, height, width)``.

    Raises:
        TypeError: these are not numbers.
        ValueError: they do not fit each other or the model's maps; a box does not end beyond where it begins; no layer
            asked for its coordinates; or the model is traced by ``to_static`` in a window that was opened outside of
            what is traced, which the graph would keep for ever.

    Where activations are recomputed in the backward pass, that has to be inside too.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer, image = pcc.CoordConv(3, 8, 1), paddle.rand([1, 3, 40, 60])
        >>> with pcc.window([20, 10, 50, 30], (40, 60)):
        ...     y = layer(image[:, :, 10:30, 20:50])
        >>> paddle.allclose(y, layer(image)[:, :, 10:30, 20:50], atol=1e-5).item()
        True
    """
    unused = (
        "no CoordConv or AddCoords asked for its coordinates in it, so that it changed nothing; "
        "a model that was traced before, by to_static, asks no more: open the window inside of what is traced"
    )
    with WINDOWS.opened(Window(boxes, image_size), unused):
        yield


def current_window() -> Optional[Window]:
    """The innermost that is open in this thread; it counts as used."""
    return WINDOWS.current()


def checked_window(boxes: Any, image_size: Any) -> Tuple[np.ndarray, np.ndarray]:
    """``[M, 2 * axes]`` and ``[M, axes]``, float64, of what ``window`` takes; raises what it raises."""
    boxes = _rows("boxes", boxes, BOXES)
    axes = boxes.shape[1] // 2
    sizes = _rows("image_size", image_size, {axes: SIZE[axes]})
    if len(boxes) != len(sizes) and 1 not in (len(boxes), len(sizes)):
        raise ValueError(f"image_size: expected one, or one for each of the {len(boxes)} boxes, got {len(sizes)}")
    count = max(len(boxes), len(sizes))
    return boxes.repeat(count // len(boxes), axis=0), sizes.repeat(count // len(sizes), axis=0)


def _rows(name: str, value: Any, names: Dict[int, str]) -> np.ndarray:
    """``[k]`` or ``[M, k]`` numbers as float64 ``[M, k]``."""
    try:
        # numpy has no bfloat16, and takes its bits for whole numbers.
        rows = np.asarray(value.astype("float64") if isinstance(value, Tensor) else value)
    except ValueError:  # lists of different lengths
        rows = np.asarray(None)
    if rows.dtype.kind not in "iuf":
        raise TypeError(f"{name}: expected numbers, {_widths(names)}, got {value!r}")
    _check_shape(name, list(rows.shape), names)
    rows = np.atleast_2d(rows).astype(np.float64)
    for number, row in enumerate(rows):
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


# Of what is expected of a row, what is not so.
WRONG = {"boxes": _wrong_box, "image_size": _wrong_size}


def _rows_in_graph(name: str, value: Any, names: Dict[int, str]) -> Tensor:
    """The same as a Tensor in float32, of what may be known only when the graph is run."""
    if isinstance(value, (list, tuple)) and any(hasattr(item, "stop_gradient") for item in value):  # as x.shape[2:]
        value = paddle.concat([paddle.to_tensor(item).reshape([1]).astype("float32") for item in value])
    if not hasattr(value, "stop_gradient"):
        return paddle.to_tensor(_rows(name, value, names).astype("float32"))
    shape = list(value.shape)
    _check_shape(name, shape, names)
    rows = value.astype("float32")
    return rows.reshape([1, shape[0]]) if len(shape) == 1 else rows


def _check_shape(name: str, shape: List[int], names: Dict[int, str]) -> None:
    if len(shape) not in (1, 2) or shape[-1] not in names or shape[0] == 0:
        raise ValueError(f"{name}: expected {_widths(names)}, got {shape}")


def _widths(names: Dict[int, str]) -> str:
    return " or ".join(f"[{k}] or [N, {k}] ({words})" for k, words in names.items())
