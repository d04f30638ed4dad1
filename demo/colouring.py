"""Dots in, the class of each by its place: what a segmentation network with CoordConv says, and one without."""

from __future__ import annotations

import json
import math
from html import escape
from typing import Any, List, Sequence, Tuple

import numpy as np
from rendering import Network, png

from ppcoordconv.data.preprocessing import preprocess_of
from ppcoordconv.postprocess import SERVED
from ppcoordconv.utils.errors import UserError

# The picture of the networks, and a dot in it, in pixels.
SIDE, RADIUS = 96, 4
QUARTERS = 4
MAX_DOTS = 20
# Where the page begins, as parts of the picture.
START = [[0.1, 0.5], [0.35, 0.3], [0.43, 0.62], [0.58, 0.38], [0.68, 0.7], [0.9, 0.5]]
Dot = Tuple[float, float]


def read_dots(dots: Any) -> List[Dot]:
    """Dots as the page sends them: x and y of each, 0 to 1.

    Raises:
        UserError: they are something else.
    """
    try:
        read = [(float(x), float(y)) for x, y in dots]
    except (TypeError, ValueError, OverflowError):
        read = [(math.nan, math.nan)]
    if len(read) > MAX_DOTS:
        raise UserError(f"a picture has at most {MAX_DOTS} dots")
    if not all(0 <= number <= 1 for dot in read for number in dot):
        raise UserError("dots are a list of x and y from 0 to 1")
    return read


def _discs(dots: Sequence[Dot]) -> List[np.ndarray]:
    """Of each whether a pixel lies in it, ``[96, 96]``."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    return [(columns - SIDE * x) ** 2 + (rows - SIDE * y) ** 2 <= RADIUS**2 for x, y in dots]


def picture(dots: Sequence[Dot]) -> np.ndarray:
    """Light dots on noise, as the networks were trained on: uint8 ``[96, 96, 3]``."""
    pixels = np.random.default_rng(0).integers(0, 60, [SIDE, SIDE, 3]).astype(np.uint8)
    lit = np.logical_or.reduce([np.zeros([SIDE, SIDE], bool), *_discs(dots)])
    pixels[lit] += 150
    return pixels


def right_ones(mask: np.ndarray, dots: Sequence[Dot]) -> int:
    """Of how many dots most pixels have the class of the quarter that the dot lies in."""
    quarters = [1 + min(QUARTERS - 1, int(QUARTERS * x)) for x, _ in dots]
    found = [np.bincount(mask[disc], minlength=256).argmax() if disc.any() else -1 for disc in _discs(dots)]
    return sum(int(a == b) for a, b in zip(quarters, found))


def answer(networks: List[Network], dots: Any) -> str:
    """The page for some dots, or a sentence on what is wrong with them."""
    try:
        given = read_dots(dots)
    except UserError as error:
        return f'<div class="squares" data-dots="[]"><section class="card"><p>{escape(str(error))}.</p></section></div>'
    pixels = picture(given)
    cards = "".join(_card(network, pixels, given) for network in networks)
    lines = "".join(f'<path class="seam" d="M{n * SIDE // QUARTERS} 0V{SIDE}"/>' for n in range(1, QUARTERS))
    return f"""
<div class="squares" data-dots="{json.dumps(given)}" data-limit="{MAX_DOTS}">
  <section class="card ask">
    <h3>Put dots <small>click, drag; all are equal</small></h3>
    <button class="clear" type="button">Clear</button>
    <svg class="place" viewBox="0 0 {SIDE} {SIDE}">
      <image width="{SIDE}" height="{SIDE}" href="{png(pixels)}"/>{lines}</svg>
    <p class="verdict seen">A dot's colour is that of the quarter it lies in</p>
  </section>
  {cards}
</div>"""


def _card(network: Network, pixels: np.ndarray, dots: Sequence[Dot]) -> str:
    description = network.predictor.description
    rows = network.predictor(preprocess_of(description["preprocess"])(pixels)[None])
    form = SERVED.build(description["served_form"])
    (result,) = form.decode(rows, description["labels"])
    right = right_ones(result["mask"], dots)
    is_right = right == len(dots)
    return f"""
  <section class="card network {"right" if is_right else "wrong"}" data-network="{network.title}" data-right="{right}">
    <h3>{network.title} <small>{network.facts}</small></h3>
    <img class="mask" src="{png(form.draw(pixels, rows[0], result))}" alt="The dots in the colours of their classes"/>
    <p class="verdict"><b>{"✓" if is_right else "✗"}</b> {right} of {len(dots)} right</p>
  </section>"""
