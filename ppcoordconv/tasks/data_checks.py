"""What the command check says of a data set beside its problems: statistics, a sheet of pictures, suggestions."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

import numpy as np
from PIL import Image

from ..data import ClassificationData
from ..data.anchors import anchors_of, fit
from ..data.boxes import BoxedImage, DetectionData
from ..data.instances import InstanceData, InstanceImage
from ..data.keypoint_regions import Region
from ..data.keypoints import KeypointData, KeypointObject
from ..data.masks import SegmentationData, SegmentedImage
from ..data.readable import read_each
from ..ops.boxes import areas
from ..ops.masks import IGNORED
from ..utils.errors import UserError
from ..utils.files import atomic_write, write_text
from ..viz.draw import boxed, captioned, contact_sheet, instances, masked, pointed

# Pictures on the sheet.
SHOWN = 24
# In pixels of the network's input, the shorter side of a box that is hard to find.
SMALL = 8
# COCO's bounds of small, medium and large boxes, in square pixels.
AREAS = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}


# By height, width and a digest of the pixels, which set pictures are in, and their names.
Seen = Dict[Tuple[int, int, bytes], List[Tuple[str, str]]]


class DataCheck(NamedTuple):
    """Attributes:
    statistics: of each set, plain values.
    sheet: pictures of the training set with their annotations, uint8 ``[H, W, 3]``.
    suggestions: a sentence each.
    """

    statistics: Dict[str, Any]
    sheet: np.ndarray
    suggestions: List[str]


def check_labelled(data: ClassificationData, image_size: Sequence[int]) -> DataCheck:
    """Of a classification's data; decodes every picture."""
    statistics: Dict[str, Any] = {}
    readable: Dict[str, List[int]] = {}
    seen: Seen = {}
    for name, images in (("train", data.train), ("test", data.test)):
        readable[name], sizes = _decoded(name, images.images, images.pixels, seen)
        counts = np.bincount(images.classes, minlength=len(data.labels)).tolist()
        statistics[name] = {"pictures": len(images), **_of_sizes(sizes), "classes": dict(zip(data.labels, counts))}
    shown = [
        captioned(data.train.pixels(index), data.labels[data.train.classes[index]], side=96)
        for index in _spread(readable["train"])
    ]
    suggestions = [*_about_size(statistics["train"], image_size), *_about_same(seen)]
    counts = statistics["train"]["classes"]
    rarest, commonest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[commonest] > 5 * counts[rarest]:
        suggestions.append(
            f"{commonest!r} has {counts[commonest]} pictures to train on and {rarest!r} {counts[rarest]}: "
            "task.class_weights=balanced lets both count"
        )
    return DataCheck(statistics, contact_sheet(shown, columns=8), suggestions)


def check_boxes(
    data: DetectionData, image_size: Sequence[int], sizes: np.ndarray, anchors: List[List[int]]
) -> DataCheck:
    """Of a detection's data; decodes every picture.

    Parameters:
        sizes: ``[n, 2]``, widths and heights of the training boxes in the network's input of ``image_size``.
        anchors: the network's, ``[[width, height], ...]``.
    """
    statistics, readable, seen = _of_objects(data)
    shown = [_drawn(data.train[index], data.labels) for index in _spread(readable)]
    return DataCheck(
        statistics, contact_sheet(shown, columns=6), [*_about_boxes(sizes, image_size, anchors), *_about_same(seen)]
    )


def check_instances(data: InstanceData) -> DataCheck:
    """Of an instance segmentation's data; decodes every picture."""
    statistics, readable, seen = _of_objects(data)
    shown = [_drawn_instances(data.train[index], data.labels) for index in _spread(readable)]
    return DataCheck(statistics, contact_sheet(shown, columns=6), _about_same(seen))


def _of_objects(data: DetectionData) -> Tuple[Dict[str, Any], List[int], Seen]:
    """Statistics of both sets, the numbers of the training pictures that can be read, and which are the same."""
    statistics: Dict[str, Any] = {}
    readable: Dict[str, List[int]] = {}
    seen: Seen = {}
    for name, images in (("train", data.train), ("test", data.test)):
        readable[name], found = _decoded(name, [one.image for one in images], partial(_pixels, images), seen)
        classes = np.concatenate([image.classes for image in images])
        statistics[name] = {
            "pictures": len(images),
            **_of_sizes(found),
            "without_boxes": sum(not len(image.boxes) for image in images),
            "boxes": len(classes),
            "classes": dict(zip(data.labels, np.bincount(classes, minlength=len(data.labels)).tolist())),
            "boxes_by_area": _by_area(np.concatenate([image.boxes for image in images])),
        }
    return statistics, readable["train"], seen


