"""PP-YOLO's neck beside PaddleDetection's own, with the same weights: a training step, and exported; interleaved."""

from __future__ import annotations

import copy
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import paddle
from paddle import Tensor, inference, nn
from paddle.static import InputSpec

from benchmarks.timing import interleaved, mean_and_worst, median_ms
from ppcoordconv.deploy.formats import FORMATS, deploy_form
from ppcoordconv.deploy.runtimes import Settings, paddle_config
from ppcoordconv.models.necks import PPYOLOFPN
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.progress import bar

CHANNELS = [512, 1024, 2048]
OPTIONS: Dict[str, Any] = {"in_channels": CHANNELS, "coord_conv": True, "drop_block": True, "spp": True}
# Of the pictures; the finest map is an eighth of it.
SIZES, FINEST = (320, 608), 8
TRAINING_BATCHES, EXPORTED_BATCHES = (2,), (1, 4)
# The format that oneDNN runs in every version of Paddle; and what is measured of it, by whether oneDNN does.
FORMAT, ENGINES = "legacy", {"exported, oneDNN": True, "exported": False}


def measure(repeats: int = 15) -> Dict[str, Any]:
    """Times both necks in turn, with all processors.

    Parameters:
        repeats: how often each is run, after three rounds that are not counted.

    Returns:
        "rows": for each way ("what") to run them, picture size and batch, the medians "ours_ms" and "theirs_ms", and
        their "ratio". "ratios": by "what", the ratios' "mean" (geometric) and "worst".

    Raises:
        UserError: PaddleDetection is not installed.
    """
    necks = _necks()
    rows: List[Dict[str, Any]] = []
    with bar(2 * len(SIZES), unit="size") as progress:
        for size in SIZES:
            steps = {name: _step(neck) for name, neck in necks.items()}
            rows += [_row("training", steps, _maps(size, batch), repeats) for batch in TRAINING_BATCHES]
            progress.update()
            for what, onednn in ENGINES.items():
                with tempfile.TemporaryDirectory() as folder:
                    runs = {name: _exported(neck, size, Path(folder) / name, onednn) for name, neck in necks.items()}
                    for batch in EXPORTED_BATCHES:
                        rows.append(_row(what, runs, [x.numpy() for x in _maps(size, batch)], repeats))
            progress.update()
    return {"paddle": paddle.__version__, "rows": rows, "ratios": _ratios(rows)}


def as_table(result: Dict[str, Any]) -> str:
    lines = [f"{'':<20}{'picture':>9}{'batch':>7}{'ours, ms':>12}{'theirs, ms':>12}{'ratio':>8}"]
    for row in result["rows"]:
        lines.append(
            f"{row['what']:<20}{row['size']:>9}{row['batch']:>7}"
            f"{row['ours_ms']:>12.1f}{row['theirs_ms']:>12.1f}{row['ratio']:>8.3f}"
        )
    for what, ratio in result["ratios"].items():
        lines.append(f"{what:<20}{'geometric mean and worst':>40}{ratio['mean']:>8.3f}{ratio['worst']:>8.3f}")
    return "\n".join(lines)


def _necks() -> Dict[str, nn.Layer]:
    try:
        from ppdet.modeling.necks import yolo_fpn
    except ImportError as error:
        raise UserError(
            f"the necks are compared with PaddleDetection's, which can't be imported here ({error}): "
            "pip install --no-deps paddledet==2.6.0, and what tests/contrib/requirements.txt lists"
        ) from error
    theirs = yolo_fpn.PPYOLOFPN(**OPTIONS)
    ours = PPYOLOFPN(coords="paddledet_legacy", **OPTIONS)
    ours.set_state_dict(theirs.state_dict())
    return {"ours": ours, "theirs": theirs}


def _maps(size: int, batch: int) -> List[Tensor]:
    paddle.seed(0)
    sides = [size // (FINEST * 2**level) for level in range(len(CHANNELS))]
    return [paddle.randn([batch, channels, side, side]) for channels, side in zip(CHANNELS, sides)]


def _step(neck: nn.Layer) -> Callable[[List[Tensor]], None]:
    ones: Dict[int, List[Tensor]] = {}

    def run(maps: List[Tensor]) -> None:
        neck.train()
        for x in maps:
            x.stop_gradient = False
        outputs = neck(maps)
        # The gradients that arrive from above are no part of the neck's work.
        batch = maps[0].shape[0]
        if batch not in ones:
            ones[batch] = [paddle.ones_like(y) for y in outputs]
        paddle.autograd.backward(outputs, ones[batch])
        for tensor in (*maps, *neck.parameters()):
            tensor.clear_gradient()

    return run


def _exported(neck: nn.Layer, size: int, folder: Path, onednn: bool) -> Callable[[List[np.ndarray]], List[np.ndarray]]:
    """As each project exports it, at a fixed size: ours in its deploy form, theirs as it is."""
    folder.mkdir()
    neck.eval()
    maps = _maps(size, 1)
    with paddle.no_grad():
        neck(maps)
    specs = [InputSpec([None, *x.shape[1:]], "float32", f"x{level}") for level, x in enumerate(maps)]
    network = deploy_form(neck, FORMAT) if isinstance(neck, PPYOLOFPN) else copy.deepcopy(neck)
    model, *_ = FORMATS[FORMAT](network, [specs], folder)
    settings = Settings(cpu_threads=len(os.sched_getaffinity(0)))
    predictor = inference.create_predictor(paddle_config(folder / model, settings, onednn, []))

    def run(arrays: List[np.ndarray]) -> List[np.ndarray]:
        for name, array in zip(predictor.get_input_names(), arrays):
            predictor.get_input_handle(name).copy_from_cpu(array)
        predictor.run()
        return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

    return run


def _row(what: str, runs: Dict[str, Callable[[Any], Any]], inputs: List[Any], repeats: int) -> Dict[str, Any]:
    times = median_ms(interleaved({name: partial(run, inputs) for name, run in runs.items()}, repeats))
    ours, theirs = times["ours"], times["theirs"]
    batch, _, height, _ = inputs[0].shape
    row = {"what": what, "size": FINEST * height, "batch": batch}
    return {**row, "ours_ms": ours, "theirs_ms": theirs, "ratio": ours / theirs}


def _ratios(rows: List[Dict[str, Any]]) -> Dict[str, Dict[str, float]]:
    ratios = {}
    for what in dict.fromkeys(row["what"] for row in rows):
        values = [row["ratio"] for row in rows if row["what"] == what]
        ratios[what] = mean_and_worst(values)
    return ratios
