"""Makes the data sets of docs/placement.md: one in which position decides by construction, and a real one, a task."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple
from xml.etree import ElementTree

from _tool import Parser, leave, run

if TYPE_CHECKING:
    import numpy as np

# x and y, in pixels.
Place = Tuple[float, float]
SIDE = 96
RADIUS = 4
BANDS = 4
DOTS = (160, 60)  # drawn pictures, to train and to test
# Of the 68 points of dlib's faces, those that each keypoint is the middle of. Left is the person's, as in COCO.
FACE = {
    "left_eye": range(42, 48),
    "right_eye": range(36, 42),
    "nose": (30,),
    "left_mouth": (54,),
    "right_mouth": (48,),
}
TISSUES = ["background", "left grey matter", "right grey matter", "left white matter", "right white matter"]


def bands(package: Optional[Path], folder: Path, seed: int) -> None:
    from PIL import Image

    rng = _rng(seed)
    for part, count in zip(("train", "val"), DOTS):
        for number in range(count):
            pixels, places = _dots(rng, int(rng.integers(3, 6)))
            mask = _blank()
            for x, y in places:
                mask[_disc(x, y)] = 1 + int(x * BANDS // SIDE)
            for kind, array in (("images", pixels), ("masks", mask)):
                path = folder / kind / part / f"{number:03}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    names = ["background", *(f"column {number}" for number in range(1, BANDS + 1))]
    (folder / "labels.txt").write_text("\n".join(names) + "\n")


def pairs(package: Optional[Path], folder: Path, seed: int) -> None:
    from PIL import Image

    rng = _rng(seed)
    for part, count in zip(("train", "test"), DOTS):
        pictures, annotations = [], []
        (folder / part).mkdir(parents=True)
        for number in range(1, count + 1):
            pixels, places = _dots(rng, 2, halves=True)
            Image.fromarray(pixels).save(folder / part / f"{number}.png")
            pictures.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
            keypoints = [value for x, y in sorted(places) for value in (x, y, 2)]
            box = [0, 0, SIDE, SIDE]
            annotations.append(
                {"id": number, "image_id": number, "category_id": 1, "keypoints": keypoints, "bbox": box}
            )
        _write_coco(folder / f"{part}.json", pictures, annotations, ["in the left half", "in the right half"])


def brain(package: Optional[Path], folder: Path, seed: int) -> None:
    import numpy as np
    from PIL import Image

    assert package
    with zipfile.ZipFile(package) as archive:
        names = ("t1", "gm", "wm")
        path = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
        t1, grey, white = (_nifti(gzip.decompress(archive.read(path.format(name)))) for name in names)
    half = t1.shape[0] // 2
    for z in range(30, 150, 2):
        mask = np.zeros(t1.shape[:2], np.uint8)
        for number, tissue in ((1, grey), (3, white)):
            mask[tissue[:, :, z] > 0.5 * tissue.max()] = number
        # The first axis goes from the left of the head to its right.
        mask[half:][mask[half:] > 0] += 1
        # Slices that lie side by side are alike: whole blocks are held out.
        part = "val" if z // 10 % 3 == 2 else "train"
        for kind, array in (("images", 255 * (t1[:, :, z] / t1.max())), ("masks", mask)):
            file = folder / kind / part / f"{z:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8).T[::-2, ::2].copy()).save(file)
    (folder / "labels.txt").write_text("\n".join(TISSUES) + "\n")


def faces(package: Optional[Path], folder: Path, seed: int) -> None:
    import numpy as np
    from PIL import Image

    assert package
    with tarfile.open(package) as archive:
        members = {Path(name).name: name for name in archive.getnames() if "/examples/faces/" in name}

        def read(name: str) -> bytes:
            return archive.extractfile(members[name]).read()  # type: ignore[union-attr]

        images = [
            image
            for name in ("training_with_face_landmarks.xml", "testing_with_face_landmarks.xml")
            for image in ElementTree.fromstring(read(name)).iter("image")
        ]
        files = {image.get("file", ""): read(image.get("file", "")) for image in images}
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        pictures: List[Dict[str, Any]] = []
        annotations: List[Dict[str, Any]] = []
        for number, image in enumerate(images):
            if (number % 3 == 0) != (part == "test"):
                continue
            name = f"{number}.png"
            with Image.open(io.BytesIO(files[image.get("file", "")])) as picture:
                picture.convert("RGB").save(folder / part / name)
                pictures.append({"id": number, "file_name": name, "width": picture.width, "height": picture.height})
            for box in image.iter("box"):
                places = {
                    int(p.get("name", "")): (float(p.get("x", "")), float(p.get("y", ""))) for p in box.iter("part")
                }
                keypoints: List[float] = []
                for points in FACE.values():
                    x, y = np.mean([places[n] for n in points], axis=0)
                    keypoints += [*np.clip([x, y], 0, [pictures[-1]["width"], pictures[-1]["height"]]).tolist(), 2]
                bbox = [int(box.get(side, "")) for side in ("left", "top", "width", "height")]
                entry = {"id": len(annotations) + 1, "image_id": number, "category_id": 1}
                annotations.append({**entry, "keypoints": keypoints, "bbox": bbox})
        _write_coco(folder / f"{part}.json", pictures, annotations, list(FACE))


@dataclass(frozen=True)
class Source:
    """What makes a set, what it is, and the command that writes the package it is made of; None: it is drawn."""

    make: Callable[[Optional[Path], Path, int], None]
    about: str
    download: Optional[str] = None


SETS = {
    "pairs": Source(pairs, "Keypoints: two equal dots, one in the left half of the picture and one in the right."),
    "faces": Source(
        faces,
        "Keypoints: the eyes, nose and mouth of the faces in dlib's examples, photographs of PASCAL VOC; the 68 points "
        "of each are dlib's, Boost Software License.",
        "apt-get source --download-only dlib",
    ),
    "bands": Source(bands, "Segmentation: equal dots, whose class is the quarter of the picture's width they lie in."),
    "brain": Source(
        brain,
        "Segmentation: grey and white matter of both halves in slices of the brain ICBM 152 (nonlinear, symmetric, "
        "2009a: Fonov et al. 2011, doi:10.1016/j.neuroimage.2010.07.033; free to use, copy, change and give away).",
        "pip download --no-deps nilearn==0.14.1",
    ),
}


def _rng(seed: int) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(seed)


def _blank() -> np.ndarray:
    import numpy as np

    return np.zeros([SIDE, SIDE], np.uint8)


def _disc(x: float, y: float) -> np.ndarray:
    """Whether a pixel lies in the dot around a place."""
    import numpy as np

    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2


def _dots(rng: np.random.Generator, count: int, halves: bool = False) -> Tuple[np.ndarray, List[Place]]:
    """A picture of dots that don't touch, on noise, and their middles; with ``halves``, one on each side."""
    import numpy as np

    places: List[Place] = []
    while len(places) < count:
        x, y = rng.uniform(RADIUS + 1, SIDE - RADIUS - 1, 2)
        if halves and (abs(x - SIDE / 2) < 2 or any((x < SIDE / 2) == (other < SIDE / 2) for other, _ in places)):
            continue
        if all((x - a) ** 2 + (y - b) ** 2 > (2 * RADIUS + 2) ** 2 for a, b in places):
            places.append((float(x), float(y)))
    pixels = rng.integers(0, 60, [SIDE, SIDE, 3]).astype(np.uint8)
    for x, y in places:
        pixels[_disc(x, y)] += 150
    return pixels, places


