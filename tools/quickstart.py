"""The whole road on real digits: trains both small networks, exports and serves them, and shows what came out."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Dict, List, Sequence

from _tool import Parser, leave, run, tools_side_by_side

NETWORKS = {"coordconv": "CoordConv", "conv": "convolution"}


def work(arguments: argparse.Namespace) -> int:
    output = Path("output") / "quickstart"
    shutil.rmtree(output, ignore_errors=True)
    tools_side_by_side({
        name: ["train", "-c", f"configs/digits/{name}.yml", "-o", f"output_dir={output / name}"] for name in NETWORKS
    })  # fmt: skip
    tools_side_by_side({
        name: ["export", "-c", f"{output / name}/config.yml", "-w", f"{output / name}/best.pdparams",
               "--output_dir", f"{output / name}/inference"] for name in NETWORKS
    })  # fmt: skip
    _write_held_out_digits(output / "held_out")
    printed = tools_side_by_side({
        name: ["infer", "--model_dir", f"{output / name}/inference", "--input", f"{output / 'held_out'}"]
        for name in NETWORKS
    })  # fmt: skip
    _report(output, {name: [json.loads(line) for line in text.splitlines()] for name, text in printed.items()})
    return 0


def _write_held_out_digits(folder: Path) -> None:
    """One PNG file each, named by number and label."""
    import numpy as np
    from PIL import Image

    from ppcoordconv.data.digits import digits

    data = digits()
    folder.mkdir(parents=True)
    for i, (pixels, label) in enumerate(zip(data.test.images, data.test.classes)):
        Image.fromarray(np.asarray(pixels)).save(folder / f"{i:03d}_{data.labels[label]}.png")


def _report(output: Path, results: Dict[str, List[dict]]) -> None:
    from benchmarks.latency import latencies

    from ppcoordconv.data.images import read_image
    from ppcoordconv.data.preprocessing import preprocess_of
    from ppcoordconv.deploy import Predictor
    from ppcoordconv.utils.weights import load_state
    from ppcoordconv.viz.plots import predictions_and_coordinate_weights

    def is_right(result: dict) -> bool:
        return Path(result["input"]).stem.endswith(f"_{result['label']}")

    weights = {name: load_state(output / name / "best.pdparams") for name in NETWORKS}
    predictors = {name: Predictor(str(output / name / "inference")) for name in NETWORKS}
    preprocess = preprocess_of(predictors["coordconv"].description["preprocess"])
    milliseconds = latencies(predictors, preprocess(read_image(Path(results["conv"][0]["input"]))))

    print(f"\n{'network':<12}{'parameters':>12}{'test accuracy':>15}{'latency/image':>15}{'file size':>12}")
    for name, title in NETWORKS.items():
        parameters = sum(value.size for value in weights[name].values())
        accuracy = sum(map(is_right, results[name])) / len(results[name])
        size = sum(path.stat().st_size for path in (output / name / "inference").iterdir())
        print(f"{title:<12}{parameters:>12,}{accuracy:>15.4f}{milliseconds[name]:>12.2f} ms{size / 1024:>8.0f} KiB")
    digits = sorted(results["coordconv"], key=is_right)
    wrong = sum(not is_right(result) for result in digits)
    title = f"Held-out digits and what the exported CoordConv reads: {wrong} of {len(digits)} wrong, shown first"
    shown = [(read_image(Path(r["input"])), f"{r['label']}  {r['score']:.0%}", is_right(r)) for r in digits[:36]]
    on_coordinates = weights["coordconv"]["conv4.conv.weight"][:, 64:]
    picture = output / "quickstart.png"
    predictions_and_coordinate_weights(title, shown, on_coordinates, ["x", "y"], picture)
    visualdl = Path(sys.executable).with_name("visualdl")
    print(f"\nDigits, predictions and the learnt coordinate weights: {picture.resolve()}")
    print(f"The training curves: {visualdl} --disable-telemetry --logdir {output.resolve()}")
    print("Next, in two minutes, what a convolution can't learn and CoordConv can: make quadrant")


def main(argv: Sequence[str] | None = None) -> int:
    return run(Parser(prog="quickstart.py", description=__doc__), argv, work)


if __name__ == "__main__":
    leave(main())
