"""Where is the pixel? Trains CoordConv and a deconvolution on three quadrants, and draws where they are right."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Sequence

from _tool import Parser, leave, run, tools_side_by_side

NETWORKS = {"coordconv": "CoordConv", "conv": "deconvolution"}
CONFIG = "configs/not_so_clevr/classification_{}_quadrant.yml"


def work(arguments: argparse.Namespace) -> int:
    from experiments import errors_by_place

    from ppcoordconv.viz.plots import errors_over_the_canvas

    output = Path("output") / "quadrant"
    limit = f"max_minutes={arguments.minutes}"
    tools_side_by_side({
        name: ["train", "-c", CONFIG.format(name), "-o", f"output_dir={output / name}", limit] for name in NETWORKS
    })  # fmt: skip
    tools_side_by_side({
        name: ["export", "-c", f"{output / name}/config.yml", "-w", f"{output / name}/last.pdparams",
               "--output_dir", f"{output / name}/inference"] for name in NETWORKS
    })  # fmt: skip
    rows = {
        title: {
            part: errors_by_place(output / name / "config.yml", output / name / "inference", part)[:2]
            for part in ("train", "test")
        }
        for name, title in NETWORKS.items()
    }
    print(f"\n{'network':<15}{'train quadrants':>17}{'test quadrant':>15}")
    for title, parts in rows.items():
        train, test = (float((errors == 0).mean()) for _, errors in parts.values())
        print(f"{title:<15}{train:>17.4f}{test:>15.4f}")
    picture = output / "quadrant.png"
    errors_over_the_canvas("pixels off", rows, 8, picture)
    print(f"\nHow far each is off, by the place of the point: {picture.resolve()}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="quadrant.py", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of training for each; default: 2")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
