"""Pictures for people to look at: captions and contact sheets."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from ..ops.masks import BACKGROUND

INK = {None: "black", True: "darkgreen", False: "red"}


def _enlarged(pixels: np.ndarray, side: int) -> Tuple[Image.Image, int]:
    """A picture whose longer side has at least ``side`` pixels, and by what it was enlarged, a whole number."""
    image = Image.fromarray(pixels)
    factor = max(1, -(-side // max(image.size)))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST), factor


def captioned(pixels: np.ndarray, text: str, right: Optional[bool] = None, side: int = 128) -> np.ndarray:
    """A picture, enlarged to at least ``side`` pixels, over a line of text, green where it is right, red where wrong.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    image, _ = _enlarged(pixels, side)
    font = ImageFont.load_default(size=16)
    width = max(image.width, int(font.getlength(text)) + 8)
    sheet = Image.new("RGB", (width, image.height + 24), "white")
    sheet.paste(image, ((width - image.width) // 2, 0))
    ImageDraw.Draw(sheet).text((width // 2, image.height + 12), text, INK[right], font, anchor="mm")
    return np.asarray(sheet)


# One after another for the classes, to be told apart on any picture.
COLOURS = ("red", "lime", "deepskyblue", "yellow", "magenta", "orange", "cyan", "violet", "springgreen", "hotpink")


def boxed(pixels: np.ndarray, objects: List[Dict[str, Any]], side: int = 128) -> np.ndarray:
    """A picture, enlarged to at least ``side`` pixels, with a box around each object, its label and score.

    Parameters:
        objects: each with "label", "class_id", "score", None of what is known, and "box", in pixels of the picture.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    image, factor = _enlarged(pixels, side)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=12)
    for found in reversed(objects):
        colour = COLOURS[found["class_id"] % len(COLOURS)]
        left, top, right, bottom = (factor * edge for edge in found["box"])
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour)
        text = found["label"] if found["score"] is None else f"{found['label']} {found['score']:.0%}"
        place = (left + 1, max(0, top - 13))
        draw.rectangle(draw.textbbox(place, text, font), fill="black")
        draw.text(place, text, colour, font)
    return np.asarray(image)


def instances(pixels: np.ndarray, objects: List[Dict[str, Any]], side: int = 128) -> np.ndarray:
    """A picture, enlarged to at least ``side`` pixels, with each object's mask, box, label and score, in a colour of
    its own.

    Parameters:
        objects: as ``boxed`` has them, each with its "mask", bool ``[H, W]``.

    Returns:
        uint8 ``[H', W', 3]``.
    """
    shown = pixels.copy()
    for number, found in reversed(list(enumerate(objects, 1))):
        inside = found["mask"]
        shown[inside] = (pixels[inside] // 2 + np.array(_colour(number)) // 2).astype(np.uint8)
    # Boxes take the colour of what they call the class.
    return boxed(shown, [{**found, "class_id": number} for number, found in enumerate(objects)], side)


def pointed(
    pixels: np.ndarray, points: Sequence[Optional[Tuple[float, float]]], edges: Sequence[Sequence[int]], side: int = 128
) -> np.ndarray:
    """A picture, enlarged to at least ``side`` pixels, with points and the lines between them.

    Parameters:
        points: x and y, in pixels of the picture; None: not drawn, nor the lines to it.
        edges: pairs of indices into the points.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    image, factor = _enlarged(pixels, side)
    draw = ImageDraw.Draw(image)
    places = [None if point is None else (factor * point[0], factor * point[1]) for point in points]
    radius = max(3, max(image.size) // 70)
    for number, (a, b) in enumerate(edges):
        ends = [place for place in (places[a], places[b]) if place]
        if len(ends) == 2:
            draw.line(ends, COLOURS[number % len(COLOURS)], width=radius // 2 + 1)
    for number, place in enumerate(places):
        if place:
            (x, y), colour = place, COLOURS[number % len(COLOURS)]
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour, "black")
    return np.asarray(image)


def indexed(mask: np.ndarray) -> Image.Image:
    """A picture with a palette, whose pixels are the numbers of ``[H, W]``; 0 is black."""
    image = Image.fromarray(mask, "L")
    colours = [(0, 0, 0), *(_colour(number) for number in range(1, int(mask.max(initial=0)) + 1))]
    image.putpalette([sample for colour in colours for sample in colour])
    return image


def masked(pixels: np.ndarray, mask: np.ndarray, labels: Sequence[str], side: int = 128) -> np.ndarray:
    """A picture, enlarged to at least ``side`` pixels, under the colours of its pixels' classes, and their names.

    Parameters:
        mask: uint8 ``[H, W]``, indices into the labels; what is none is not coloured.

    Returns:
        uint8 ``[H', W', 3]``.
    """
    known = [number for number in np.unique(mask).tolist() if number < len(labels)]
    there = [number for number in known if labels[number].lower() != BACKGROUND]
    shown = pixels.copy()
    for number in there:
        inside = mask == number
        shown[inside] = (pixels[inside] // 2 + np.array(_colour(number)) // 2).astype(np.uint8)
    image, _ = _enlarged(shown, side)
    font = ImageFont.load_default(size=12)
    places, left, top = [], 2, image.height
    for number in there:
        width = 18 + int(font.getlength(labels[number]))
        if left > 2 and left + width > image.width:
            left, top = 2, top + 16
        places.append((left, top))
        left += width
    sheet = Image.new("RGB", (image.width, top + 16), "white")
    sheet.paste(image)
    draw = ImageDraw.Draw(sheet)
    for number, (left, top) in zip(there, places):
        draw.rectangle((left, top + 4, left + 8, top + 12), _colour(number))
        draw.text((left + 11, top + 1), labels[number], "black", font)
    return np.asarray(sheet)


def _colour(number: int) -> Tuple[int, int, int]:
    """Of a class; after all of ``COLOURS`` they come again, darker, and after 40 as they were."""
    red, green, blue = ImageColor.getrgb(COLOURS[(number - 1) % len(COLOURS)])[:3]
    darker = 1 + (number - 1) // len(COLOURS) % 4
    return red // darker, green // darker, blue // darker


def contact_sheet(pictures: List[np.ndarray], columns: int) -> np.ndarray:
    """Pictures in rows of ``columns``, on white.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    height = max(p.shape[0] for p in pictures) + 4
    width = max(p.shape[1] for p in pictures) + 4
    rows = -(-len(pictures) // columns)
    sheet = np.full([rows * height, columns * width, 3], 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * height, i % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def canvas(size: int, points: Dict[str, np.ndarray], scale: int = 4) -> np.ndarray:
    """Points of several colours, a square of ``scale`` pixels each, on white.

    Parameters:
        points: by the name of a colour, ``[N, 2]``, x and y from 0 to ``size - 1``.

    Returns:
        uint8 ``[scale * size, scale * size, 3]``.
    """
    pixels = np.full([size, size, 3], 255, np.uint8)
    for colour, places in points.items():
        pixels[places[:, 1], places[:, 0]] = ImageColor.getrgb(colour)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def overlaid(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Two masks ``[H, W]`` in one picture: white where both are, red what is too much, blue what is missing."""
    return np.stack([got, got & wanted, wanted], axis=2).astype(np.uint8) * 255
