"""Figures of what was measured, class by class."""

from __future__ import annotations

import contextlib
import warnings
from typing import Iterator, List

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

# Fonts that have Chinese letters, on Linux, Windows and macOS.
_CHINESE = {"Noto Sans CJK SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB"}
# Curves that can be told apart by their colours.
_NAMED = 10


def confusion_matrix(counts: np.ndarray, labels: List[str]) -> np.ndarray:
    """Draws which classes are taken for which: each row coloured by its shares, up to 30 classes with the counts.

    Parameters:
        counts: ``[k, k]``, how many samples of the row's class were predicted as the column's.
        labels: of the classes.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    count = len(labels)
    is_small = count <= 30
    side = min(max(3.0, (0.45 if is_small else 0.16) * count), 30.0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Names are written as long as there is a line for each, then of some.
    ticks = range(0, count, -(-count // 180))
    names = [_short(labels[number]) for number in ticks]
    with _any_text():
        figure = Figure(figsize=(side + 2, side + 2), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if is_small:
            for row, column in np.argwhere(counts):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(ticks, names, rotation=90)
        axes.set_yticks(ticks, names)
        axes.tick_params(labelsize=10 if is_small else 7)
        axes.set(xlabel="predicted", ylabel="true")
        return _drawn(figure)


def precision_recall(precision: np.ndarray, labels: List[str]) -> np.ndarray:
    """Draws a curve for each class, and their mean; of more than ten, the ten worst are named and the others grey.

    Parameters:
        precision: ``[recalls, k]``, 0..1, at recalls spread evenly from 0 to 1; of a class without objects -1.
        labels: of the classes.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    recall = np.linspace(0, 1, len(precision))
    means = precision.mean(axis=0)
    shown = np.flatnonzero(precision.min(axis=0, initial=0) >= 0)
    named = np.sort(shown[np.argsort(means[shown], kind="stable")[:_NAMED]])
    with _any_text():
        figure = Figure(figsize=(7.5, 4.8), layout="constrained")
        axes = figure.subplots()
        for number in np.setdiff1d(shown, named):
            axes.plot(recall, precision[:, number], color="lightgrey", linewidth=0.8)
        if len(shown) > len(named):
            axes.plot([], [], color="lightgrey", label=f"{len(shown) - len(named)} others")
        for place, number in enumerate(named):
            # The number first: Matplotlib leaves out what begins with "_".
            name = f"{means[number]:.2f}  {_short(labels[number])}"
            axes.plot(recall, precision[:, number], color=f"C{place}", linewidth=1.2, label=name)
        if len(shown):
            mean = precision[:, shown].mean(axis=1)
            axes.plot(recall, mean, color="black", linewidth=3, label=f"{mean.mean():.2f}  mean")
            axes.legend(title="AP at IoU 0.5", fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.grid(color="whitesmoke")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        return _drawn(figure)


@contextlib.contextmanager
def _any_text() -> Iterator[None]:
    """Labels are drawn as they are: in Matplotlib's own font, and for what it lacks one with Chinese letters."""
    fonts = ["DejaVu Sans", *sorted(_CHINESE & set(get_font_names()))]
    with warnings.catch_warnings(), rc_context({"text.parse_math": False, "font.family": fonts}):
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that no font has becomes a box
        yield


def _short(label: str) -> str:
    return label if len(label) <= 24 else f"{label[:23]}..."


def _drawn(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
