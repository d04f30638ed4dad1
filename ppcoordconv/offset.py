"""Adding a map to each sample of a batch, which Paddle's own broadcasting does slowly on CPUs.

There, a matrix product with a column of ones repeats the map many times faster than it would be broadcast, and where
no gradient is wanted, it is added in place.
"""

from __future__ import annotations

import math

import paddle
from paddle import Tensor

from .compat import expand_to_batch, is_eager

# Few calls for a batch, each long enough to be shared by threads.
BLOCK = 2**20


def add_offset(y: Tensor, offset: Tensor) -> Tensor:
    """``[N, C, *places]`` plus ``[1 or N, C, *places]``, or ``[1, C, 1, ...]`` as a bias; y may be overwritten."""
    if not is_eager():
        return y + expand_to_batch(offset, y)
    if not y.place.is_cpu_place() or y.shape[0] == 0:  # a matrix product without rows has no gradient
        return y + offset
    if offset.shape[2:] != y.shape[2:]:
        ones = paddle.ones([1, math.prod(y.shape[2:])], y.dtype)
        offset = paddle.matmul(offset.reshape([-1, 1]), ones).reshape([1, *y.shape[1:]])
    if y.stop_gradient and offset.stop_gradient:
        return add_offset_in_place(y, offset if offset.shape[0] == y.shape[0] else repeat_offset(y, offset))
    # In this order Paddle takes the offset's gradient first, and has its memory back when it takes the features'.
    if offset.shape[0] == y.shape[0]:
        return offset + y
    count = y.shape[0]
    offsets = paddle.matmul(paddle.ones([count, 1], y.dtype), offset.reshape([1, -1]))
    return (offsets + y.reshape([count, -1])).reshape(y.shape)


def repeat_offset(y: Tensor, offset: Tensor) -> Tensor:
    """The offset of one sample of y ``[N, ...]``, or of several where they are small: ``[n, ...]``, n <= N."""
    count = max(1, min(y.shape[0], BLOCK // math.prod(y.shape[1:])))
    if count > 1:
        offset = paddle.matmul(paddle.ones([count, 1], offset.dtype), offset.reshape([1, -1]))
    return offset.reshape([count, *y.shape[1:]]).astype(y.dtype)


def add_offset_in_place(y: Tensor, block: Tensor) -> Tensor:
    """Adds ``[n, ...]`` to every n samples of ``[N, ...]``."""
    count, step = y.shape[0], block.shape[0]
    if step >= count:
        return y.add_(block)
    for start in range(0, count, step):
        size = min(step, count - start)
        y._slice(start, start + size).add_(block if size == step else block._slice(0, size))
    return y
