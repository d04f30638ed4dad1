"""What the README and the documentation show, works: Python blocks run, commands and links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
SERVING = sorted((ROOT / "docs" / "serving").glob("*.md"))
PYTHON = [
    (name, block)
    for name, path in PAGES.items()
    if path not in SERVING
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
]
FOR_GPUS = re.compile("--device gpu|--precision fp16")
COMMANDS = re.findall(r"^python (tools/\w+\.py .*)$", README.replace("\\\n", ""), re.MULTILINE)


@pytest.mark.parametrize(("name", "block"), PYTHON)
def test_python_blocks_run(name, block, tmp_path):
    if "ppdet" in re.findall(r"^(?:from|import) (\w+)", block, re.MULTILINE):
        pytest.importorskip("ppdet")
    if not (tmp_path / "docs").exists():
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


@pytest.mark.parametrize("page", [page for page in SERVING if FOR_GPUS.search(page.read_text())], ids=lambda p: p.stem)
@pytest.mark.skipif("__import__('paddle').device.cuda.device_count() == 0", reason="no GPU")
def test_pages_of_serving_on_a_gpu(page, tmp_path):
    run_page(page, lambda command: True, tmp_path)


@pytest.mark.parametrize("page", SERVING, ids=lambda page: page.stem)
def test_pages_of_serving(page, tmp_path):
    if "onnx" in page.stem:
        pytest.importorskip("paddle2onnx")
    run_page(page, lambda command: not FOR_GPUS.search(command), tmp_path)


def run_page(page, is_wanted, tmp_path):
    """First a page's commands, then its programs."""
    commands, programs = of_page(page)
    for name in ("configs", "docs", "ppcoordconv"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command in filter(is_wanted, commands):
        words = command.split()
        run = subprocess.run(
            [sys.executable, str(ROOT / words[1]), *words[2:]], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == 0, f"{command}\n{run.stderr}"
    for program in programs:
        if "import fastdeploy" in program:
            pytest.importorskip("fastdeploy")
        test_python_blocks_run(page.name, program, tmp_path)


def of_page(page):
    """The ``python tools/...`` commands and the Python blocks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
    shown = "".join(block for language, block in blocks if not language).replace("\\\n", "")
    return shown.splitlines(), [block for language, block in blocks if language == "python"]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[name].read_text(encoding="utf-8")):
        assert target.startswith("http") or (PAGES[name].parent / target).exists(), target


def test_the_table_of_conventions_is_complete():
    import ppcoordconv as pcc

    page = PAGES["conventions.md"].read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == pcc.list_coords()
