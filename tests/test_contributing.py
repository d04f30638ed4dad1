"""What CONTRIBUTING.md shows works: its files, put into a copy of the repository, train and are exported."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ENVIRONMENT, ROOT

import ppcoordconv as pcc

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = re.findall(r"```(?:python|yaml)\n# ([\w./]+)([^\n]*)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^python (tools/.*)$", PAGE, re.MULTILINE)


@pytest.mark.any_paddle
@pytest.mark.slow
def test_what_it_shows_works(tmp_path):
    for name in ("ppcoordconv", "configs", "tools", "docs/trained"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    assert len(FILES) == 6
    for name, _, text in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(text)
    # One process for all, since what it imports is the copy.
    words = [[Path(tool).stem, *rest] for tool, *rest in map(str.split, COMMANDS)]
    code = "import importlib, sys; sys.path.insert(0, 'tools')\n"
    code += f"for tool, *rest in {words!r}: assert importlib.import_module(tool).main(rest) == 0, tool"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stripes, exported, ink, again, exported_ink, served = map(json.loads, done.stdout.splitlines())
    assert stripes["best"]["accuracy"] == 1
    assert exported["checked"]
    assert exported_ink["checked"]
    assert isinstance(served["ink"], float)
    assert (tmp_path / "output" / "drawn" / "pixel_40_17.png").exists()
    assert ink["best"]["near"] == again["near"] > 0


def test_new_files_are_new_and_short():
    for name, where, text in FILES:
        assert (ROOT / name).exists() == (where == ", at its end")
        assert len([line for line in text.splitlines() if line.strip()]) <= 32


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert targets
    assert all((ROOT / target).exists() for target in targets)


def test_the_changelog_and_the_citation_are_of_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert re.search(rf"^## \[{re.escape(pcc.__version__)}\] - \S", changelog, re.MULTILINE)
    assert citation["version"] == pcc.__version__
    assert citation["preferred-citation"]["url"] == "https://arxiv.org/abs/1807.03247"


def test_forms_for_issues_ask_for_something():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").iterdir():
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(form)
        assert any(field["validations"]["required"] for field in form["body"] if "validations" in field)
