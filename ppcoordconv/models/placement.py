"""Where a network has CoordConv, by a word: at its input, in its head, everywhere, or nowhere."""

from __future__ import annotations

from paddle import nn

from ..convert import convert_to_coordconv
from ..coords import CoordsLike
from ..utils.arguments import check_bool, check_choice

# What becomes CoordConv: the first convolution, those of the head, or all.
_MATCHES = {"input": None, "head": "head*", "all": "all"}


def with_coords(network: nn.Layer, coord: str, coords: CoordsLike, with_r: bool) -> nn.Layer:
    """The network, whose last part is its attribute ``head``, with CoordConv in the place of some convolutions.

    The weights on the coordinates start at zero: with the same seed, a network and its twin without CoordConv start as
    the same function.

    Parameters:
        coord: "none", "input", the first convolution; "head", those of the head; or "all".
    """
    check_choice("coord", coord, ("none", *_MATCHES))
    check_bool("with_r", with_r)
    if coord == "none":
        return network
    return convert_to_coordconv(network, _MATCHES[coord], coords=coords, with_r=with_r)
