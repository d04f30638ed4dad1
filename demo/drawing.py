"""Strokes of a pen in, the digits that the detector finds in them out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from rendering import png

from ppcoordconv.data.preprocessing import preprocess_of
from ppcoordconv.deploy import Predictor
from ppcoordconv.ops.boxes import ious
from ppcoordconv.postprocess import SERVED
from ppcoordconv.utils.errors import UserError

Stroke = List[Tuple[float, float]]
# The canvas of the detector, in pixels, and how high digits are brought to be there; it was trained on 14 to 22.
CANVAS = 64
SIDE = 16
# How wide a line is there, and how far it fades, in pixels.
PEN = 2.0
FADE = 0.5
# Of two boxes that overlap by more, the better one stays, whatever digit each is.
MAX_IOU = 0.4
# The picture is drawn so much larger first, for smooth lines.
FINE = 8
# More are slow to draw and to sort into figures.
MOST_STROKES = 300
MOST_POINTS = 20_000
# So near to each other, as a part of the larger one, strokes are of one digit.
NEAR = 0.1
# A dot is enlarged as if it were so large, as a part of the drawing.
LEAST_SIDE = 0.02
# For the classes, to be told apart on a dark canvas.
COLOURS = ("#ff6b6b", "#51cf66", "#4dabf7", "#ffd43b", "#da77f2", "#ffa94d", "#3bc9db", "#f783ac", "#a9e34b", "#b197fc")
EXAMPLES: List[List[Stroke]] = json.loads(Path(__file__).with_name("examples.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Placement:
    """Where a drawing lies on the canvas of the detector: ``scale * point + (left, top)``."""

    scale: float
    left: float
    top: float


def read_strokes(strokes: Any) -> List[Stroke]:
    """Strokes as the page sends them: lists of x and y, 0 to 1.

    Raises:
        UserError: they are none, or something else.
    """
    is_list = isinstance(strokes, (list, tuple)) and all(isinstance(stroke, (list, tuple)) for stroke in strokes)
    if is_list and (len(strokes) > MOST_STROKES or sum(map(len, strokes)) > MOST_POINTS):
        raise UserError(f"a drawing has at most {MOST_STROKES:,} strokes and {MOST_POINTS:,} points")
    try:
        read = [[(float(x), float(y)) for x, y in stroke] for stroke in strokes if stroke]
    except (TypeError, ValueError, OverflowError):
        raise UserError("a drawing is a list of strokes, each a list of x and y from 0 to 1") from None
    points = [number for stroke in read for point in stroke for number in point]
    if not points:
        raise UserError("the canvas is empty: draw a digit, or take an example")
    if not is_list or not all(0 <= number <= 1 for number in points):
        raise UserError("a drawing is a list of strokes, each a list of x and y from 0 to 1")
    return read


def place(strokes: Sequence[Stroke]) -> Placement:
    """Brings digits to the size that the detector was trained on, as far as all fit on its canvas."""
    heights = [bottom - top for _, top, _, bottom in figures(strokes)]
    low, high = _bounds([point for stroke in strokes for point in stroke])
    height, extent = (max(float(n), LEAST_SIDE) for n in (np.median(heights), (high - low).max()))
    scale = min(SIDE / height, (CANVAS - 2 * PEN) / extent)
    middle = (low + high) / 2
    reach = scale * (high - low) / 2 + PEN
    left, top = np.clip(CANVAS * middle, reach, CANVAS - reach) - scale * middle
    return Placement(scale, float(left), float(top))


def figures(strokes: Sequence[Stroke]) -> List[Tuple[float, float, float, float]]:
    """The boxes around strokes that belong together: whose boxes meet, or nearly."""
    boxes: List[Tuple[float, float, float, float]] = []
    for stroke in strokes:
        (left, top), (right, bottom) = _bounds(stroke)
        met = []
        for box in boxes:
            near = NEAR * max(right - left, bottom - top, box[2] - box[0], box[3] - box[1])
            across = box[0] - near <= right and left <= box[2] + near
            if across and box[1] - near <= bottom and top <= box[3] + near:
                met.append(box)
        boxes = [box for box in boxes if box not in met]
        lefts, tops, rights, bottoms = zip((left, top, right, bottom), *met)
        boxes.append((min(lefts), min(tops), max(rights), max(bottoms)))
    return boxes


def _bounds(points: Sequence[Tuple[float, float]]) -> Tuple[np.ndarray, np.ndarray]:
    array = np.array(points)
    return array.min(axis=0), array.max(axis=0)


def rasterise(strokes: Sequence[Stroke], placement: Placement) -> np.ndarray:
    """Light lines on a dark canvas, as soft as those that the detector was trained on: uint8 ``[64, 64, 3]``."""
    sheet = Image.new("L", (CANVAS * FINE, CANVAS * FINE))
    pen = ImageDraw.Draw(sheet)
    radius = PEN * FINE / 2
    for stroke in strokes:
        points = [
            (FINE * (placement.scale * x + placement.left), FINE * (placement.scale * y + placement.top))
            for x, y in stroke
        ]
        pen.line(points, fill=255, width=round(2 * radius))
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    small = sheet.filter(ImageFilter.GaussianBlur(FADE * FINE)).resize((CANVAS, CANVAS), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)
    pixels = pixels * 255 / max(pixels.max(), 1)
    return pixels.round().astype(np.uint8)[:, :, None].repeat(3, axis=2)


def detect(detector: Predictor, strokes: Sequence[Stroke]) -> Tuple[np.ndarray, List[Dict[str, Any]], Placement]:
    """What the detector saw, what it found there, and where."""
    placement = place(strokes)
    pixels = rasterise(strokes, placement)
    description = detector.description
    rows = detector(preprocess_of(description["preprocess"])(pixels)[None])
    (result,) = SERVED.build(description["served_form"]).decode(rows, description["labels"])
    return pixels, one_for_each_place(result["objects"]), placement


def one_for_each_place(objects: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The detector may say 4 and 9 of one digit; the best of those stays. The objects come best first."""
    kept: List[Dict[str, Any]] = []
    for found in objects:
        others = np.array([other["box"] for other in kept]).reshape(-1, 4)
        if ious(np.array([found["box"]]), others).max(initial=0) <= MAX_IOU:
            kept.append(found)
    return kept


