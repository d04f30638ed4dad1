"""Writes the requirements files from the lists of pyproject.toml."""

import re
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parents[1]
TESTS = ["# For the tests", "[dev]"]
SERVE = ("# For a web service", "[serve]")
ONNX = "# For ONNX; paddle2onnx 1 is for Paddle 2, 2 for Paddle 3"
# By file, its lines: "[train]" stands for what pyproject.toml lists there, a name alone for its line in those lists.
# Of a package that comes twice the first line counts.
FILES: Dict[str, List[str]] = {
    "requirements.txt": [
        "# On a machine without an NVIDIA GPU: requirements-cpu.txt",
        "paddlepaddle-gpu>=2.6.2,<3.4",
        *("numpy", "visualdl", "pytest", "[detection]"),
        *(ONNX, "paddle2onnx==1.3.1", "[onnx]"),
        *SERVE,
        *TESTS,
    ],
    "requirements-cpu.txt": [
        "# The same as requirements.txt, with the build of Paddle for CPUs.",
        "paddlepaddle==3.2.2",
        *("numpy", "visualdl", "pytest", "[detection]"),
        *(ONNX, "paddle2onnx==2.1.0", "[onnx]"),
        *SERVE,
        *TESTS,
    ],
    "demo/requirements.txt": [
        "# What the page needs, for Python 3.10 to 3.12.",
        "paddlepaddle==3.2.2",
        *("numpy", "Pillow", "gradio>=6.31,<7"),
    ],
    "docs/requirements.txt": [
        "# What builds the documentation's site, on Python 3.11: make docs",
        "[docs]",
    ],
    "tests/contrib/requirements.txt": [
        "# The newest Paddle, with what PaddleDetection, PaddleSeg and PaddleClas need. Their own lists ask for what",
        "# no longer builds, so they are installed without them: pip install -r tests/contrib/requirements.txt, then",
        "# pip install --no-deps paddledet==2.6.0 paddleseg==2.8.0 paddleclas==2.4.2",
        "paddlepaddle==3.3.1",
        *("numpy", "visualdl", "pytest", "[detection]", "opencv-python-headless", "scipy", "easydict"),
        "# PaddleDetection imports pkg_resources, which later ones don't have",
        "setuptools>=64,<81",
        *(ONNX, "paddle2onnx==2.1.0", "[onnx]"),
        *SERVE,
        *TESTS,
    ],
    "tests/demo/requirements.txt": [
        "# The page and what drives it in Chromium, which the system provides: apt-get install chromium",
        "-r ../../demo/requirements.txt",
        *("pytest", "hypothesis", "playwright>=1.50"),
    ],
}


def main() -> int:
    for file, text in requirements().items():
        (ROOT / file).write_text(text, encoding="utf-8")
    return 0


def requirements() -> Dict[str, str]:
    """By file, its text."""
    dependencies, extras = project()["dependencies"], project()["optional-dependencies"]
    lines_of = {name_of(line): line for lines in (dependencies, *extras.values()) for line in lines}
    texts = {}
    for file, items in FILES.items():
        lines: List[str] = []
        for line in (line for item in items for line in _expanded(item, extras)):
            if line.startswith(("#", "-")) or name_of(line) not in map(name_of, lines):
                lines.append(lines_of.get(line.lower(), line))
        texts[file] = "\n".join(lines) + "\n"
    return texts


def project() -> Dict[str, Any]:
    """What pyproject.toml says of the package."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _expanded(item: str, extras: Dict[str, Any]) -> Iterator[str]:
    """The lines of an extra, and of those that it names; any other item as it is."""
    found = re.fullmatch(r"(?:ppcoordconv)?\[(.+)\]", item)
    if not found:
        yield item
        return
    for extra in found.group(1).split(","):
        for line in extras[extra]:
            yield from _expanded(line, extras)


def name_of(line: str) -> str:
    """Of the package that a line asks for."""
    return re.split(r"[^\w.-]", line, maxsplit=1)[0].lower()


if __name__ == "__main__":
    sys.exit(main())
