"""A point in, the squares that CoordConv and the convolution render around it out, as a piece of a web page."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any, Dict, List, Tuple

import numpy as np
from PIL import Image

from ppcoordconv.data.not_so_clevr import HALF, SIZE, SQUARE, all_centres, not_so_clevr, square
from ppcoordconv.data.preprocessing import preprocess_of
from ppcoordconv.deploy import Predictor
from ppcoordconv.postprocess.coordinates import CoordinateRendering, is_lit
from ppcoordconv.utils.errors import UserError

# From dark to light, as the pictures are coloured.
NIGHT, LIGHT = (13, 20, 38), (255, 255, 255)
SEEN, WRONG, HALF_RIGHT, RIGHT = (52, 84, 140), (214, 64, 69), (240, 178, 50), (22, 163, 116)
# From this IoU on, a square counts as right.
RIGHT_FROM = 0.995


@dataclass(frozen=True)
class Network:
    """An exported network, what it is called, and how it was trained."""

    title: str
    facts: str
    predictor: Predictor


@dataclass(frozen=True)
class Rendered:
    """What a network made of a point: probabilities ``[64, 64]``, the box around what is lit, and its IoU."""

    probabilities: np.ndarray
    box: List[int]
    iou: float


def nearest_place(x: float, y: float) -> Tuple[int, int]:
    """The nearest pixel that has room for the square around it."""
    x, y = (int(np.clip(round(n), HALF, SIZE - 1 - HALF)) for n in (x, y))
    return x, y


def is_seen(x: int, y: int) -> bool:
    """Whether the training had a square there: three quadrants have, the lower right one has not."""
    train, _ = places()
    return [x, y] in train.tolist()


def logits_of(predictor: Predictor, centres: np.ndarray) -> np.ndarray:
    """``[N, 2]``, x and y in pixels -> ``[N, 64 * 64]``."""
    preprocess = preprocess_of(predictor.description["preprocess"])
    return predictor(np.stack([preprocess(centre) for centre in centres]))


def ious_of(logits: np.ndarray, centres: np.ndarray) -> np.ndarray:
    got = is_lit(logits)
    wanted = np.stack([square(centre).ravel() > 0 for centre in centres])
    return (got & wanted).sum(axis=1) / (got | wanted).sum(axis=1)


def render(predictor: Predictor, x: int, y: int) -> Rendered:
    centre = np.array([[x, y]])
    logits = logits_of(predictor, centre)
    (found,) = CoordinateRendering().decode(logits, [])
    probabilities = 0.5 + 0.5 * np.tanh(logits.reshape(SIZE, SIZE) / 2)
    return Rendered(probabilities, found["box"] or [], float(ious_of(logits, centre)[0]))


def ious_everywhere(predictor: Predictor) -> np.ndarray:
    """The IoU at each place, ``[64, 64]``, NaN where there is no room for a square."""
    canvas = np.full([SIZE, SIZE], np.nan)
    for centres in np.array_split(all_centres(), 49):
        canvas[centres[:, 1], centres[:, 0]] = ious_of(logits_of(predictor, centres), centres)
    return canvas


def read_point(place: Any) -> Tuple[float, float]:
    """A point as the page sends it: x and y, in pixels of the canvas.

    Raises:
        UserError: it is something else.
    """
    try:
        x, y = map(float, place)
    except (TypeError, ValueError, OverflowError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise UserError("a point is two finite numbers, x and y in pixels of the canvas")
    return x, y


def answer(networks: List[Network], maps: Dict[str, np.ndarray], place: Any) -> str:
    """The page for a point, or a sentence on what is wrong with it."""
    try:
        return page(networks, maps, *read_point(place))
    except UserError as error:
        words = escape(str(error)).capitalize()
        return f'<div class="squares" data-x="0" data-y="0"><section class="card"><p>{words}.</p></section></div>'


def page(networks: List[Network], maps: Dict[str, np.ndarray], x: float, y: float) -> str:
    """The pictures for a point: where it is, and what each network renders."""
    x, y = nearest_place(x, y)
    seen = is_seen(x, y)
    where = "was trained on" if seen else "was never seen"
    train, test = places()
    cards = "".join(_card(network, maps[network.title], render(network.predictor, x, y), x, y) for network in networks)
    return f"""