def overlay(objects: List[Dict[str, Any]], placement: Placement) -> str:
    """The boxes as pieces of an SVG of the drawing, whose sides are 1."""
    pieces = []
    for found in objects:
        left, top, right, bottom = (
            (edge - shift) / placement.scale for edge, shift in zip(found["box"], 2 * (placement.left, placement.top))
        )
        colour = COLOURS[found["class_id"] % len(COLOURS)]
        above = top - 0.015 if top > 0.08 else bottom + 0.055
        pieces.append(
            f'<g class="object" data-label="{found["label"]}" stroke="{colour}" fill="{colour}">'
            f'<rect x="{left:.4f}" y="{top:.4f}" width="{right - left:.4f}" height="{bottom - top:.4f}" rx="0.01"/>'
            f'<text x="{left:.4f}" y="{above:.4f}">{found["label"]}</text></g>'
        )
    return "".join(pieces)


def verdict(pixels: np.ndarray, objects: List[Dict[str, Any]]) -> str:
    """What was found, from left to right, and what the detector was given."""
    chips = "".join(
        f'<li style="--colour: {COLOURS[found["class_id"] % len(COLOURS)]}" data-label="{found["label"]}">'
        f"<b>{found['label']}</b><span>{found['score']:.0%}</span></li>"
        for found in sorted(objects, key=lambda found: found["box"][0])
    )
    said = f"<ul>{chips}</ul>" if objects else "<p>No digit that it knows. Try larger strokes, or an example.</p>"
    return f"""<section class="card"><h3>The detector sees</h3>{said}</section>
<section class="card given"><img src="{png(pixels)}" alt="The drawing as the detector gets it"/>
<p>This is all it gets: {CANVAS}x{CANVAS} pixels. Your drawing was brought to the size and the softness of the digits
that it was trained on, and its boxes back to your drawing.</p></section>"""


def answer(detector: Predictor, strokes: Any) -> Dict[str, str]:
    """For the strokes of the page: "boxes" to lay over them, and what is to be "said"."""
    try:
        pixels, objects, placement = detect(detector, read_strokes(strokes))
    except UserError as error:
        words = escape(str(error)).capitalize()
        return {"boxes": "", "said": f'<section class="card"><h3>The detector waits</h3><p>{words}.</p></section>'}
    return {"boxes": overlay(objects, placement), "said": verdict(pixels, objects)}


def paper() -> str:
    """The canvas to draw on, its buttons and examples, and room for the answers."""
    examples = "".join(
        f'<button class="example" type="button" data-strokes="{json.dumps(strokes)}" aria-label="Example {number}">'
        f'<svg viewBox="0 0 1 1">{_lines(strokes)}</svg></button>'
        for number, strokes in enumerate(EXAMPLES, 1)
    )
    return f"""<div class="drawing"><section class="card">
<h3>Draw digits <small>as many as you like, of any size</small></h3>
<svg class="paper" viewBox="0 0 1 1"><g class="ink"></g><g class="found"></g></svg>
<div class="tools"><button class="undo" type="button">Undo</button><button class="clear" type="button">Clear</button>
{examples}</div></section>
<div class="said"></div></div>"""


def _lines(strokes: Sequence[Stroke]) -> str:
    points = (" ".join(f"{x},{y}" for x, y in stroke) for stroke in strokes)
    return "".join(f'<polyline points="{line}"/>' for line in points)
