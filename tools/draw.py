"""Draws grids, windows and tiles, the coordinate tasks' data, what weights predict and have on the coordinates."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any, Sequence

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


def draw_encodings(arguments: argparse.Namespace) -> None:
    """The channels of each encoding along one axis; the relative ones of three samples."""
    import matplotlib.pyplot as plt
    import numpy as np
    import paddle

    import ppcoordconv as pcc
    from ppcoordconv.utils.files import atomic_write

    titles = {
        "paddle": "paddle",
        "fourier(3)": "fourier(3)",
        "gaussian_fourier(6)": "gaussian_fourier(6)",
        "learnt(3, 6)": "learnt(3, 6): random here; linear between six entries",
        "relative": "relative, to three points",
    }
    x = np.linspace(-1, 1, 201)
    maps = paddle.zeros([3, 0, 201])
    figure, rows = plt.subplots(len(titles), 1, figsize=(7, 8), layout="constrained", sharex=True)
    for axes, (name, title) in zip(rows, titles.items()):
        layer = pcc.AddCoords(name, data_format="NCL")
        if layer.table is not None:
            table = np.random.default_rng(1).uniform(-1, 1, layer.table.weight.shape)
            layer.table.weight.set_value(table.astype("float32"))
        with pcc.relative_to([[50], [100], [170]], [201]) if name == "relative" else contextlib.nullcontext():
            channels = layer(maps).numpy()
        axes.plot(x, channels[:, 0].T if name == "relative" else channels[0].T)
        axes.set_title(title, loc="left")
    rows[-1].set_xlabel("the coordinate along the axis")
    with atomic_write(arguments.output) as path:
        figure.savefig(path, format="png", dpi=110)
    plt.close(figure)


def draw_windows(arguments: argparse.Namespace) -> None:
    """Above, crops of a map with the coordinates that they have in it; below, a network in tiles."""
    import matplotlib.pyplot as plt
    import paddle
    from matplotlib.patches import Rectangle

    import ppcoordconv as pcc
    from ppcoordconv.utils.files import atomic_write

    height, width, side = 120, 180, 60
    boxes = {"tab:green": (10, 10), "tab:orange": (90, 35), "tab:purple": (110, 55)}
    radius = pcc.AddCoords("paddle", with_r=True)
    crop = paddle.zeros([1, 0, side, side])
    figure = plt.figure(figsize=(10, 6), layout="constrained")
    halves: Any = figure.subfigures(2, 1)
    above, below = halves
    whole, *crops = above.subplots(1, 1 + len(boxes), width_ratios=[3, 2, 2, 2])
    style = {"cmap": "viridis", "vmin": 0, "vmax": 1.45}
    whole.imshow(radius(paddle.zeros([1, 0, height, width]))[0, 2], **style)
    whole.set_title("the radius over the whole map")
    for axes, (colour, (left, top)) in zip(crops, boxes.items()):
        whole.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor=colour, linewidth=3))
        with pcc.window([left, top, left + side, top + side], (height, width)):
            axes.imshow(radius(crop)[0, 2], **style)
        for spine in axes.spines.values():
            spine.set(edgecolor=colour, linewidth=3)
        axes.set_title("through a window")
    paddle.seed(1)
    net = paddle.nn.Sequential(
        pcc.CoordConv(1, 16, 5, padding=2, with_r=True), paddle.nn.Tanh(), pcc.CoordConv(16, 1, 5, padding=2)
    )
    image = paddle.zeros([1, height, width])
    with paddle.no_grad():
        expected = net(image[None])[0].numpy()
        begun_anew = [paddle.concat([net(paddle.zeros([1, 1, 40, 60])) for _ in range(3)], axis=3) for _ in range(3)]
    results = {
        "a network on the whole": expected,
        "in tiles, by predict_tiled": pcc.predict_tiled(net, image, [48, 68], 8),
        "in tiles that begin their coordinates anew": paddle.concat(begun_anew, axis=2)[0].numpy(),
    }
    for axes, (title, result) in zip(below.subplots(1, 3), results.items()):
        axes.imshow(result[0], cmap="RdBu", vmin=expected.min(), vmax=expected.max())
        axes.set_title(title)
    for axes in figure.axes:
        axes.set_xticks([])
        axes.set_yticks([])
    with atomic_write(arguments.output) as path:
        figure.savefig(path, format="png", dpi=110)
    plt.close(figure)


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
    from ppcoordconv.training.evaluation import evaluate
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
    "encodings": draw_encodings,
    "windows": draw_windows,
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