<div class="squares" data-x="{x}" data-y="{y}">
  <section class="card ask">
    <h3>Point at a place <small>click, drag, arrow keys</small></h3>
    <button class="walk" type="button">▸ Walk</button>
    {_picture(_training_map(), x, y, words=True)}
    <p class="verdict {"seen" if seen else "unseen"}">({x}, {y}) {where}</p>
    <div class="everywhere"><ul><li class="seen">{len(train):,} places to train on</li>
      <li class="unseen">{len(test):,} places never seen</li></ul></div>
  </section>
  {cards}
</div>"""


def _card(network: Network, everywhere: np.ndarray, rendered: Rendered, x: int, y: int) -> str:
    right = rendered.iou >= RIGHT_FROM
    said = "knows where" if right else f"IoU {rendered.iou:.2f}" if rendered.box else "sees nothing"
    train, test = (_mean_at(everywhere, centres) for centres in places())
    return f"""
  <section class="card network {"right" if right else "wrong"}" data-network="{network.title}"
      data-iou="{rendered.iou:.4f}" data-box="{rendered.box}">
    <h3>{network.title} <small>{network.facts}</small></h3>
    {_picture(_blend(rendered.probabilities), x, y)}
    <p class="verdict"><b>{"✓" if right else "✗"}</b> {said}</p>
    <div class="everywhere">
      {_picture(_traffic_lights(everywhere), x, y, square_too=False)}
      <p>IoU of all places<br><b>{train:.2f}</b> trained on<br><b>{test:.2f}</b> never seen</p>
    </div>
  </section>"""


def _picture(pixels: np.ndarray, x: int, y: int, words: bool = False, square_too: bool = True) -> str:
    """An SVG of the canvas, enlarged without smoothing, the wanted square dashed."""
    half = SIZE // 2
    label = f'<text x="{1.5 * half}" y="{half + 4}">never seen</text>' if words else ""
    ring = f'<circle cx="{x + 0.5}" cy="{y + 0.5}" r="1.6"/>'
    wanted = f'<rect class="wanted" x="{x - HALF}" y="{y - HALF}" width="{SQUARE}" height="{SQUARE}"/>'
    return f"""<svg class="place" viewBox="0 0 {SIZE} {SIZE}">
      <image width="{SIZE}" height="{SIZE}" href="{png(pixels)}"/>
      <path class="seam" d="M{half} {SIZE}V{half}H{SIZE}"/>{label}{wanted if square_too else ring}</svg>"""


def png(pixels: np.ndarray) -> str:
    """Pixels, uint8 ``[H, W, 3]``, as an address that an ``<img>`` takes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _blend(parts: np.ndarray) -> np.ndarray:
    """``[H, W]`` from 0 to 1 -> colours from dark to light."""
    night, light = np.array(NIGHT), np.array(LIGHT)
    return (night + parts[:, :, None] * (light - night)).round().astype(np.uint8)


@lru_cache
def places() -> Tuple[np.ndarray, np.ndarray]:
    places = not_so_clevr("quadrant")
    return places.train, places.test


def _mean_at(canvas: np.ndarray, centres: np.ndarray) -> float:
    return float(canvas[centres[:, 1], centres[:, 0]].mean())


@lru_cache
def _training_map() -> np.ndarray:
    """A dot for each square that the training saw."""
    pixels = np.full([SIZE, SIZE, 3], NIGHT, np.uint8)
    train, _ = places()
    pixels[train[:, 1], train[:, 0]] = SEEN
    return pixels


def _traffic_lights(ious: np.ndarray) -> np.ndarray:
    """Red where the IoU is 0, over yellow, to green where it is 1."""
    known = np.nan_to_num(ious).ravel()
    colours = [np.interp(known, [0, 0.6, 1], channel) for channel in zip(WRONG, HALF_RIGHT, RIGHT)]
    pixels = np.stack(colours, axis=-1).reshape(SIZE, SIZE, 3)
    pixels[np.isnan(ious)] = NIGHT
    return pixels.round().astype(np.uint8)
