"""Installed by pip, the package stands without the repository: files, weights, configs, and the command line."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ppcoordconv as pcc
from ppcoordconv.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index"]
# Whoever installs it has no checkout on the path, and builds leave nothing in the checkout.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
CONFIG = "configs/digits/coordconv.yml"


def run(*command, cwd):
    done = subprocess.run([*map(str, command)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what a build may read, with what it must leave out."""
    folder = tmp_path_factory.mktemp("package") / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "output", "build", "*.egg-info")
    return Path(shutil.copytree(ROOT, folder, ignore=ignored))


@pytest.fixture(scope="module")
def wheel(source):
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", source.parent, source, cwd=source.parent)
    (path,) = source.parent.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel):
    """An environment of its own, that sees Paddle and the other libraries of this one, and not the repository."""
    environment = wheel.parent / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=wheel.parent)
    (site,) = environment.glob("lib/python3*/site-packages")
    libraries = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n")
    run(environment / "bin" / "python", *PIP[1:], "install", *OFFLINE, wheel, cwd=wheel.parent)
    return environment / "bin" / "python"


def shipped():
    """What the wheel holds, by the repository."""
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "ppcoordconv").rglob("*.py")}
    data = {"ppcoordconv/models/zoo.json"}
    data |= {str(path.relative_to(ROOT)) for path in (ROOT / "ppcoordconv" / "models" / "weights").iterdir()}
    configs = {f"ppcoordconv/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yml")}
    return code | data | configs


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == shipped()
    assert wheel.name == f"ppcoordconv-{pcc.__version__}-py3-none-any.whl"


def test_what_is_installed_imports_and_has_its_weights(python, tmp_path):
    code = (
        "import paddle, ppcoordconv as pcc; from ppcoordconv.tasks import TASKS\n"
        "from ppcoordconv.models import zoo\n"
        "for name in zoo.rows(): pcc.models.create(name, pretrained=True)\n"
        "print(pcc.__file__, pcc.__version__, TASKS.names(), pcc.models.list_models(), pcc.CoordConv(3, 4, 1))"
    )
    printed = run(python, "-c", code, cwd=tmp_path)
    assert printed.startswith(str(python.parents[1]))
    assert f"{pcc.__version__} {TASKS.names()} {pcc.models.list_models()} CoordConv(" in printed


def test_the_command_from_a_config_to_a_served_model(python, tmp_path):
    command = python.with_name("ppcoordconv")
    shutil.copytree(ROOT / "docs" / "digits", tmp_path / "digits")
    assert run(command, "--version", cwd=tmp_path) == f"ppcoordconv {pcc.__version__}\n"
    trained = json.loads(run(command, "train", "-c", CONFIG, "-o", "epochs=1", cwd=tmp_path))
    weights = tmp_path / "output" / "coordconv" / "last.pdparams"
    metrics = json.loads(run(command, "eval", "-c", CONFIG, "-w", weights, cwd=tmp_path))
    assert metrics["accuracy"] == trained["last"]["accuracy"]
    run(command, "export", "-c", CONFIG, "-w", weights, "--output_dir", "served", cwd=tmp_path)
    lines = run(python, "-m", "ppcoordconv", "infer", "--model_dir", "served", "--input", "digits", cwd=tmp_path)
    assert [json.loads(line)["input"] for line in lines.splitlines()] == [
        f"digits/{path.name}" for path in sorted((tmp_path / "digits").iterdir())
    ]


@pytest.mark.any_paddle
def test_the_sdist_makes_the_same_wheel(source, wheel, tmp_path):
    code = "from setuptools import build_meta; build_meta.build_sdist('.')"
    run(sys.executable, "-c", code, cwd=source)
    (sdist,) = source.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert not [name for name in names if name.startswith(("tests", "docs", "tools"))]
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", tmp_path, sdist, cwd=tmp_path)
    assert zipfile.ZipFile(tmp_path / wheel.name).namelist() == zipfile.ZipFile(wheel).namelist()


@pytest.mark.any_paddle
def test_installed_in_place_it_is_the_checkout(source, tmp_path):
    site = tmp_path / "site"
    run(*PIP, "install", *OFFLINE, "--target", site, "--editable", source, cwd=tmp_path)
    code = f"import site; site.addsitedir({str(site)!r}); import ppcoordconv, ppcoordconv.config as c; "
    code += f"print(ppcoordconv.__file__); print(c.load_config(c.Path({CONFIG!r}), []).output_dir)"
    printed = run(sys.executable, "-c", code, cwd=tmp_path)
    assert printed.splitlines() == [str(source / "ppcoordconv" / "__init__.py"), "output/coordconv"]