def check_keypoints(data: KeypointData, region: Region) -> DataCheck:
    """Of a keypoint task's data; decodes every picture. The sheet shows what the region is of each object."""
    statistics: Dict[str, Any] = {}
    readable: Dict[str, Set[str]] = {}
    seen: Seen = {}
    for name, objects in (("train", data.train), ("test", data.test)):
        pictures = list({str(one.image): one for one in objects}.values())
        numbers, found = _decoded(name, [one.image for one in pictures], partial(_pixels, pictures), seen)
        readable[name] = {str(pictures[number].image) for number in numbers}
        points = np.stack([one.points for one in objects])
        sides = np.array([max(one.box[2:] - one.box[:2]) for one in objects])
        statistics[name] = {
            "pictures": len(pictures),
            **_of_sizes(found),
            "objects": len(objects),
            "longer_side": {"min": float(sides.min()), "median": float(np.median(sides)), "max": float(sides.max())},
            "labelled": dict(zip(data.skeleton.names, (points[:, :, 2] > 0).sum(axis=0).tolist())),
        }
    objects = [one for one in data.train if str(one.image) in readable["train"]]
    shown = [_drawn_points(objects[index], region, data.skeleton.edges) for index in _spread(list(range(len(objects))))]
    return DataCheck(statistics, contact_sheet(shown, columns=6), _about_same(seen))


def check_masks(data: SegmentationData) -> DataCheck:
    """Of a segmentation's data; decodes every picture and every mask."""
    statistics: Dict[str, Any] = {}
    readable: Dict[str, List[int]] = {}
    seen: Seen = {}
    for name, images in (("train", data.train), ("test", data.test)):
        readable[name], found = _decoded(name, [one.image for one in images], partial(_pixels, images), seen)
        masks = (images[number].mask() for number in readable[name])
        counts = np.sum([np.bincount(mask.ravel(), minlength=256) for mask in masks], axis=0)
        shares = (counts / max(1, counts[:IGNORED].sum())).round(6).tolist()
        statistics[name] = {
            "pictures": len(images),
            **_of_sizes(found),
            "shares": dict(zip(data.labels, shares)),
            "ignored": round(float(counts[IGNORED] / counts.sum()), 6),
        }
    shown = []
    for index in _spread(readable["train"]):
        pixels, _ = _shrunk(data.train[index].pixels())
        mask = Image.fromarray(data.train[index].mask()).resize(pixels.shape[1::-1], Image.Resampling.NEAREST)
        shown.append(masked(pixels, np.asarray(mask), data.labels, side=256))
    return DataCheck(statistics, contact_sheet(shown, columns=6), _about_same(seen))


