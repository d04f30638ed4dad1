"""Windows: where a model is given crops, its layers take the coordinates that these have in the whole image."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import paddle

from .compat import dtype_name, is_eager
from .contexts import Context
from .coord_grids import Axis
from .rows import BOX, BOXES, SIZE, check_map, checked_rows, rows_in_graph, same_count

WINDOWS: Context[Window] = Context("window", "boxes that are an input")


class Window:
    """What ``window`` was given, checked.

    Attributes:
        boxes, sizes: ``[1 or N, 2 * axes]`` and ``[1 or N, axes]``, as ``window`` takes them; in eager mode arrays, as
            Paddle's operators on a few numbers take longer than those on a map.
        grids: what the layers have computed in it, by the map's size and the convention.
    """

    def __init__(self, boxes: Any, image_size: Any) -> None:
        if is_eager():
            self.boxes, self.sizes = checked_window(boxes, image_size)
        else:
            self.boxes = rows_in_graph("boxes", boxes, BOXES)
            axes = self.boxes.shape[1] // 2
            self.sizes = rows_in_graph("image_size", image_size, {axes: SIZE[axes]})
        self.axes = self.sizes.shape[1]
        self.grids: Dict[Tuple[Any, ...], Any] = {}

    @property
    def is_shared(self) -> bool:
        """All samples of a batch lie at the same place."""
        return self.boxes.shape[0] == 1 and self.sizes.shape[0] == 1

    def check_map(self, shape: Sequence[int]) -> None:
        """Whether the boxes fit a feature map ``[N, C, *spatial]``; a length that is not known yet is negative."""
        check_map("boxes", BOX, max(self.boxes.shape[0], self.sizes.shape[0]), self.axes, shape)

    def axes_of_map(self, spatial_shape: Sequence[Any]) -> List[Axis]:
        """Where the samples of a map lie in the map that the whole would have."""
        return [self._axis(axis, length) for axis, length in enumerate(spatial_shape)]

    def ends_of_map(self, spatial_shape: Sequence[int]) -> List[Axis]:
        """Of each axis the first index and the last, in eager mode: ``[1 or N, 2]`` and ``[1 or N, 1]``, arrays."""
        places = [self._place(axis, length) for axis, length in enumerate(spatial_shape)]
        return [Axis(first + [0, n - 1], whole) for n, (first, whole) in zip(spatial_shape, places)]

    def _axis(self, axis: int, length: Any) -> Axis:
        first, whole = self._place(axis, length)
        if is_eager():
            index, whole = paddle.to_tensor(first + np.arange(length)), paddle.to_tensor(whole)
        else:
            index = first + paddle.arange(length, dtype=dtype_name(first.dtype))
        return Axis(index[0], whole[0]) if self.is_shared else Axis(index, whole)

    def _place(self, axis: int, length: Any) -> Tuple[Any, Any]:
        """The index of a map's first sample in the whole, and the length of that: ``[1 or N, 1]``."""
        # A box has the tensor's axes backwards: x, y, z.
        backwards = self.axes - 1 - axis
        places = (self.boxes, backwards), (self.boxes, self.axes + backwards), (self.sizes, axis)
        low, high, size = (rows[:, place : place + 1] for rows, place in places)
        n = length if isinstance(length, int) else length.astype(low.dtype)
        # Products first: where the window is the whole, the quotients are exact.
        return low * n / (high - low), size * n / (high - low)


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
        "no CoordConv or AddCoords asked for its coordinates in it, so that it changed nothing (with "
        "coords=Given they don't, and a Predictor takes window=...); "
        "a model that was traced before, by to_static, asks no more: open the window inside of what is traced"
    )
    with WINDOWS.opened(Window(boxes, image_size), unused):
        yield


def current_window() -> Optional[Window]:
    """The innermost that is open in this thread; it counts as used."""
    return WINDOWS.current()


def checked_window(boxes: Any, image_size: Any) -> List[np.ndarray]:
    """``[M, 2 * axes]`` and ``[M, axes]``, float64, of what ``window`` takes; raises what it raises."""
    rows = checked_rows("boxes", boxes, BOXES)
    axes = rows.shape[1] // 2
    return same_count("boxes", rows, checked_rows("image_size", image_size, {axes: SIZE[axes]}))
