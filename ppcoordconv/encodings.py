"""Encodings: channels that are made of the coordinates and take their place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy as np
import paddle
from paddle import Tensor


@dataclass(frozen=True)
class Fourier:
    """``sin(2^k pi c)`` and ``cos(2^k pi c)`` of each coordinate c, k from 0 to ``bands - 1``.

    Mildenhall et al. 2020, arXiv:2003.08934, equation 4. For each coordinate in turn: sine and cosine of the first
    band, of the second, and so on.
    """

    bands: int

    def __post_init__(self) -> None:
        if type(self.bands) is not int or not 1 <= self.bands <= 16:
            raise ValueError(f"fourier: bands takes a whole number from 1 to 16, got {self.bands!r}")

    def count_channels(self, axes: int) -> int:
        return 2 * self.bands * axes

    def __call__(self, coordinates: Sequence[Tensor]) -> List[Tensor]:
        angles = [2**band * math.pi * c for c in coordinates for band in range(self.bands)]
        return [wave for angle in angles for wave in (angle.sin(), angle.cos())]


@dataclass(frozen=True)
class GaussianFourier:
    """``cos(2 pi B v)``, then ``sin(2 pi B v)``, of v, the coordinates from 0 to 1; B is random and does not learn.

    Tancik et al. 2020, arXiv:2006.10739, section 6.1.

    Parameters:
        channels: in all, an even number.
        scale: the standard deviation of B, ``[channels / 2, axes]``. Larger ones let finer places be told apart.
        seed: B is drawn from; the same in every process and version.
    """

    channels: int
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.channels) is not int or self.channels < 2 or self.channels % 2:
            raise ValueError(f"gaussian_fourier: channels takes an even number of at least 2, got {self.channels!r}")
        if type(self.scale) not in (int, float) or not 0 < self.scale < math.inf:
            raise ValueError(f"gaussian_fourier: scale takes a number above 0, got {self.scale!r}")
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise ValueError(f"gaussian_fourier: seed takes a whole number from 0 to 2^32 - 1, got {self.seed!r}")

    def count_channels(self, axes: int) -> int:
        return self.channels

    def __call__(self, coordinates: Sequence[Tensor]) -> List[Tensor]:
        places = [(c + 1) / 2 for c in coordinates]
        # By a generator whose numbers numpy keeps the same from version to version.
        rows = np.random.RandomState(self.seed).standard_normal([self.channels // 2, len(places)]) * self.scale
        angles = [sum(2 * math.pi * float(b) * v for b, v in zip(row, places)) for row in rows]
        return [angle.cos() for angle in angles] + [angle.sin() for angle in angles]


@dataclass(frozen=True)
class Learnt:
    """A table that a layer learns, interpolated linearly to the size of its map, as the position embeddings of ViT are.

    Dosovitskiy et al. 2020, arXiv:2010.11929, section 3.2, whose table is interpolated to other sizes. Its corners lie
    at the coordinates -1 and 1; beyond them, as a window may reach, is what is at the edge.

    Parameters:
        channels: of the table.
        sizes: its length along each of the map's axes, in their order; one for all.
    """

    channels: int
    sizes: Tuple[int, ...]

    def __init__(self, channels: int, *sizes: int) -> None:
        if not 1 <= len(sizes) <= 3:
            raise ValueError(
                f"learnt: takes channels and one to three sizes, as learnt(16, 32), got {len(sizes)} sizes"
            )
        for name, values in (("channels", (channels,)), ("sizes", sizes)):
            for n in values:
                if type(n) is not int or not 1 <= n <= 4096:
                    raise ValueError(f"learnt: {name} takes whole numbers from 1 to 4096, got {n!r}")
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "sizes", sizes)

    def count_channels(self, axes: int) -> int:
        return self.channels

    def shape(self, axes: int) -> List[int]:
        """Of the table of a map with so many spatial axes: ``[1, channels, *sizes]``.

        Raises:
            ValueError: it has the sizes of another number of axes.
        """
        sizes = self.sizes * axes if len(self.sizes) == 1 else self.sizes
        if len(sizes) != axes:
            raise ValueError(f"learnt: expected one size, or one for each of {axes} axes, got {list(sizes)}")
        return [1, self.channels, *sizes]

    def interpolated(self, table: Tensor, lines: Sequence[Tensor]) -> Tensor:
        """``[1 or N, channels, *spatial]`` at the coordinates along each axis of the map, ``[n]`` or ``[N, n]``."""
        table = table.astype(lines[0].dtype)  # which is not half precision
        if lines[0].ndim == 2:  # in a graph, a length of 1 would stay one
            shape = list(table.shape[1:])
            table = (paddle.ones_like(lines[0][:, :1]) @ table.reshape([1, -1])).reshape([-1, *shape])
        for axis, line in enumerate(lines):
            size = table.shape[2 + axis]
            index = (line + 1).clip(0, 2) * ((size - 1) / 2)
            # How much each place takes of each entry: [entries, places], or [N, 1, ..., entries, places]
            far = index.unsqueeze(-2) - paddle.arange(size, dtype=index.dtype).unsqueeze(1)
            parts = (1 - far.clip(0) - (-far).clip(0)).clip(0)
            if line.ndim == 2 and table.ndim > 3:
                parts = parts.unsqueeze(list(range(1, table.ndim - 2)))
            last = [n for n in range(table.ndim) if n != 2 + axis] + [2 + axis]
            # Neither paddle.matmul nor abs, which can't write graphs for Paddle 2.
            table = (table.transpose(last) @ parts).transpose(np.argsort(last).tolist())
        return table


ENCODINGS = {"fourier": Fourier, "gaussian_fourier": GaussianFourier, "learnt": Learnt}
