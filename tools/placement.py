"""The experiment of docs/placement.md: with CoordConv at the input, in the head or everywhere, and without."""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from _tool import ROOT, Parser, leave, run, tools_side_by_side

RECORDS = ROOT / "docs" / "results" / "placement.json"
PAGE = ROOT / "docs" / "placement.md"
OUTPUT = Path("output/placement")
PLACES = ("none", "input", "head", "all")
SEEDS = range(5)
# On crops: coordinates of the crop, and of its place in the picture.
WINDOWS = {"input": (), "input, windows": ("task.window=true",)}


@dataclass(frozen=True)
class Row:
    """A set of position_data.py, and the config of its name in a folder of configs/; ``metric`` is what is compared."""

    title: str
    folder: str
    metric: str


ROWS = {
    "pairs": Row("two equal dots, by the half they lie in", "keypoints", "pck"),
    "faces": Row("26 faces of photographs", "keypoints", "pck"),
    "bands": Row("equal dots, by the quarter they lie in", "segmentation", "miou"),
    "brain": Row("grey and white matter, left and right, in 40 slices", "segmentation", "miou"),
}
# The same with crops in training.
CROPPED = {"brain": ("task.crop=0.5",)}
# By set, way and seed, what a training measured at its end.
Records = Dict[str, Dict[str, Dict[str, Dict[str, Any]]]]


def ways(row: str) -> Dict[str, Tuple[str, ...]]:
    """The options of each column of a row, by its name; those on crops begin with "crops: "."""
    found: Dict[str, Tuple[str, ...]] = {place: (f"model.coord={place}",) for place in PLACES}
    if row in CROPPED:
        found["crops: none"] = ("model.coord=none", *CROPPED[row])
        for name, options in WINDOWS.items():
            found[f"crops: {name}"] = ("model.coord=input", *CROPPED[row], *options)
    return found


def work(arguments: argparse.Namespace) -> int:
    return {"run": run_experiment, "table": write_table}[arguments.what](arguments)


def run_experiment(arguments: argparse.Namespace) -> int:
    from experiments import read_records, record_of

    from ppcoordconv.utils.files import write_text

    records = read_records(RECORDS)
    for name in arguments.rows or ROWS:
        for way, options in ways(name).items():
            if way in records.setdefault(name, {}):
                continue
            output = OUTPUT / name / way.replace(": ", "_").replace(", ", "_")
            given = [f"data.path={arguments.data / name}", f"seed={list(SEEDS)}", f"output_dir={output}"]
            words = ["-c", f"configs/{ROWS[name].folder}/{name}.yml", "--resume", "auto", "-o", *options, *given]
            tools_side_by_side({name: ["train", *words]})
            runs = {str(seed): record_of(output / f"seed_{seed}", {}) for seed in SEEDS}
            for one in runs.values():
                del one["history"], one["exported"]
            records[name][way] = runs
            write_text(RECORDS, json.dumps(records, indent=1) + "\n")
    return 0


def table(records: Records, prefix: str, columns: Sequence[str]) -> str:
    """A Markdown table of the metric at the last epoch, means and standard deviations over the seeds.

    Parameters:
        prefix: of the columns' names in the records. A row that lacks runs is left out.
    """
    lines = [f"| set | metric | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for name, row in ROWS.items():
        runs = [records.get(name, {}).get(prefix + column, {}) for column in columns]
        if all(len(of_way) == len(SEEDS) for of_way in runs):
            cells = " | ".join(_cell([one["last"][row.metric] for one in of_way.values()]) for of_way in runs)
            lines.append(f"| `{name}`: {row.title} | `{row.metric}` | {cells} |")
    return "\n".join(lines)


def _cell(values: List[float]) -> str:
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}"


def write_table(arguments: argparse.Namespace) -> int:
    from experiments import read_records

    from ppcoordconv.utils.files import with_section, write_text

    records, text = read_records(RECORDS), PAGE.read_text(encoding="utf-8")
    text = with_section(text, "Places", table(records, "", PLACES))
    text = with_section(text, "Crops", table(records, "crops: ", ("none", *WINDOWS)))
    write_text(PAGE, text)
    print(PAGE)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="placement.py", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    command = commands.add_parser("run", help=f"train what {RECORDS.relative_to(ROOT)} has no record of")
    help_text = "the folder that has the sets of position_data.py, each under its name"
    command.add_argument("--data", required=True, type=Path, help=help_text)
    command.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}; default: all")
    commands.add_parser("table", help=f"write the tables of {PAGE.relative_to(ROOT)} anew")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
