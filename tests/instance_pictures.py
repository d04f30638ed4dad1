"""Pictures of discs and squares with each one's outline, written as COCO JSON; all of a picture look the same."""

import json

import numpy as np
from PIL import Image, ImageDraw
from segmentation_pictures import COLOURS, NAMES, runs


def write_instances(folder, counts=(10, 4), size=(64, 64), number=3, seed=0):
    """``train.json`` and ``test.json``, polygons of squares, run lengths of discs, and the pictures beside them."""
    rng = np.random.default_rng(seed)
    height, width = size
    for part, count in zip(("train", "test"), counts):
        (folder / part).mkdir(parents=True)
        images, annotations = [], []
        for key in range(1, count + 1):
            image, taken = Image.new("RGB", (width, height), COLOURS[0]), np.zeros(size, bool)
            images.append({"id": key, "file_name": f"{key}.png", "width": width, "height": height})
            while len([one for one in annotations if one["image_id"] == key]) < number:
                category, side = int(rng.integers(1, len(NAMES))), int(rng.integers(12, 18))
                left, top = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
                if taken[top : top + side, left : left + side].any():
                    continue
                taken[top : top + side, left : left + side] = True
                mask, place = Image.new("L", (width, height)), (left, top, left + side - 1, top + side - 1)
                for drawn, colour in ((image, COLOURS[category]), (mask, 1)):
                    getattr(ImageDraw.Draw(drawn), ("ellipse", "rectangle")[category - 1])(place, colour)
                square = [left, top, left + side, top, left + side, top + side, left, top + side]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": key,
                        "category_id": category,
                        "segmentation": [square] if category == 2 else runs(np.asarray(mask) > 0),
                        "iscrowd": 0,
                    }
                )
            image.save(folder / part / f"{key}.png")
        categories = [{"id": number, "name": name} for number, name in enumerate(NAMES[1:], 1)]
        tree = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{part}.json").write_text(json.dumps(tree))
