"""A network on an image that is too large for it: tile by tile, each with the coordinates of its place."""

from __future__ import annotations

import itertools
from fractions import Fraction
from numbers import Integral
from typing import Any, Callable, List, Optional, Sequence, Tuple, Union

import numpy as np
import paddle
from paddle import Tensor, nn

from .compat import to_numpy
from .given_coords import GRIDS
from .utils.progress import bar
from .windows import WINDOWS, Window


def predict_tiled(
    model: Callable[[Tensor], Tensor],
    image: Any,
    tile: Union[int, Sequence[int]],
    overlap: Union[int, Sequence[int]],
    *,
    blend: bool = False,
    batch_size: int = 1,
    out: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Runs a network on an image in tiles, as if it were run on the whole.

    Every tile gets the coordinates that it has in the whole (``pcc.window``). Of what two tiles both give, the nearer
    one's is taken. The result is that of the whole, but for rounding, where half the overlap is no less than how far an
    output of the network sees, ``tile``, ``tile - overlap`` and the image's sides are multiples of all its strides, and
    nothing is blended.

    Parameters:
        model: takes ``[N, C, *spatial]`` of any size up to ``tile`` and gives ``[N, C', *places]``, at any stride. A
            layer is run in ``eval`` mode, and is in the mode that it was in afterwards. No gradient is recorded.
        image: ``[C, *spatial]`` with one to three axes: an array, ``np.memmap`` too, or a Tensor; a tile at a time is
            read of it, and cast to the dtype of the layer's parameters.
        tile, overlap: in pixels, one for all axes, or one for each.
        blend: what two tiles both give is mixed, from one to the other across the overlap, which hides seams where
            they do not give the same.
        batch_size: how many tiles go through the network at a time.
        out: ``[C', *places]``, where to write the result, as a ``np.memmap``; None: a new array.

    Returns:
        ``[C', *places]`` of the whole image.

    Raises:
        ValueError: an argument is out of range, or the image or the output has other axes; ``tile`` or ``tile -
            overlap`` is no multiple of the network's stride; or an output at a tile's end depends on its beginning, so
            that the network sees more than a tile; or it can't be run on a tile, as its strides don't divide the sides;
            or a ``pcc.window`` or ``pcc.given`` is open around the call.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> net, image = pcc.CoordConv(3, 8, 3, padding=1), paddle.rand([3, 100, 120])
        >>> tiled = pcc.predict_tiled(net, image, tile=64, overlap=16)
        >>> paddle.allclose(paddle.to_tensor(tiled), net(image[None])[0], atol=1e-5).item()
        True
    """
    shape = list(image.shape) if hasattr(image, "shape") else []
    if not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise ValueError(f"image: expected [C, *spatial] with one to three axes, got {shape or type(image).__name__}")
    for context, name in ((WINDOWS, "window"), (GRIDS, "given")):
        if context.current() is not None:
            raise ValueError(f"predict_tiled: expected no pcc.{name} around it, whose grid is not that of a tile")
    size = shape[1:]
    tiles, overlaps = _each("tile", tile, len(size), 1), _each("overlap", overlap, len(size), 0)
    for one, both in zip(tiles, overlaps):
        if both >= one:
            raise ValueError(f"tile: expected more than the overlap of {both}, got {one}")
    if type(batch_size) is not int or batch_size < 1:
        raise ValueError(f"batch_size: expected a whole number of at least 1, got {batch_size!r}")
    layers = model.sublayers(include_self=True) if isinstance(model, nn.Layer) else []
    modes = [layer.training for layer in layers]
    if isinstance(model, nn.Layer):
        model.eval()
    try:
        with paddle.no_grad():
            axes = [_Axis(*lengths) for lengths in zip(size, tiles, overlaps)]
            return _joined(_Tiles(model, image, axes), blend, batch_size, out)
    finally:
        for layer, mode in zip(layers, modes):
            layer.training = mode


class _Axis:
    """Where the tiles lie along an axis, and what of their maps goes where in the whole's.

    Attributes:
        places: from where to where, in pixels. The last is shorter, and longer than the overlap, if there are several.
        scale: places of a map to pixels. offsets: of the tiles' maps in the whole's. length: of the whole's.
    """

    def __init__(self, size: int, tile: int, overlap: int) -> None:
        self.step = tile - overlap
        starts = range(0, max(1, size - overlap), self.step)
        self.places = [(start, min(start + tile, size)) for start in starts]

    def learn(self, first: int, last: int) -> None:
        """From the lengths of the first tile's map and the last's."""
        pixels = self.places[0][1]
        self.scale = Fraction(first, pixels)
        step = self.step * self.scale
        if len(self.places) > 1 and (1 not in (self.scale.numerator, self.scale.denominator) or step.denominator > 1):
            raise ValueError(
                "tile, overlap: expected tile and tile - overlap to be multiples of the network's stride, and a "
                f"network that pads its maps, got {pixels}, of which it makes {first}, and {self.step}"
            )
        self.offsets = [int(start * self.scale) for start, _ in self.places]
        self.length = self.offsets[-1] + last

    def weights(self, number: int, length: int, blend: bool) -> np.ndarray:
        """Of each place of a tile's map; over all tiles, those of one place add up to 1."""
        at = self.offsets[number] + np.arange(length) + 0.5
        return self._rise(number, at, blend) - self._rise(number + 1, at, blend)

    def _rise(self, number: int, at: np.ndarray, blend: bool) -> np.ndarray:
        """From 0 in the tile before to 1 in this one."""
        if number in (0, len(self.places)):
            return np.full(len(at), float(number == 0), np.float32)
        shared = (self.places[number - 1][1] - self.places[number][0]) * self.scale
        middle = self.offsets[number] + float(shared / 2)
        # Where more than two tiles share a place, the two nearest mix.
        width = float(min(shared, self.step * self.scale)) if blend else 0.0
        rise = (at - middle) / width + 0.5 if width else at > middle
        return np.clip(rise, 0, 1).astype(np.float32)


class _Tiles:
    """A model and the tiles of an image.

    Attributes:
        numbers: of the tiles, one along each axis, those of the same size after each other.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], image: Any, axes: List[_Axis]) -> None:
        self.model, self.image, self.axes = model, image, axes
        parameters = model.parameters() if isinstance(model, nn.Layer) else []
        self.dtype = parameters[0].dtype if parameters else None
        self.numbers = sorted(
            itertools.product(*(range(len(axis.places)) for axis in axes)),
            key=lambda numbers: [end - start for start, end in self.place(numbers)],
            reverse=True,
        )
        first = tuple(0 for _ in axes)
        last = tuple(len(axis.places) - 1 for axis in axes)
        y = self.run([first])
        end = y if last == first else self.run([last])
        for axis, *of_both in zip(axes, y.shape[2:], end.shape[2:]):
            axis.learn(*of_both)
        self._check_reach(first, y.astype(np.float64))

    def place(self, numbers: Sequence[int]) -> List[Tuple[int, int]]:
        return [axis.places[number] for axis, number in zip(self.axes, numbers)]

    def crop(self, numbers: Sequence[int]) -> np.ndarray:
        part = [slice(None), *(slice(*ends) for ends in self.place(numbers))]
        crop = self.image[tuple(part)]
        crop = to_numpy(crop) if isinstance(crop, Tensor) else np.asarray(crop)
        return crop.astype(np.float64 if crop.dtype == np.float64 else np.float32)

    def run(self, batch: List[Tuple[int, ...]], crops: Optional[np.ndarray] = None) -> np.ndarray:
        """``[N, C', *places]`` of the tiles, which are of one size."""
        boxes = [[end for side in zip(*self.place(numbers)[::-1]) for end in side] for numbers in batch]
        crops = np.stack([self.crop(numbers) for numbers in batch]) if crops is None else crops
        # A network without coordinates may be run in tiles too.
        x = paddle.to_tensor(crops)
        try:
            with WINDOWS.opened(Window(boxes, self.image.shape[1:])):
                y = self.model(x if self.dtype is None else x.astype(self.dtype))
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1:]
            raise ValueError(
                f"model: can't be run on {list(x.shape)}, {len(batch)} tile(s) of an image [C, *spatial] of "
                f"{list(self.image.shape)} (are the tiles' sides multiples of its strides?): {''.join(reason)}"
            ) from error
        if not isinstance(y, Tensor) or y.ndim != crops.ndim:
            given = list(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"model: expected an output [N, C, *places] with {crops.ndim} axes, got {given}")
        return to_numpy(y)

    def _check_reach(self, numbers: Tuple[int, ...], y: np.ndarray) -> None:
        """That what a tile ends with does not depend on what it begins with; ``y`` is what it gives."""
        crop = self.crop(numbers)[None]
        for number, axis in enumerate(self.axes):
            if len(axis.places) == 1:
                continue
            other = crop.copy()
            np.moveaxis(other, 2 + number, 0)[0] += 10 * (1 + np.abs(crop).max())
            change = np.moveaxis(self.run([numbers], other) - y, 2 + number, 0)[-1]
            if np.abs(change).max() > 1e-6 * np.abs(y).max():
                raise ValueError(
                    f"tile: expected more than the network sees, got {axis.places[0][1]}, at whose end the output "
                    "depends on its beginning; a network that pools over its whole map can't be run in tiles"
                )


def _joined(tiles: _Tiles, blend: bool, batch_size: int, out: Optional[np.ndarray]) -> np.ndarray:
    def size_of(numbers: Tuple[int, ...]) -> List[int]:
        return [end - start for start, end in tiles.place(numbers)]

    is_first = True
    with bar(len(tiles.numbers), unit="tile") as progress:
        for _, group in itertools.groupby(tiles.numbers, size_of):
            while batch := list(itertools.islice(group, batch_size)):
                for numbers, y in zip(batch, tiles.run(batch)):
                    shape = [len(y), *(axis.length for axis in tiles.axes)]
                    out = np.zeros(shape, y.dtype) if out is None else out
                    if list(out.shape) != shape:
                        raise ValueError(f"out: expected {shape}, got {list(out.shape)}")
                    if is_first and blend:
                        out[...] = 0  # to which the tiles are added
                    is_first = False
                    _add(out, y, tiles.axes, numbers, blend)
                progress.update(len(batch))
    assert out is not None
    return out


def _add(out: np.ndarray, y: np.ndarray, axes: List[_Axis], numbers: Tuple[int, ...], blend: bool) -> None:
    there: List[slice] = [slice(None)]
    for number, (axis, count) in enumerate(zip(axes, numbers), 1):
        weights = axis.weights(count, y.shape[number], blend)
        used = np.flatnonzero(weights)
        here = slice(used[0], used[-1] + 1)
        y = np.moveaxis(y, number, -1)[..., here]
        y = np.moveaxis(y * weights[here] if blend else y, -1, number)
        there.append(slice(axis.offsets[count] + here.start, axis.offsets[count] + here.stop))
    out[tuple(there)] = out[tuple(there)] + y if blend else y


def _each(name: str, value: Any, count: int, minimum: int) -> List[int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    values = [int(n) if isinstance(n, Integral) and not isinstance(n, bool) else n for n in values]
    if len(values) != count or not all(type(n) is int and n >= minimum for n in values):
        wanted = f"a whole number of at least {minimum}, or one for each of {count} axes"
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return values