def _nifti(data: bytes) -> np.ndarray:
    """The volume ``[x, y, z]`` of a NIfTI-1 file of whole numbers or floats."""
    import numpy as np

    shape = np.frombuffer(data, "<i2", 4, 40)[1:]
    kind = {2: "u1", 4: "<i2", 16: "<f4", 64: "<f8"}[int(np.frombuffer(data, "<i2", 1, 70)[0])]
    start = int(np.frombuffer(data, "<f4", 1, 108)[0])
    return np.frombuffer(data, kind, int(np.prod(shape.astype(int))), start).reshape(shape, order="F").astype(float)


def _write_coco(file: Path, pictures: List[Any], annotations: List[Any], names: List[str]) -> None:
    category = {"id": 1, "name": "object", "keypoints": names, "skeleton": []}
    file.write_text(json.dumps({"images": pictures, "annotations": annotations, "categories": [category]}))


def work(arguments: argparse.Namespace) -> int:
    from ppcoordconv.utils.errors import UserError

    source = SETS[arguments.what]
    output = arguments.output
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"--output takes a folder that is new or empty; {output} is not")
    if source.download is None:
        source.make(None, output, arguments.seed)
        print(output)
        return 0
    try:
        source.make(arguments.package, output, 0)
    except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError, ElementTree.ParseError) as error:
        given = f"{arguments.package}: {error}"
        raise UserError(f"--package takes the file that `{source.download}` writes; {given}") from error
    print(output)
    return 0


def main(argv: List[str] | None = None) -> int:
    parser = Parser(prog="position_data.py", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for name, source in SETS.items():
        command = commands.add_parser(name, help=source.about, description=source.about)
        if source.download:
            command.add_argument("--package", required=True, type=Path, help=f"what `{source.download}` writes")
        command.add_argument("--output", required=True, type=Path, help="the folder to write")
        if not source.download:
            command.add_argument("--seed", type=int, default=0, help="of what is drawn; default: 0")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
