"""What the plug-ins say where the package that they are for is not installed, and where PaddleClas is looked for."""

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.parametrize(
    ("plug_in", "modules", "package", "installed"),
    [
        ("ppdet", ["ppdet"], "PaddleDetection", "paddledet"),
        ("ppseg", ["paddleseg"], "PaddleSeg", "paddleseg"),
        ("ppcls", ["ppcls", "paddleclas"], "PaddleClas", "paddleclas"),
    ],
)
def test_the_import_says_what_is_missing(plug_in, modules, package, installed):
    code = f"import sys; sys.modules.update(dict.fromkeys({modules})); import ppcoordconv.contrib.{plug_in}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    last = run.stderr.strip().splitlines()[-1]
    assert f"ppcoordconv.contrib.{plug_in} is for {package}, which can't be imported here" in last
    assert last.endswith(f"pip install {installed}, or run it in {package}'s own folder")


@pytest.mark.parametrize(
    ("init", "found"),
    [
        (None, "ppcls.arch"),  # in its own folder
        ("", "paddleclas.ppcls.arch"),  # paddleclas 2.5 and newer
        ("import os, sys; sys.path.append(os.path.dirname(__file__))", "ppcls.arch"),  # and older
    ],
)
def test_where_paddleclas_is_looked_for(tmp_path, init, found):
    arch = tmp_path / ("" if init is None else "paddleclas") / "ppcls" / "arch"
    arch.mkdir(parents=True)
    for folder in (arch, arch.parent):
        (folder / "__init__.py").touch()
    if init is not None:
        (tmp_path / "paddleclas" / "__init__.py").write_text(init)
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
    code += (
        "from ppcoordconv.contrib import ppcls as it; print(it.arch.__name__, it.arch.CoordConvert is it.CoordConvert)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.split() == [found, "True"], run.stderr