def write_check(folder: Path, result: Dict[str, Any], found: Optional[DataCheck]) -> None:
    """``check.json``, and ``samples.png`` of what was found, if the data could be read."""
    write_text(folder / "check.json", json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    if found is not None:
        with atomic_write(folder / "samples.png") as file:
            Image.fromarray(found.sheet).save(file, format="PNG")


def _pixels(images: Sequence[Union[BoxedImage, KeypointObject, SegmentedImage]], index: int) -> np.ndarray:
    return images[index].pixels()


def _decoded(
    part: str, images: Sequence[Union[np.ndarray, Path]], pixels: Callable[[int], np.ndarray], seen: Seen
) -> Tuple[List[int], np.ndarray]:
    """The numbers of the pictures that can be read, and their heights and widths ``[n, 2]``; adds them to ``seen``."""
    count = len(images)

    def read(index: int) -> Tuple[Any, ...]:
        picture = np.ascontiguousarray(pixels(index))
        return (index, *picture.shape[:2], hashlib.blake2b(picture.data).digest())

    found = read_each(range(count), read, "stop")
    if not found:
        raise UserError(f"none of {count} pictures can be read")
    for index, height, width, digest in found:
        name = str(images[index]) if isinstance(images[index], Path) else f"number {index}"
        seen.setdefault((height, width, digest), []).append((part, name))
    numbers, *sizes, _ = zip(*found)
    return list(numbers), np.array(sizes).T


def _about_same(seen: Seen) -> List[str]:
    same = [places for places in seen.values() if len(places) > 1]
    if not same:
        return []
    # Those that are held out and trained on first: a figure of them says nothing.
    same.sort(key=lambda places: len({part for part, _ in places}), reverse=True)
    both = sum(len({part for part, _ in places}) > 1 for places in same)
    (_, one), (_, other) = same[0][0], same[0][-1]
    count = sum(len(places) - 1 for places in same)
    return [
        f"pictures that are the same as others: {count}, of which {both} are trained on and held out; the first: {one} "
        f"and {other}"
    ]


def _of_sizes(sizes: np.ndarray) -> Dict[str, Dict[str, int]]:
    return {
        side: {"min": int(values.min()), "median": int(np.median(values)), "max": int(values.max())}
        for side, values in zip(("height", "width"), sizes.T)
    }


def _by_area(boxes: np.ndarray) -> Dict[str, int]:
    sizes = areas(boxes)
    return {name: int(((low <= sizes) & (sizes < high)).sum()) for name, (low, high) in AREAS.items()}


def _spread(numbers: List[int]) -> List[int]:
    places = np.linspace(0, len(numbers) - 1, min(SHOWN, len(numbers))).astype(int)
    return [numbers[place] for place in places]


def _drawn(image: BoxedImage, labels: List[str]) -> np.ndarray:
    pixels, scale = _shrunk(image.pixels())
    objects = [
        {"label": labels[number], "class_id": int(number), "score": None, "box": (scale * box).tolist()}
        for number, box in zip(image.classes, image.boxes)
    ]
    return boxed(pixels, objects, side=256)


def _drawn_instances(image: InstanceImage, labels: List[str]) -> np.ndarray:
    pixels, scale = _shrunk(image.pixels())
    objects = [
        {
            "label": labels[number],
            "score": None,
            "box": (scale * box).tolist(),
            "mask": np.asarray(Image.fromarray(mask).resize(pixels.shape[1::-1], Image.Resampling.NEAREST)) > 0,
        }
        for number, box, mask in zip(image.classes, image.boxes, image.masks())
    ]
    return instances(pixels, objects, side=256)


def _drawn_points(one: KeypointObject, region: Region, edges: Sequence[Sequence[int]]) -> np.ndarray:
    pixels, points, _ = region(one)
    shown, scale = _shrunk(pixels)
    places = [(scale * x, scale * y) if seen else None for x, y, seen in points.tolist()]
    return pointed(shown, places, edges, side=256)


def _shrunk(pixels: np.ndarray) -> Tuple[np.ndarray, float]:
    """A picture of at most 256 pixels in height and width, and by what it was scaled."""
    scale = min(1.0, 256 / max(pixels.shape[:2]))
    height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height))), scale


def _about_size(statistics: Dict[str, Any], image_size: Sequence[int]) -> List[str]:
    height, width = (statistics[side]["median"] for side in ("height", "width"))
    stretched = (width / height) / (image_size[1] / image_size[0])
    if 2 / 3 <= stretched <= 3 / 2:
        return []
    area = image_size[0] * image_size[1]
    sides = [max(32, 32 * round((area * ratio) ** 0.5 / 32)) for ratio in (height / width, width / height)]
    return [
        f"pictures are {width}x{height} in the median, and task.image_size={list(image_size)} changes their shape: "
        f"{sides} keeps it, where the model takes it"
    ]


def _about_boxes(sizes: np.ndarray, image_size: Sequence[int], anchors: List[List[int]]) -> List[str]:
    suggestions = []
    small = float((sizes.min(axis=1) < SMALL).mean()) if len(sizes) else 0.0
    if small > 0.1:
        suggestions.append(
            f"{100 * small:.0f} % of the boxes are narrower than {SMALL} pixels in the network's input: a "
            f"task.image_size larger than {list(image_size)} finds more of them"
        )
    if len(np.unique(sizes, axis=0)) >= len(anchors):
        better = anchors_of(sizes, len(anchors))
        now, then = fit(sizes, anchors), fit(sizes, better)
        if then > now + 0.05:
            suggestions.append(
                f"the anchors overlap the boxes by {now:.2f} in the mean (IoU), model.anchors={better} by {then:.2f}"
            )
    return suggestions
