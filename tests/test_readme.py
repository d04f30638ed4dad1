"""What the README and the documentation show, works: Python blocks run, commands and links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
PYTHON = [
    (name, block)
    for name, path in PAGES.items()
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
]
COMMANDS = re.findall(r"^python (tools/\w+\.py .*)$", README.replace("\\\n", ""), re.MULTILINE)


@pytest.mark.parametrize(("name", "block"), PYTHON)
def test_python_blocks_run(name, block, tmp_path):
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{block}"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    for value in re.findall(r"print\(.*\)  # (.*)", block):
        assert value in run.stdout


def test_commands_run_one_after_the_other(tmp_path, trained):
    assert {command.split()[0] for command in COMMANDS} == {
        f"tools/{t}.py" for t in ("train", "eval", "export", "infer")
    }
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    for command in COMMANDS:
        words = command.split()
        if "data.path=FOLDER" in words:
            continue  # tests/tools/test_tools.py trains on a folder
        short = ["-o", "epochs=1"] if words[0] == "tools/train.py" else []
        run = subprocess.run(
            [sys.executable, str(ROOT / words[0]), *words[1:], *short], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == 0, f"{command}\n{run.stderr}"


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[name].read_text(encoding="utf-8")):
        assert target.startswith("http") or (PAGES[name].parent / target).exists(), target


def test_the_table_of_conventions_is_complete():
    import ppcoordconv as pcc

    page = PAGES["conventions.md"].read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == pcc.list_coords()
