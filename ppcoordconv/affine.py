"""A coordinate grid for each sample of a batch, kept as what the samples share and two numbers for each channel."""

from __future__ import annotations

from typing import Any, List, NamedTuple

from paddle import Tensor


class AffineGrid(NamedTuple):
    """Channels that rise evenly along one axis: ``first + rise * ramp``.

    Attributes:
        ramps: of each channel, from 0 to 1 along its axis: ``[1, d, *spatial]``, a constant.
        ends: of each sample and channel, ``first`` and ``rise``: ``[N, d, 2]``.
    """

    ramps: Tensor
    ends: Tensor

    @property
    def shape(self) -> List[int]:
        return [self.ends.shape[0], *self.ramps.shape[1:]]

    @property
    def dtype(self) -> Any:
        return self.ramps.dtype

    @property
    def stop_gradient(self) -> bool:
        return True

    def expand(self) -> Tensor:
        """``[N, d, *spatial]``."""
        first, rise = self.ends.reshape([*self.ends.shape] + [1] * (self.ramps.ndim - 2)).unbind(2)
        return first + rise * self.ramps
