"""Installed by pip, the package stands without the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import ppcoordconv as pcc
from ppcoordconv.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]


def test_pip_install(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT / "ppcoordconv", source / "ppcoordconv", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", str(tmp_path / "site"), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import paddle, ppcoordconv as pcc\n"
        "from ppcoordconv.deploy import Predictor; from ppcoordconv.tasks import TASKS\n"
        "print(pcc.__file__, pcc.__version__, TASKS.names(), pcc.models.list_models(), pcc.CoordConv(3, 4, 1))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")], cwd=tmp_path, capture_output=True, text=True
    )
    assert printed.returncode == 0, printed.stderr
    assert str(tmp_path / "site") in printed.stdout
    assert "aistudio_conv" in pcc.models.list_models()
    assert f"{TASKS.names()} {pcc.models.list_models()} CoordConv(" in printed.stdout
    installed = {path.name for path in (tmp_path / "site").iterdir() if not path.name.endswith(".dist-info")}
    assert installed == {"ppcoordconv"}
