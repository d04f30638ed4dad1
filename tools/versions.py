"""Which version of Paddle serves what another has exported: writes the table of docs/deployment.md."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Sequence

from _tool import ROOT, Parser, leave, run

CONFIG = "configs/not_so_clevr/regression_coordconv_quadrant.yml"
WEIGHTS = "ppcoordconv/models/weights/coordinate_regression_coordconv.pdparams"
CANVAS, PIXEL = "docs/trained/pixel_40_17.png", (40, 17)
PAGE = ROOT / "docs" / "deployment.md"
FORMATS = ("paddle", "legacy", "onnx")


def work(arguments: argparse.Namespace) -> int:
    from ppcoordconv.utils.files import with_section, write_text
    from ppcoordconv.utils.progress import bar

    pythons = {_version(python): python for python in arguments.python}
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        exports = list(itertools.product(pythons, FORMATS))
        servings = list(itertools.product(exports, pythons))
        with bar(len(exports) + len(servings), unit="run") as progress:

            def export(which: tuple) -> None:
                version, model_format = which
                options = ["--output_dir", _folder(name, which), "--format", model_format]
                _tool(pythons[version], "export", "-c", CONFIG, "-w", WEIGHTS, *options)
                progress.update()

            def serve(which: tuple) -> str:
                exported, version = which
                folder = _folder(name, exported)
                done = _tool(pythons[version], "infer", "--model_dir", folder, "--input", CANVAS)
                progress.update()
                return "yes" if _is_right(done.stdout) else "no"

            list(pool.map(export, exports))
            served = dict(zip(servings, pool.map(serve, servings)))
    lines = [
        f"| exported by | `--format` | served by {' | '.join(pythons)} |",
        f"|---|---|{'---|' * len(pythons)}",
        *(
            f"| {exported[0]} | `{exported[1]}` | {' | '.join(served[exported, version] for version in pythons)} |"
            for exported in exports
        ),
    ]
    write_text(PAGE, with_section(PAGE.read_text(encoding="utf-8"), "versions", "\n".join(lines)))
    print("\n".join(lines))
    return 0


def _folder(parent: str, exported: tuple) -> Path:
    return Path(parent) / "_".join(exported)


def _version(python: Path) -> str:
    done = subprocess.run(
        [python, "-c", "import paddle; print(paddle.__version__)"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def _tool(python: Path, tool: str, *options: object) -> subprocess.CompletedProcess:
    command: List[str] = [str(python), str(ROOT / "tools" / f"{tool}.py"), *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")


def _is_right(printed: str) -> bool:
    try:
        found = json.loads(printed)
    except ValueError:
        return False
    return "error" not in found and abs(found["x"] - PIXEL[0]) < 0.1 and abs(found["y"] - PIXEL[1]) < 0.1


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="versions.py", description=__doc__)
    parser.add_argument("python", nargs="+", type=Path, help="interpreters, each with another version of Paddle")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
