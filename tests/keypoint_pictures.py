"""Pictures of faces of a few discs, in COCO's keypoint format: eyes, nose and mouth are where they are."""

import json

import numpy as np
from PIL import Image, ImageDraw

NAMES = ["left_eye", "right_eye", "nose", "mouth"]
CATEGORY = {"id": 1, "name": "face", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3], [2, 3], [3, 4]]}
# Where they are in a face of radius 1, and their colours.
PLACES = np.array([[-0.4, -0.3], [0.4, -0.3], [0, 0.1], [0, 0.5]])
COLOURS = ((30, 30, 200), (30, 200, 30), (220, 60, 60), (90, 0, 0))


def face(rng, number, size=(48, 64)):
    """A picture, and its annotation."""
    height, width = size
    radius = rng.uniform(10, 14)
    x, y = rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)
    image = Image.new("RGB", (width, height), (20, 20, 20))
    draw = ImageDraw.Draw(image)
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], (200, 160, 120))
    points = np.array([x, y]) + radius * PLACES
    for (left, top), colour in zip(points, COLOURS):
        draw.ellipse([left - 2, top - 2, left + 2, top + 2], colour)
    keypoints = np.concatenate([points, np.full([len(points), 1], 2)], axis=1)
    return image, {
        **{"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "area": float(3 * radius**2)},
        "bbox": [x - radius, y - radius, 2 * radius, 2 * radius],
        "keypoints": keypoints.ravel().tolist(),
    }


def write_faces(folder, counts=(24, 8), seed=0):
    """``train.json`` and ``test.json``, and their pictures beside them."""
    rng = np.random.default_rng(seed)
    for part, count in zip(("train", "test"), counts):
        (folder / part).mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            image, annotation = face(rng, number)
            image.save(folder / part / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": image.width, "height": image.height})
            annotations.append(annotation)
        tree = {"images": images, "annotations": annotations, "categories": [CATEGORY]}
        (folder / f"{part}.json").write_text(json.dumps(tree))
