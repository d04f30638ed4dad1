"""Points: what the layers with ``coords="relative"`` take their coordinates from."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Optional, Sequence

import paddle

from .compat import is_eager
from .contexts import Context
from .coord_grids import Axis
from .rows import POINT, SIZE, check_map, checked_rows, rows_in_graph, same_count

POINTS: Context[Points] = Context("relative_to", "points that are an input")


class Points:
    """What ``relative_to`` was given, checked.

    Attributes:
        parts: ``[1 or N, axes]``, the points as parts of the image, in the order of the tensor's axes.
    """

    def __init__(self, points: Any, image_size: Any) -> None:
        if is_eager():
            rows = checked_rows("points", points, POINT)
            sizes = checked_rows("image_size", image_size, {rows.shape[1]: SIZE[rows.shape[1]]})
            rows, sizes = map(paddle.to_tensor, same_count("points", rows, sizes))
        else:
            rows = rows_in_graph("points", points, POINT)
            sizes = rows_in_graph("image_size", image_size, {rows.shape[1]: SIZE[rows.shape[1]]})
        # A point has the tensor's axes backwards: x, y, z.
        self.parts = rows.flip(1) / sizes

    @property
    def is_shared(self) -> bool:
        return self.parts.shape[0] == 1

    def check_map(self, shape: Sequence[int]) -> None:
        """Whether the points fit a feature map ``[N, C, *spatial]``; a length that is not known yet is negative."""
        count, axes = self.parts.shape
        check_map("points", POINT, count, axes, shape)

    def on(self, axes: List[Axis]) -> List[Axis]:
        """The axes of a map, with the index that the point has along each."""
        parts = [self.parts[:, number : number + 1] for number in range(len(axes))]
        return [
            # The middle of sample i is i + 1/2 from the beginning.
            axis._replace(origin=(part[0] if self.is_shared else part).astype(axis.length.dtype) * axis.length - 0.5)
            for axis, part in zip(axes, parts)
        ]


@paddle.jit.not_to_static
@contextlib.contextmanager
def relative_to(points: Any, image_size: Any) -> Iterator[None]:
    """In here, the coordinates of the layers with ``coords="relative"`` are those of a place minus those of a point.

    The image is 2 long along each axis, whatever the size of a map: the middle of column j of a map of w columns has
    the coordinate ``(2j + 1)/w - 2x/W``, with x the point's and W the image's width, in pixels; so do rows and planes.
    With ``with_r`` the radius is the distance to the point. CondInst (Tian et al. 2020, arXiv:2003.05664, section 3)
    gives its mask heads such coordinates of each instance, with the other sign. In a ``pcc.window``, the columns are at
    their place in the whole, and the image is the whole.

    Parameters:
        points: in pixels of the image, floats: ``[2]``, or ``[N, 2]`` with one for each sample: x, y. With one spatial
            axis ``[1]`` or ``[N, 1]``, with three ``[3]`` or ``[N, 3]``: x, y, z. No gradient flows into them.
        image_size: in the order of the tensor's axes: ``(height, width)``, or ``[N, 2]``; ``(length,)``; ``(depth,
            height, width)``.

    Raises:
        TypeError, ValueError: as ``pcc.window``.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.AddCoords("relative")
        >>> with pcc.relative_to([10, 5], (20, 40)):
        ...     y = layer(paddle.zeros([1, 1, 2, 4]))
        >>> y[0, 1, 0].tolist(), y[0, 2, :, 0].tolist()
        ([-0.25, 0.25, 0.75, 1.25], [0.0, 1.0])
    """
    with POINTS.opened(Points(points, image_size), "no layer with coords='relative' asked for them"):
        yield


def current_points() -> Optional[Points]:
    """The innermost that are open in this thread; they count as used."""
    return POINTS.current()
