"""The weights that come with the package: `add` puts a run's into the table, `table` writes docs/model_zoo.md anew."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Sequence

from _tool import ROOT, Parser, leave, run

PAGE = ROOT / "docs" / "model_zoo.md"


def work(arguments: argparse.Namespace) -> int:
    return {"add": add, "table": write_table}[arguments.what](arguments)


def add(arguments: argparse.Namespace) -> int:
    from experiments import record_of, zoo_row

    from ppcoordconv.models import zoo
    from ppcoordconv.utils.files import write_text

    name, row = zoo_row(arguments.config, record_of(arguments.run, {}))
    shutil.copyfile(arguments.run / "last.pdparams", zoo.weights_path(name))
    write_text(zoo.TABLE, json.dumps(dict(sorted({**zoo.rows(), name: row}.items())), indent=1) + "\n")
    print(zoo.weights_path(name))
    return 0


def write_table(arguments: argparse.Namespace) -> int:
    from experiments import zoo_table

    from ppcoordconv.utils.files import with_section, write_text

    write_text(PAGE, with_section(PAGE.read_text(encoding="utf-8"), "Models", zoo_table()))
    print(PAGE)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="zoo.py", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    command = commands.add_parser("add", help="the weights of the last epoch, in the place of those the model has")
    command.add_argument("-c", "--config", required=True, help="a config of the package, as configs/digits/conv.yml")
    command.add_argument("--run", required=True, type=Path, help="the output_dir of a run of it")
    commands.add_parser("table", help="write the table of docs/model_zoo.md anew")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
