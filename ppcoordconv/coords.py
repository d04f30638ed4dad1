"""Conventions: what the coordinates of a map are, as data, and the table of the named ones."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from paddle import Tensor

from .encodings import ENCODINGS, Learnt

# Paddle 3.2 warns at the first max and the first split that torch's have other arguments.
warnings.filterwarnings("ignore", message=r"\nNon compatible API.*torch\.(max|split)")


def _span(length: Tensor) -> Tensor:
    """``n - 1`` as a denominator: 1 for an axis of one sample. In a window, a length need not be whole."""
    span = length - 1
    # A length that was computed may miss 1 by its rounding. Not where, which Paddle 3.2's engine gets wrong here.
    return span + (span < 1e-5).astype(span.dtype)


# How an index 0 .. n-1 becomes a coordinate. Numerators are exact integers, or halves of them, so that a coordinate is
# rounded once and the ends of an axis are exact. A sample that is alone is at 0, unless the formula itself puts it
# elsewhere.


def symmetric(index: Tensor, length: Tensor) -> Tensor:
    """``2i/(n-1) - 1``: the first sample at -1, the last at 1, a sample that is alone at 0."""
    return (2 * index - (length - 1)) / _span(length)


def quarter(index: Tensor, length: Tensor) -> Tensor:
    """``i/(2(n-1)) - 1``: from -1 to -0.5; what a lost pair of parentheses makes of ``symmetric``."""
    return (index - 2 * (length - 1)) / (2 * _span(length))


def half_open(index: Tensor, length: Tensor) -> Tensor:
    """``2i/n - 1``: from -1 to 1 - 2/n; a sample that is alone at -1."""
    return (2 * index - length) / length


def linspace_from_minus_one(index: Tensor, length: Tensor) -> Tensor:
    """``linspace(-1, 1, n)``: as ``symmetric``, with a sample that is alone at -1."""
    span = _span(length)
    return (2 * index - span) / span


def linspace_from_minus_half(index: Tensor, length: Tensor) -> Tensor:
    """``linspace(-0.5, 0.5, n)``; a sample that is alone is at -0.5."""
    return 0.5 * linspace_from_minus_one(index, length)


def centred_on_a_sample(index: Tensor, length: Tensor) -> Tensor:
    """``(i - (n-1)//2) / (n-1)``: the sample in the middle, or before it, is at 0."""
    # Rounded down by a cast, because floor has no form in the graphs that Paddle 3 writes for Paddle 2.
    middle = ((length - 1) / 2).astype("int64").astype(length.dtype)
    return (index - middle) / _span(length)


def from_zero(index: Tensor, length: Tensor) -> Tensor:
    """``i/n``: from 0 to 1 - 1/n."""
    return index / length


def pixels(index: Tensor, length: Tensor) -> Tensor:
    """``i``."""
    return index


def ramp(index: Tensor, length: Tensor) -> Tensor:
    """``i/(n-1)``: from 0 to 1; a sample that is alone is at 0."""
    return index / _span(length)


def middles(index: Tensor, length: Tensor) -> Tensor:
    """``(2i + 1)/n - 1``: the middles of n cells between -1 and 1."""
    return (2 * index + 1) / length - 1


# Those that rise by the same from index to index.
AFFINE = frozenset(
    [
        symmetric,
        quarter,
        half_open,
        linspace_from_minus_one,
        linspace_from_minus_half,
        centred_on_a_sample,
        from_zero,
        pixels,
        ramp,
        middles,
    ]
)


def distance_from_origin(coordinates: Sequence[Tensor]) -> Tensor:
    """``sqrt(x^2 + y^2 + ...)`` of the coordinate channels."""
    # pow, because sqrt has no form in the graphs that Paddle 3 writes for Paddle 2.
    return sum(c * c for c in coordinates).pow(0.5)


def distance_from_half(coordinates: Sequence[Tensor]) -> Tensor:
    """``sqrt((x - 0.5)^2 + (y - 0.5)^2 + ...)``: a known mistake, kept for the checkpoints that learnt with it."""
    return distance_from_origin([c - 0.5 for c in coordinates])


@dataclass(frozen=True)
class Coords:
    """A convention: what the coordinate channels of a feature map are.

    Its functions must be pure: what they return is kept, and given again for the same sizes. One that returns another
    result when it is called again, or what is computed with a parameter, is a ValueError; ``Given`` is for these.

    Parameters:
        coordinate: from the indices ``0 .. n-1`` along an axis (Tensor ``[n]``) and its length ``n`` (Tensor ``[1]``),
            both floating, to the coordinates, Tensor ``[n]``. In a ``pcc.window`` the indices begin anywhere and
            neither they nor the length need be whole; where each sample has its own, they are ``[N, n]`` and
            ``[N, 1]``. To be picklable it must be a function of a module.
        x_first: the channels are x (along the width), y (height), z (depth); otherwise they are in the order of the
            tensor's axes.
        radius: from the list of the coordinate channels to the radius channel, each ``[1, 1, *spatial_shape]``; it is
            the last channel.
        radius_over_maximum: the radius is divided by the largest of the whole map's corners; 0 where that is 0.
        coords_first: the coordinate channels go before the features instead of after them.
        relative: the coordinates are those of a place minus those of a point, which ``pcc.relative_to`` gives.
        encoding: from the list of the coordinate channels to the channels that take their place, as many as its method
            ``count_channels(axes)`` says; None: the coordinates themselves. One of ``encodings``, or another.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> def from_zero_to_one(index, length):
        ...     return index / length
        >>> pcc.coord_grid([4], pcc.Coords(coordinate=from_zero_to_one)).tolist()
        [[[0.0, 0.25, 0.5, 0.75]]]
    """

    coordinate: Callable[[Tensor, Tensor], Tensor] = symmetric
    x_first: bool = True
    radius: Callable[[Sequence[Tensor]], Tensor] = distance_from_origin
    radius_over_maximum: bool = False
    coords_first: bool = False
    relative: bool = False
    encoding: Optional[Callable[[Sequence[Tensor]], List[Tensor]]] = None


@dataclass(frozen=True)
class Joined:
    """Several conventions, whose channels follow each other; the radius is the first one's, and the last channel."""

    parts: Tuple[Coords, ...]

    @property
    def coords_first(self) -> bool:
        return self.parts[0].coords_first


@dataclass(frozen=True)
class Given:
    """Coordinates that no formula of the index gives, as those of a radar or a map, or distances to an object.

    A layer with ``coords=Given(channels)`` takes its grid in the call, ``layer(x, grid)``, or from ``pcc.given``.

    Parameters:
        channels: of the grid.
        coords_first: they go before the features instead of after them.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> layer = pcc.CoordConv(16, 32, 3, padding=1, coords=pcc.Given(1))
        >>> distance = paddle.rand([1, 1, 24, 40])  # [1 or N, channels, H, W]
        >>> tuple(layer(paddle.zeros([8, 16, 24, 40]), distance).shape)
        (8, 32, 24, 40)
    """

    channels: int
    coords_first: bool = False

    def __post_init__(self) -> None:
        if type(self.channels) is not int or self.channels < 1:
            raise ValueError(f"Given: channels takes a whole number of at least 1, got {self.channels!r}")


Formula = Union[Coords, Joined]
Convention = Union[Formula, Given]
CoordsLike = Union[str, Convention, Sequence[Union[str, Coords]]]


CONVENTIONS: Dict[str, Coords] = {
    # The article on AI Studio; PaddleDetection 2.0 and 2.1.
    "paddle": Coords(),
    # PaddleDetection since July 2021 (#3744).
    "paddledet_legacy": Coords(quarter),
    # The "Coord Conv" blog's add_coord and Coord2d.
    "half_open": Coords(half_open, x_first=False),
    # gnouhp/PyTorch-CoordConv.
    "gnouhp": Coords(half_open),
    # uber-research/CoordConv, corrected for maps that are not square, as the paper's tutorial has it.
    "uber": Coords(),
    # mkocabas/CoordConv-pytorch.
    "mkocabas": Coords(x_first=False, radius=distance_from_half),
    # walsvid/CoordConv, 1-D and 2-D.
    "walsvid": Coords(x_first=False, radius=distance_from_half),
    # Wizaron/coord-conv-pytorch.
    "wizaron": Coords(x_first=False, radius_over_maximum=True, coords_first=True),
    # titu1994/keras-coordconv.
    "keras": Coords(x_first=False, radius=distance_from_half),
    # SOLO, SOLOv2, mmdetection.
    "solo": Coords(linspace_from_minus_one),
    # MONAI's AddCoordinateChannels.
    "monai": Coords(linspace_from_minus_half, x_first=False),
    # plstcharles/thelper since November 2019.
    "thelper": Coords(centred_on_a_sample),
    # robomimic.
    "robomimic": Coords(from_zero, x_first=False),
    # The description of the layer in the paper's tutorial.
    "pixel": Coords(pixels),
}


# What ``coords=`` takes beside the conventions and encodings.
RELATIVE = Coords(middles, relative=True)


def list_coords() -> List[str]:
    """The names of the conventions, any of which ``coords=`` takes.

    Examples:
        >>> import ppcoordconv as pcc
        >>> pcc.list_coords()[:3]
        ['paddle', 'paddledet_legacy', 'half_open']
    """
    return list(CONVENTIONS)


def find_coords(coords: CoordsLike) -> Convention:
    """What is meant by ``coords=``.

    Parameters:
        coords: the name of a convention; "relative", to points; an encoding of the coordinates from -1 to 1, as
            "fourier(4)", "gaussian_fourier(64, scale=2.0)" or "learnt(16, 32)"; a list of such, whose channels are
            joined; or what that gives already.

    Raises:
        TypeError: ``coords`` is something else.
        ValueError: there is no convention and no encoding of that name, or it takes other numbers.
    """
    if isinstance(coords, (Coords, Joined, Given)):
        return coords
    if isinstance(coords, (list, tuple)) and coords:
        return _joined([find_coords(part) for part in coords])
    if not isinstance(coords, str):
        raise TypeError(f"coords takes the name of a convention, a Coords, a list of them, or a Given, got {coords!r}")
    if coords in CONVENTIONS:
        return CONVENTIONS[coords]
    if coords == "relative":
        return RELATIVE
    if found := re.fullmatch(r"(\w+)\((.*)\)", coords):
        return Coords(encoding=_encoding(*found.groups()))
    near = difflib.get_close_matches(coords, [*CONVENTIONS, "relative"], n=1)
    hint = f": did you mean {near[0]!r}?" if near else "."
    encodings = ", ".join(f"{name}(...)" for name in ENCODINGS)
    raise ValueError(
        f"coords={coords!r} names no convention{hint} The conventions are {', '.join(CONVENTIONS)}; the encodings "
        f"relative, {encodings}"
    )


def _joined(parts: List[Convention]) -> Convention:
    flat = [one for part in parts for one in (part.parts if isinstance(part, Joined) else [part])]
    if any(isinstance(part, Given) for part in flat):
        raise ValueError("coords takes a Given alone, not in a list; join the given grid with other channels yourself")
    if len({part.coords_first for part in flat}) > 1:
        raise ValueError(f"coords takes a list of which all go before the features, or all after them, got {flat}")
    if sum(isinstance(part.encoding, Learnt) for part in flat) > 1:  # type: ignore[union-attr]
        raise ValueError("coords takes a list with one learnt(...) at most; give that more channels")
    return flat[0] if len(flat) == 1 else Joined(tuple(flat))  # type: ignore[arg-type]


def _encoding(name: str, arguments: str) -> Any:
    """From "fourier" and "4": numbers alone, by position or by name."""
    if name not in ENCODINGS:
        near = difflib.get_close_matches(name.lower(), ENCODINGS, n=1)
        hint = f": did you mean {near[0]}(...)?" if near else "."
        raise ValueError(f"coords: there is no encoding {name!r}{hint} The encodings are {', '.join(ENCODINGS)}")
    try:
        call: Any = ast.parse(f"{name}({arguments})", mode="eval").body
        if not isinstance(call.func, ast.Name):
            raise ValueError("a call of a call")
        values = [ast.literal_eval(value) for value in call.args]
        named = {pair.arg: ast.literal_eval(pair.value) for pair in call.keywords}
    except (SyntaxError, ValueError, AttributeError):
        raise ValueError(f"coords: {name}(...) takes numbers, as {name}(4), got {name}({arguments})") from None
    try:
        return ENCODINGS[name](*values, **named)
    except TypeError as error:  # of the signature
        raise ValueError(f"coords: {name}({arguments}) has other numbers than the encoding takes: {error}") from error


def parts_of(convention: Convention) -> Tuple[Coords, ...]:
    """The conventions that are joined in it; of a Given none."""
    if isinstance(convention, Given):
        return ()
    return convention.parts if isinstance(convention, Joined) else (convention,)


def learnt_part(convention: Convention) -> Optional[Learnt]:
    """The encoding of it that has a table."""
    for part in parts_of(convention):
        if isinstance(part.encoding, Learnt):
            return part.encoding
    return None


def is_relative(convention: Convention) -> bool:
    """Some of its coordinates are relative to points."""
    return any(part.relative for part in parts_of(convention))


def count_channels(convention: Convention, axes: int, with_r: bool) -> int:
    """How many channels the grid of a map with that many spatial axes has."""
    if isinstance(convention, Given):
        return convention.channels
    if isinstance(convention, Joined):
        return sum(count_channels(part, axes, False) for part in convention.parts) + with_r
    encoding: Any = convention.encoding
    return (axes if encoding is None else encoding.count_channels(axes)) + with_r
