"""Exports of labelling tools, as each writes them, of the same few pictures with boxes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import List

import numpy as np
from PIL import Image

LABELS = ["cat", "dog"]
WIDTH, HEIGHT = 64, 48


def scene(count: int = 10, seed: int = 0) -> List[SimpleNamespace]:
    """Grey pictures, with cats that are light and dogs that are dark, in boxes of whole pixels."""
    rng = np.random.default_rng(seed)
    pictures = []
    for number in range(count):
        pixels = np.full([HEIGHT, WIDTH, 3], 128, np.uint8)
        boxes = []
        for part in range(2):  # one in each half, so that none hides another
            left, top = int(rng.integers(32 * part, 32 * part + 12)), int(rng.integers(0, 24))
            right, bottom = left + int(rng.integers(8, 20)), top + int(rng.integers(8, 24))
            label = LABELS[int(rng.integers(2))]
            pixels[top:bottom, left:right] = 250 if label == "cat" else 5
            boxes.append((label, (left, top, right, bottom)))
        pictures.append(SimpleNamespace(name=f"{number:03}.png", pixels=pixels, boxes=boxes))
    return pictures


def save(folder: Path, pictures: List[SimpleNamespace], prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        Image.fromarray(picture.pixels).save(folder / f"{prefix}{picture.name}")


def coco_tree(pictures: List[SimpleNamespace], file_name: str = "{}", categories: List[dict] = ()) -> dict:
    """A COCO file; ``categories`` by default are the labels from 1 on."""
    categories = categories or [{"id": n, "name": label, "supercategory": ""} for n, label in enumerate(LABELS, 1)]
    number = {category["name"]: category["id"] for category in categories}
    images, annotations = [], []
    for key, picture in enumerate(pictures, 1):
        images.append({"id": key, "width": WIDTH, "height": HEIGHT, "file_name": file_name.format(picture.name)})
        for label, (left, top, right, bottom) in picture.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": key,
                    "category_id": number[label],
                    "segmentation": [],
                    "area": float((right - left) * (bottom - top)),
                    "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
                    "iscrowd": 0,
                }
            )
    return {"info": {}, "licenses": [], "categories": categories, "images": images, "annotations": annotations}


def label_studio(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """ "COCO with images", of a server on Windows: ids from 0, eight digits before each name, backslashes."""
    save(folder / "images", pictures, prefix="3f2a90bc-")
    tree = coco_tree(pictures, r"images\3f2a90bc-{}", [{"id": n, "name": label} for n, label in enumerate(LABELS)])
    for n, image in enumerate(tree["images"]):
        image["id"] = n
    for n, annotation in enumerate(tree["annotations"]):
        annotation.update(id=n, image_id=annotation["image_id"] - 1, ignore=0)
    (folder / "result.json").write_text(json.dumps(tree, indent=2))


def cvat(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """ "COCO 1.0" with "Save images"."""
    save(folder / "images" / "default", pictures)
    (folder / "annotations").mkdir()
    tree = coco_tree(pictures)
    for annotation in tree["annotations"]:
        annotation["attributes"] = {"occluded": False, "rotation": 0.0}
    (folder / "annotations" / "instances_default.json").write_text(json.dumps(tree))


def roboflow(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """ "COCO", three parts with their pictures, and a root of the categories without a box."""
    categories = [{"id": 0, "name": "animals", "supercategory": "none"}]
    categories += [{"id": n, "name": label, "supercategory": "animals"} for n, label in enumerate(LABELS, 1)]
    for part, some in (("train", pictures[:6]), ("valid", pictures[6:8]), ("test", pictures[8:])):
        save(folder / part, some)
        (folder / part / "_annotations.coco.json").write_text(json.dumps(coco_tree(some, categories=categories)))


XML = """<annotation>
\t<folder>{folder}</folder>
\t<filename>{name}</filename>
\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>
\t<segmented>0</segmented>
{objects}
</annotation>
"""
XML_OBJECT = """\t<object>
\t\t<name>{label}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
\t\t<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>
\t</object>"""


def write_xml(folder: Path, pictures: List[SimpleNamespace]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        objects = [
            XML_OBJECT.format(label=label, xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
            for label, (left, top, right, bottom) in picture.boxes
        ]
        text = XML.format(folder="x", name=picture.name, width=WIDTH, height=HEIGHT, objects="\n".join(objects))
        (folder / picture.name).with_suffix(".xml").write_text(text)


def voc(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """VOC's development kit."""
    save(folder / "JPEGImages", pictures)
    write_xml(folder / "Annotations", pictures)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for split, some in (("train", pictures[:8]), ("val", pictures[8:]), ("trainval", pictures)):
        names = "".join(f"{Path(picture.name).stem}\n" for picture in some)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(names)


