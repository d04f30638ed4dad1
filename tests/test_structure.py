"""The structure: imports go downward only, the layers need Paddle alone, serving needs no network."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ppcoordconv"
# What each package or module may import, besides itself. docs/architecture.md has the same table.
BELOW = {
    "utils": set(),
    "compat": set(),
    "contexts": {"compat"},
    "encodings": set(),
    "rows": set(),
    "coords": {"encodings"},
    "coord_grids": {"compat", "coords", "encodings"},
    "given_coords": {"compat", "contexts"},
    "points": {"compat", "contexts", "coord_grids", "rows"},
    "windows": {"compat", "contexts", "coord_grids", "rows"},
    "tiling": {"compat", "given_coords", "utils", "windows"},
    "affine": set(),
    "grids": {"affine", "compat", "coord_grids", "coords", "points", "windows"},
    "offset": {"compat"},
    "forms": {"affine", "compat", "offset"},
    "functional": {"forms"},
    "layers": {"compat", "coords", "forms", "given_coords", "grids", "offset", "points", "windows"},
    "convert": {"compat", "coords", "forms", "grids", "layers", "windows"},
    "analysis": {"forms", "layers"},
    "ops": set(),
    "viz": {"ops", "utils"},
    "config": {"utils"},
    "data": {"ops", "utils"},
    "models": {"compat", "convert", "coord_grids", "coords", "layers", "ops", "utils"},
    "postprocess": {"ops", "utils", "viz"},
    "metrics": {"ops", "postprocess", "viz"},
    "tasks": {"config", "data", "layers", "metrics", "models", "ops", "postprocess", "utils", "viz"},
    "training": {"__version__", "analysis", "compat", "config", "metrics", "utils", "windows"},
    "deploy": {"compat", "convert", "data", "layers", "postprocess", "utils", "windows"},
    "contrib": {"convert", "coords", "layers", "models"},
    "commands": {"__version__", "config", "deploy", "tasks", "training", "utils"},
    "__main__": {"commands"},
}


def parts_imported(path: Path) -> set:
    """What a module imports of the package when it runs; what type checkers alone import does not count."""
    depth = len(path.relative_to(PACKAGE).parts)
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    parts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            parts |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        assert not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ppcoordconv"))
    return parts


def test_every_part_is_known():
    parts = {path.stem for path in PACKAGE.iterdir() if path.name not in ("__init__.py", "__pycache__", "py.typed")}
    assert parts == set(BELOW)


def test_the_page_of_the_architecture_has_the_same_table():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    assert {part: set(re.findall(r"`(\w+)`", imports)) for part, imports in rows} == BELOW


@pytest.mark.parametrize("part", BELOW)
def test_imports_go_downward(part):
    files = [PACKAGE / f"{part}.py"] if (PACKAGE / f"{part}.py").exists() else sorted((PACKAGE / part).rglob("*.py"))
    assert set().union(*map(parts_imported, files)) - {part} == BELOW[part]


LAYERS = [
    "compat",
    "contexts",
    "encodings",
    "coords",
    "coord_grids",
    "given_coords",
    "windows",
    "affine",
    "grids",
    "offset",
    "forms",
    "functional",
    "layers",
    "convert",
]


@pytest.mark.parametrize("name", [*LAYERS, "analysis"])
def test_the_layers_need_paddle_alone(name):
    files = [PACKAGE / f"{name}.py"] if (PACKAGE / f"{name}.py").exists() else sorted((PACKAGE / name).glob("*.py"))
    for path in files:
        assert_needs_paddle_alone(path)


def assert_needs_paddle_alone(path):
    tree = ast.parse(path.read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
    standard = {"__future__", "collections", "contextlib", "copy", "dataclasses", "difflib", "fnmatch", "hashlib"}
    standard |= {"ast", "contextvars", "re", "math", "numbers", "typing", "warnings"}
    assert imported <= standard | {"paddle", "numpy"}  # Paddle itself needs numpy


def test_the_files_that_a_notebook_takes_along_are_enough(tmp_path):
    page = (PACKAGE.parent / "docs" / "aistudio.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+\.py|\w+/)`", page[page.index("Where nothing can be installed") :])
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "__init__.py").touch()
    for name in [name for name in named if name not in ("ppcoordconv/", "__init__.py")]:
        source = PACKAGE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / "taken" / name.rstrip("/"))
    code = (
        "import paddle; from taken.layers import CoordConv; print(CoordConv(3, 8, 3)(paddle.zeros([1, 3, 5, 5])).shape)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "[1, 8, 3, 3]" in run.stdout


def test_serving_imports_no_network_and_no_task():
    code = "import sys, ppcoordconv.deploy.infer; print([m for m in sys.modules if m.startswith('ppcoordconv.')])"
    printed = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True).stdout
    assert "ppcoordconv.deploy.predictor" in printed
    for part in ("models", "tasks", "training", "config"):
        assert f"'ppcoordconv.{part}" not in printed


def test_zlib_works_after_the_import():
    code = "import ppcoordconv, zlib; print(zlib.decompress(zlib.compress(b'whole')))"
    printed = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True).stdout
    assert printed == "b'whole'\n"


def test_without_paddle_the_import_says_what_to_install(tmp_path):
    # An interpreter that sees the package and the standard library alone.
    code = f"import sys; sys.path = [p for p in sys.path if 'site-packages' not in p] + [{str(PACKAGE.parent)!r}]\n"
    code += "import ppcoordconv"
    run = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "ppcoordconv needs PaddlePaddle, which is not installed: " in run.stderr
    assert "pip install paddlepaddle (for the CPU) or pip install paddlepaddle-gpu" in run.stderr
