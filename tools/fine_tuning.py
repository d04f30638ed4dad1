"""The experiment of docs/fine_tuning.md, few photographs of one kind with and without what was learnt of another."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

from _tool import ROOT, Parser, leave, run, tools_side_by_side

RECORDS = ROOT / "docs" / "results" / "fine_tuning.json"
PAGE = ROOT / "docs" / "fine_tuning.md"
OUTPUT = Path("output/fine_tuning")
FIRST = OUTPUT / "clothes"
CONFIG = ["-c", "configs/digits/coordconv.yml", "-o", "data.name=image_folder", "task.augment=weak"]
WAYS = {"from nothing": [], "fine-tuned": [f"model.weights={FIRST / 'last.pdparams'}"]}
# Each way takes the rate that is best with the first seed, and is then measured with the others.
RATES = ("0.002", "0.004", "0.008")
SEEDS = range(1, 6)


@dataclass(frozen=True)
class Few:
    """A row of the table: of each class, how many pictures are trained on, and how many are held out."""

    title: str
    train: int
    val: int


# By the set of pictures.py.
ROWS = {
    "faces": Few("faces of 40 persons, 2 of each", 2, 5),
    "cells": Few("solar cells, defective or not, 20 of each", 20, 50),
}
Records = Dict[str, Dict[str, Dict[str, Dict[str, Any]]]]
Train = Callable[[str, str, str, int], Dict[str, Any]]


def work(arguments: argparse.Namespace) -> int:
    return {"run": run_experiment, "table": write_table}[arguments.what](arguments)


def run_experiment(arguments: argparse.Namespace) -> int:
    from experiments import read_records, record_of

    from ppcoordconv.utils.files import write_text

    packages = {"clothes": arguments.clothes, "faces": arguments.faces, "cells": arguments.cells}

    def draw(name: str, *counts: object) -> Path:
        folder = OUTPUT / "pictures" / name
        shutil.rmtree(folder, ignore_errors=True)
        words = [name, "--package", packages[name], "--output", folder, *counts]
        tools_side_by_side({name: ["pictures", *map(str, words)]})
        return folder

    def train(row: str, way: str, rate: str, seed: int) -> Dict[str, Any]:
        few = ROWS[row]
        folder = draw(row, "--train", few.train, "--val", few.val, "--seed", seed)
        output = OUTPUT / "run"  # the same for all: what is wanted of it is in the records
        shutil.rmtree(output, ignore_errors=True)
        options = [f"data.path={folder}", "epochs=40", "batch_size=8", f"seed={seed}"]
        options += [f"optimizer.learning_rate={rate}", f"output_dir={output}", *WAYS[way]]
        tools_side_by_side({row: ["train", *CONFIG, *options]})
        return {key: value for key, value in record_of(output, {}).items() if key not in ("history", "exported")}

    folder = draw("clothes", "--train", 1000, "--val", 100)
    options = [f"data.path={folder}", "epochs=8", f"output_dir={FIRST}"]
    tools_side_by_side({"clothes": ["train", "--resume", "auto", *CONFIG, *options]})
    records = read_records(RECORDS)
    for row in arguments.rows or ROWS:
        complete(records, row, train, lambda: write_text(RECORDS, json.dumps(records, indent=1) + "\n"))
    return 0


def complete(records: Records, row: str, train: Train, save: Callable[[], None]) -> None:
    """Trains what the records of a row lack, with each rate and seed 0, and with the best of them and the other seeds.

    Parameters:
        train: with a row, a way, a rate and a seed; returns the record.
        save: called after each training.
    """
    for way in WAYS:
        runs = records.setdefault(row, {}).setdefault(way, {})
        for seed in (0, *SEEDS):
            for rate in RATES if seed == 0 else [best_rate(runs)]:
                if str(seed) not in runs.get(rate, {}):
                    record = train(row, way, rate, seed)
                    runs.setdefault(rate, {})[str(seed)] = record
                    save()


def best_rate(runs: Dict[str, Dict[str, Any]]) -> str:
    """Of seed 0, by the accuracy at the last epoch, then by the loss on what is held out."""
    return max(runs, key=lambda rate: (runs[rate]["0"]["last"]["accuracy"], -runs[rate]["0"]["last"]["loss"]))


def table(records: Records) -> str:
    """A Markdown table of the accuracies at the last epoch, means and standard deviations over the seeds but 0.

    Parameters:
        records: as ``complete`` makes them; a row that lacks runs is left out.
    """
    rows = [f"| trained on | {' | '.join(WAYS)} |", f"|---|{'---|' * len(WAYS)}"]
    rows += [
        f"| {few.title} | {' | '.join(_accuracy(records[row][way]) for way in WAYS)} |"
        for row, few in ROWS.items()
        if _is_whole(records.get(row, {}))
    ]
    return "\n".join(rows)


def _is_whole(ways: Dict[str, Dict[str, Dict[str, Any]]]) -> bool:
    return all(sum(map(len, ways.get(way, {}).values())) == len(RATES) + len(SEEDS) for way in WAYS)


def _accuracy(runs: Dict[str, Dict[str, Any]]) -> str:
    rate = best_rate(runs)
    values: List[float] = [run["last"]["accuracy"] for seed, run in runs[rate].items() if seed != "0"]
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}<br>(rate {rate})"


def write_table(arguments: argparse.Namespace) -> int:
    from experiments import read_records

    from ppcoordconv.utils.files import with_section, write_text

    write_text(PAGE, with_section(PAGE.read_text(encoding="utf-8"), "Gain", table(read_records(RECORDS))))
    print(PAGE)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="fine_tuning.py", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    command = commands.add_parser("run", help=f"train what {RECORDS.relative_to(ROOT)} has no record of")
    for name in ("clothes", "faces", "cells"):
        command.add_argument(
            f"--{name}", required=True, type=Path, metavar="FILE", help="as `pictures.py` takes --package"
        )
    command.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}; default: all")
    commands.add_parser("table", help=f"write the table of {PAGE.relative_to(ROOT)} anew")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