def labelimg(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """XML files beside their pictures."""
    save(folder, pictures)
    write_xml(folder, pictures)


def write_txt(folder: Path, pictures: List[SimpleNamespace]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        lines = [
            f"{LABELS.index(label)} {(left + right) / 2 / WIDTH:.6f} {(top + bottom) / 2 / HEIGHT:.6f} "
            f"{(right - left) / WIDTH:.6f} {(bottom - top) / HEIGHT:.6f}\n"
            for label, (left, top, right, bottom) in picture.boxes
        ]
        (folder / picture.name).with_suffix(".txt").write_text("".join(lines))


def yolo(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """ "YOLOv8" of Roboflow, whose paths lead one folder too high."""
    for part, some in (("train", pictures[:8]), ("valid", pictures[8:])):
        save(folder / part / "images", some)
        write_txt(folder / part / "labels", some)
    (folder / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['cat', 'dog']\n"
    )


def yolo_of_label_studio(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """images/, labels/ and classes.txt."""
    save(folder / "images", pictures)
    write_txt(folder / "labels", pictures)
    (folder / "classes.txt").write_text("cat\ndog\n")


def labelme(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """A JSON file beside each picture."""
    save(folder, pictures)
    for picture in pictures:
        shapes = [
            {
                "label": label,
                "points": [[float(left), float(top)], [float(right), float(bottom)]],
                "group_id": None,
                "description": "",
                "shape_type": "rectangle",
                "flags": {},
                "mask": None,
            }
            for label, (left, top, right, bottom) in picture.boxes
        ]
        tree = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": picture.name, "imageData": None}
        tree.update(imageHeight=HEIGHT, imageWidth=WIDTH)
        (folder / picture.name).with_suffix(".json").write_text(json.dumps(tree, indent=2))


def via(folder: Path, pictures: List[SimpleNamespace]) -> None:
    """A project of VIA 2, with the pictures in a folder beside it."""
    save(folder / "images", pictures)
    metadata = {}
    for picture in pictures:
        size = (folder / "images" / picture.name).stat().st_size
        regions = [
            {
                "shape_attributes": {
                    "name": "rect",
                    "x": left,
                    "y": top,
                    "width": right - left,
                    "height": bottom - top,
                },
                "region_attributes": {"type": label},
            }
            for label, (left, top, right, bottom) in picture.boxes
        ]
        metadata[f"{picture.name}{size}"] = {
            "filename": picture.name,
            "size": size,
            "regions": regions,
            "file_attributes": {},
        }
    project = {
        "_via_settings": {},
        "_via_img_metadata": metadata,
        "_via_attributes": {},
        "_via_data_format_version": "2.0.10",
    }
    (folder / "via_project.json").write_text(json.dumps(project))


EXPORTS = {
    export.__name__: export
    for export in (label_studio, cvat, roboflow, voc, labelimg, yolo, yolo_of_label_studio, labelme, via)
}


def write_exports(folder: Path) -> None:
    """One of each kind, each in a folder of its name."""
    for name, export in EXPORTS.items():
        (folder / name).mkdir()
        export(folder / name, scene())
