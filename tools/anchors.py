"""Computes anchors for a detector from the boxes of a config's training data, and how well they fit."""

from __future__ import annotations

import argparse
import json
from typing import Sequence

from _tool import Parser, add_config_options, leave, positive, run


def work(arguments: argparse.Namespace) -> int:
    from ppcoordconv.config import load_config
    from ppcoordconv.data.anchors import anchors_of, fit
    from ppcoordconv.tasks import build_task
    from ppcoordconv.tasks.detection import DetectionTask
    from ppcoordconv.utils.errors import UserError

    task = build_task(load_config(arguments.config, arguments.override))
    if not isinstance(task, DetectionTask):
        raise UserError(f"{arguments.config} trains no detector: its task takes no anchors")
    sizes = task.box_sizes()
    anchors = anchors_of(sizes, arguments.count or len(task.network.anchors) * len(task.network.anchors[0]))
    print(json.dumps({"anchors": anchors, "mean_iou": round(fit(sizes, anchors), 4), "boxes": len(sizes)}))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="anchors.py", description=__doc__)
    add_config_options(parser)
    parser.add_argument("--count", type=positive, help="how many; default: as many as the config's model has")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
