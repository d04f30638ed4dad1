"""Figures of what was learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..ops.canvas import SIZE
from ..utils.files import atomic_write


def predictions_and_coordinate_weights(
    title: str, pictures: List[Tuple[np.ndarray, str, bool]], weights: np.ndarray, names: List[str], path: Path
) -> None:
    """Draws pictures with their predictions above a CoordConv's learnt weights on its coordinates.

    Parameters:
        title: of the upper half.
        pictures: pixels, uint8 ``[H, W, 3]``; the prediction; whether it is right. Twelve to a row.
        weights: ``[out_channels, d, *kernel_size]``, the slice of ``conv.weight`` on the coordinates.
        names: of the d coordinates.
        path: the PNG file to write.
    """
    columns = 12
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(11, 1.1 * rows + 4.9), layout="constrained")
    upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=[1.1 * rows, 4.9]))
    upper.suptitle(title)
    for axes in (grid := upper.subplots(rows, columns, squeeze=False)).flat:
        axes.axis("off")
    for axes, (pixels, text, right) in zip(grid.flat, pictures):
        axes.imshow(pixels)
        axes.set_title(text, fontsize=9, color="darkgreen" if right else "red", pad=2)
    lower.suptitle("Learnt coordinate weights: one square a filter, blue negative, red positive")
    limit = float(np.abs(weights).max())
    image: Any = None
    panels = lower.subplots(1, len(names), squeeze=False)[0]
    for axes, name, kernels in zip(panels, names, weights.transpose(1, 0, 2, 3)):
        image = axes.imshow(_tiled(kernels), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set_title(f"on {name}")
        axes.axis("off")
    lower.colorbar(image, ax=list(panels), shrink=0.8)
    _write(figure, path)


def convention_grids(grids: Dict[str, Dict[str, np.ndarray]], path: Path) -> None:
    """Draws each convention's channels, with every number written in.

    Parameters:
        grids: by the convention's name and by the channel's, ``[H, W]``.
        path: the PNG file to write. Its text "Description" names the conventions.
    """
    figure = Figure(figsize=(7, 1.1 * len(grids)), dpi=150, layout="constrained")
    for block, (name, channels) in zip(figure.subfigures(len(grids), 1, squeeze=False).flat, grids.items()):
        block.suptitle(name, fontsize=10, fontweight="bold", x=0.01, ha="left")
        for axes, (title, channel) in zip(np.ravel(block.subplots(1, len(channels))), channels.items()):
            limit = max(float(np.abs(channel).max()), 1e-6)
            axes.imshow(channel, cmap="RdBu_r", vmin=-1.6 * limit, vmax=1.6 * limit, aspect="auto")
            axes.set_title(title, fontsize=9, pad=3)
            for (row, col), value in np.ndenumerate(channel):
                axes.text(col, row, f"{value:.3g}", ha="center", va="center", fontsize=7)
            axes.axis("off")
    _write(figure, path, description=", ".join(grids))


def coordinate_shares(total: Dict[str, float], per_channel: Dict[str, np.ndarray], path: Path) -> None:
    """Draws for each CoordConv how much of its weights' norm lies on the coordinates, by output channel, sorted.

    Parameters:
        total, per_channel: by the layer's name, shares from 0 to 1, the latter ``[out_channels]``.
        path: the PNG file to write.
    """
    figure = Figure(figsize=(8, 1.6 * len(total) + 0.6), layout="constrained")
    for axes, name in zip(np.ravel(figure.subplots(len(total), 1, sharex=False)), total):
        shares = np.sort(per_channel[name])[::-1]
        axes.bar(range(len(shares)), shares, width=1.0, color="tab:blue")
        axes.axhline(total[name], color="tab:red", label=f"the whole layer: {total[name]:.3f}")
        axes.set(title=name or "the layer", xlabel="output channels, sorted", ylabel="share", ylim=(0, 1))
        axes.legend(loc="upper right", fontsize=8)
    _write(figure, path)


def data_and_splits(inputs: Dict[str, np.ndarray], splits: Dict[str, Dict[str, np.ndarray]], path: Path) -> None:
    """Draws sample canvases, and below them where the squares to train and to test on have their centres.

    Parameters:
        inputs: by title, ``[H, W]``.
        splits: by title and by set, centres ``[N, 2]``, x and y.
        path: the PNG file to write.
    """
    figure = Figure(figsize=(2.6 * max(len(inputs), len(splits)), 5.6), layout="constrained")
    upper, lower = np.asarray(figure.subfigures(2, 1))
    for axes, (title, picture) in zip(np.ravel(upper.subplots(1, len(inputs))), inputs.items()):
        axes.imshow(picture, cmap="gray")
        axes.set_title(title, fontsize=9)
    for axes, (title, sets) in zip(np.ravel(lower.subplots(1, len(splits))), splits.items()):
        for name, centres in sets.items():
            axes.scatter(centres[:, 0], centres[:, 1], s=1.2, label=f"{name}: {len(centres):,}")
        axes.set(title=title, xlim=(0, SIZE - 1), ylim=(SIZE - 1, 0), aspect="equal")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=7, markerscale=4)
    _write(figure, path)


def errors_over_the_canvas(
    title: str, rows: Dict[str, Dict[str, Tuple[np.ndarray, np.ndarray]]], maximum: float, path: Path
) -> None:
    """Draws for each network how far it is off, by the place of the square.

    Parameters:
        title: what an error is.
        rows: by network and by set, centres ``[N, 2]`` and errors ``[N]``.
        maximum: errors from this on have one colour.
        path: the PNG file to write.
    """
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(2.5 * columns + 0.8, 2.7 * len(rows) + 0.4), layout="constrained")
    image: Any = None
    panels = figure.subplots(len(rows), columns, squeeze=False)
    for line, (network, sets) in zip(panels, rows.items()):
        for axes, (name, (centres, errors)) in zip(line, sets.items()):
            canvas = np.full([SIZE, SIZE], np.nan)
            canvas[centres[:, 1], centres[:, 0]] = errors
            image = axes.imshow(canvas, cmap="viridis_r", vmin=0, vmax=maximum)
            axes.set_title(f"{network}\n{name}: {float((errors < 0.5).mean()):.0%} within 0.5", fontsize=8)
            axes.set(xticks=[], yticks=[])
    figure.colorbar(image, ax=panels, label=title, shrink=0.7, extend="max")
    _write(figure, path)


def rendered_squares(rows: Dict[str, List[np.ndarray]], path: Path) -> None:
    """Draws what several networks render, one row each, a column for each sample.

    Parameters:
        rows: by title, probabilities ``[H, W]``, 0 to 1.
        path: the PNG file to write.
    """
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(1.2 * columns + 1.2, 1.3 * len(rows)), layout="constrained")
    for line, (title, pictures) in zip(figure.subplots(len(rows), columns, squeeze=False), rows.items()):
        line[0].set_ylabel(title, fontsize=8)
        for axes, picture in zip(line, pictures):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
    _write(figure, path)


def curves(panels: Dict[str, Dict[str, List[Tuple[float, float]]]], path: Path) -> None:
    """Draws lines over minutes of training.

    Parameters:
        panels: by title and by the line's name, (seconds, value).
        path: the PNG file to write.
    """
    figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
    for axes, (title, lines) in zip(np.ravel(figure.subplots(1, len(panels))), panels.items()):
        for name, points in lines.items():
            seconds, values = zip(*points)
            axes.plot(np.array(seconds) / 60, values, label=name, marker="." if len(points) < 40 else None)
        axes.set(title=title, xlabel="minutes of training")
        axes.set_xscale("log")
        axes.set_yscale("log" if "loss" in title else "linear")
        axes.legend(fontsize=7)
    _write(figure, path)


def _write(figure: Figure, path: Path, description: str = "") -> None:
    with atomic_write(path) as file:
        FigureCanvasAgg(figure).print_png(str(file), metadata={"Description": description})


def _tiled(kernels: np.ndarray) -> np.ndarray:
    """``[N, h, w]`` in a square of tiles, NaN (drawn blank) between them."""
    count, height, width = kernels.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full([rows * (height + 1) - 1, columns * (width + 1) - 1], np.nan)
    for i, kernel in enumerate(kernels):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        sheet[top : top + height, left : left + width] = kernel
    return sheet
