"""Pictures of discs and squares with their masks, as files of each format that is read."""

import json

import numpy as np
from PIL import Image, ImageDraw

NAMES = ["background", "disc", "square"]
COLOURS = ((30, 30, 60), (200, 80, 60), (60, 180, 90))


def shapes(rng, size=(48, 64)):
    """A picture, its mask, and the corners of its disc and its square."""
    height, width = size
    image, mask = Image.new("RGB", (width, height), COLOURS[0]), Image.new("L", (width, height))
    boxes = []
    for number, kind in enumerate(("ellipse", "rectangle"), 1):
        side = int(rng.integers(12, 20))
        left, top = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        boxes.append((left, top, left + side, top + side))
        for drawn, colour in ((image, COLOURS[number]), (mask, number)):
            getattr(ImageDraw.Draw(drawn), kind)(boxes[-1], colour)
    noise = rng.integers(-20, 20, [height, width, 3])
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8)), np.asarray(mask), boxes


def write_masks(folder, counts=(24, 8), seed=0):
    """``images/{train,val}`` and ``masks/{train,val}``, and labels.txt."""
    rng = np.random.default_rng(seed)
    for part, count in zip(("train", "val"), counts):
        for kind in ("images", "masks"):
            (folder / kind / part).mkdir(parents=True)
        for number in range(count):
            image, mask, _ = shapes(rng)
            image.save(folder / "images" / part / f"{number}.png")
            Image.fromarray(mask).save(folder / "masks" / part / f"{number}.png")
    (folder / "labels.txt").write_text("\n".join(NAMES) + "\n")


def write_coco(folder, counts=(10, 4), seed=0):
    """``train.json`` and ``test.json``, polygons and run lengths in turn, and their pictures beside them."""
    rng = np.random.default_rng(seed)
    for part, count in zip(("train", "test"), counts):
        (folder / part).mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            image, mask, boxes = shapes(rng)
            image.save(folder / part / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": image.width, "height": image.height})
            left, top, right, bottom = boxes[1]
            polygon = [left, top, right, top, right, bottom, left, bottom]
            for category, outline in ((1, runs(mask == 1)), (2, [polygon])):
                entry = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
                annotations.append({**entry, "segmentation": outline})
        categories = [{"id": number, "name": name} for number, name in enumerate(NAMES[1:], 1)]
        tree = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{part}.json").write_text(json.dumps(tree))


def runs(inside):
    """COCO's run lengths of a mask, not compressed."""
    flat = inside.T.ravel().astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, len(flat)]).tolist()
    return {"size": list(inside.shape), "counts": counts if not flat[0] else [0, *counts]}
