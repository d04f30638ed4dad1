"""Draws conventions' grids, the coordinate tasks' data, what weights predict, how much of them is on coordinates."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Sequence

from _tool import Parser, leave, run


def work(arguments: argparse.Namespace) -> int:
    DRAWERS[arguments.what](arguments)
    print(arguments.output)
    return 0


def draw_conventions(arguments: argparse.Namespace) -> None:
    import ppcoordconv as pcc
    from ppcoordconv.coords import CONVENTIONS
    from ppcoordconv.viz.plots import convention_grids

    grids = {}
    for name in pcc.list_coords():
        channels = ("x", "y", "radius") if CONVENTIONS[name].x_first else ("y", "x", "radius")
        grids[name] = dict(zip(channels, pcc.coord_grid([3, 5], name, with_r=True)[0].numpy()))
    convention_grids(grids, arguments.output)


def draw_usage(arguments: argparse.Namespace) -> None:
    import ppcoordconv as pcc
    from ppcoordconv.config import load_config
    from ppcoordconv.tasks import trained_task
    from ppcoordconv.utils.errors import UserError
    from ppcoordconv.viz.plots import coordinate_shares

    task = trained_task(load_config(arguments.config, []), arguments.weights)
    usage = pcc.coord_usage(task.network)
    if not usage:
        raise UserError(f"the network of {arguments.config} has no CoordConv")
    total, per_channel = ({name: getattr(u, field) for name, u in usage.items()} for field in ("total", "per_channel"))
    coordinate_shares(total, per_channel, arguments.output)


def draw_predictions(arguments: argparse.Namespace) -> None:
    import paddle
    from PIL import Image

    from ppcoordconv.config import load_config
    from ppcoordconv.tasks import trained_task
    from ppcoordconv.training.trainer import evaluate
    from ppcoordconv.utils.files import atomic_write

    paddle.set_device("cpu")
    config = load_config(arguments.config, [])
    task = trained_task(config, arguments.weights)
    _, outputs = evaluate(task, task.test_samples(), config.batch_size)
    with atomic_write(arguments.output) as path:
        Image.fromarray(task.visualize(outputs)).save(path, format="PNG")


def draw_splits(arguments: argparse.Namespace) -> None:
    from ppcoordconv.data.not_so_clevr import not_so_clevr, one_hot, square
    from ppcoordconv.viz.plots import data_and_splits

    data = {
        "uniform": not_so_clevr("uniform"),
        "quadrant": not_so_clevr("quadrant"),
        "quadrant_from: 33": not_so_clevr("quadrant", quadrant_from=33),
    }
    centre = data["quadrant"].test[100]
    inputs = {f"one lit pixel, {tuple(map(int, centre))}": one_hot(centre), "its square": square(centre)}
    data_and_splits(inputs, {title: {"train": d.train, "test": d.test} for title, d in data.items()}, arguments.output)


DRAWERS = {
    "conventions": draw_conventions,
    "usage": draw_usage,
    "predictions": draw_predictions,
    "splits": draw_splits,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="draw.py", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    for name in DRAWERS:
        command = commands.add_parser(name)
        command.add_argument("--output", required=True, type=Path, help="the PNG file to write")
        if name in ("usage", "predictions"):
            command.add_argument("-c", "--config", required=True, type=Path, help="a config file")
            command.add_argument("-w", "--weights", required=True, type=Path, help="a .pdparams file")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
