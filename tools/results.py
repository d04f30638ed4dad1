"""The experiments of docs/results.md: `run` trains, exports and measures them, `table` and `draw` show the results."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

from _tool import ROOT, Parser, leave, positive, run

CONFIGS = ROOT / "configs"
RECORDS = ROOT / "docs" / "results"
READMES = {"README.md": "en", "README_cn.md": "cn"}
OUTPUT = Path("output")
NETWORKS = {"coordconv": "CoordConv", "conv": "convolution"}
# By picture: what both networks were trained on, and its metric.
CURVES = {"curves.png": ("classification_{}_quadrant", "accuracy"), "corner.png": ("corner_{}_uniform", "mean_error")}


def work(arguments: argparse.Namespace) -> int:
    return {"run": run_experiments, "table": write_tables, "draw": draw_results}[arguments.what](arguments)


def run_experiments(arguments: argparse.Namespace) -> int:
    """What is done already is not done again; each run has one thread, as many run at once as there are cores."""
    from experiments import EXPERIMENTS, read_records

    from ppcoordconv.utils.errors import UserError
    from ppcoordconv.utils.files import write_text
    from ppcoordconv.utils.progress import bar

    unknown = [name for name in arguments.configs if name not in EXPERIMENTS]
    if unknown:
        raise UserError(f"there is no experiment {unknown[0]!r}; the experiments are {', '.join(EXPERIMENTS)}")
    chosen = [EXPERIMENTS[name] for name in arguments.configs or EXPERIMENTS]
    records = {e.config: read_records(RECORDS / f"{e.config}.json") for e in chosen}
    todo = [
        (e, seed) for e in chosen for seed in range(arguments.seeds or e.seeds) if str(seed) not in records[e.config]
    ]
    with bar(len(todo), unit="run") as progress, ThreadPoolExecutor(arguments.jobs) as pool:
        for (e, seed), record in zip(todo, pool.map(_train_export_measure, todo)):
            records[e.config][str(seed)] = record
            in_order = dict(sorted(records[e.config].items(), key=lambda item: int(item[0])))
            write_text(RECORDS / f"{e.config}.json", json.dumps(in_order, indent=1) + "\n")
            progress.update()
    return 0


def _train_export_measure(which: Tuple[Any, int]) -> Dict[str, Any]:
    from experiments import record_of

    from ppcoordconv.utils.progress import log_info

    experiment, seed = which
    config = CONFIGS / experiment.folder / f"{experiment.config}.yml"
    output = OUTPUT / experiment.folder / experiment.config / f"seed_{seed}"
    _tool("train", "-c", config, "-o", f"seed={seed}", f"output_dir={output}", "--resume", "auto")
    weights, inference = output / "last.pdparams", output / "inference"
    _tool("export", "-c", config, "-w", weights, "--output_dir", inference)
    exported = {
        split: json.loads(_tool("eval", "-c", config, "--model_dir", inference, "--split", split))
        for split in experiment.splits
    }
    record = record_of(output, exported)
    log_info(f"{experiment.config}, seed {seed}: {exported}, {record['seconds']:.0f} s")
    return record


def _tool(name: str, *arguments: object) -> str:
    from ppcoordconv.utils.errors import UserError

    command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
    one_core = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=one_core, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"tools/{name}.py ended with status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def write_tables(arguments: argparse.Namespace) -> int:
    from experiments import EXPERIMENTS, headline_table, page, read_records

    from ppcoordconv.utils.files import with_section, write_text

    records = {name: read_records(RECORDS / f"{name}.json") for name in EXPERIMENTS}
    path = ROOT / "docs" / "results.md"
    write_text(path, page(path.read_text(encoding="utf-8"), records))
    print(path)
    for name, language in READMES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        write_text(ROOT / name, with_section(text, "Results", headline_table(records, language)))
        print(ROOT / name)
    return 0


def draw_results(arguments: argparse.Namespace) -> int:
    """From the first seed of each experiment, which must have been run here."""
    import numpy as np
    from experiments import read_records

    from ppcoordconv.viz.plots import curves, errors_over_the_canvas, rendered_squares

    tasks = {"classification": ("pixels off", 8), "regression": ("pixels off", 8), "rendering": ("1 - IoU", 1)}
    for name, (what, most) in tasks.items():
        rows: Dict[str, Any] = {}
        for network, title in NETWORKS.items():
            panels = rows[title] = {}
            for split in ("uniform", "quadrant"):
                for part in ("train", "test"):
                    panels[f"{split}, {part}"] = _outputs(f"{name}_{network}_{split}", part)[:2]
        errors_over_the_canvas(what, rows, most, RECORDS / f"{name}.png")
        print(RECORDS / f"{name}.png")
    shown: Dict[str, Any] = {}
    for split in ("uniform", "quadrant"):
        for network, title in NETWORKS.items():
            _, _, logits = _outputs(f"rendering_{network}_{split}", "test")
            few = logits[:: len(logits) // 10][:10].reshape(-1, 64, 64)
            shown[f"{title}\n{split}"] = list(1 / (1 + np.exp(-few)))
    rendered_squares(shown, RECORDS / "squares.png")
    print(RECORDS / "squares.png")
    for picture, (config, metric) in CURVES.items():
        keys = {"train loss": "train_loss", "test loss": "loss", f"test {metric.replace('_', ' ')}": metric}
        histories = {
            title: read_records(RECORDS / f"{config.format(network)}.json")["0"]["history"]
            for network, title in NETWORKS.items()
        }
        panels = {
            title: {name: [(entry["seconds"], entry[key]) for entry in entries] for name, entries in histories.items()}
            for title, key in keys.items()
        }
        curves(panels, RECORDS / picture)
        print(RECORDS / picture)
    return 0


def _outputs(config: str, part: str) -> Tuple[Any, Any, Any]:
    from experiments import errors_by_place

    folder = "not_so_clevr"
    return errors_by_place(CONFIGS / folder / f"{config}.yml", OUTPUT / folder / config / "seed_0" / "inference", part)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="results.py", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    command = commands.add_parser("run", help="train, export and measure what docs/results has no record of")
    command.add_argument("configs", nargs="*", metavar="CONFIG", help="names, as regression_coordconv_uniform; or all")
    command.add_argument("--seeds", type=positive, help="how many; default: those of the tables")
    command.add_argument("--jobs", type=positive, default=os.cpu_count(), help="runs at once; default: the cores")
    commands.add_parser("draw", help="draw the pictures of docs/results, from runs below output/")
    commands.add_parser("table", help="write the tables of docs/results.md and the READMEs anew")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
