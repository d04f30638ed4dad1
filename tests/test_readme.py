"""What the README and the documentation show, works: Python blocks run, commands and links lead somewhere."""

import io
import pickle
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import call, put_environment, run_tool
from PIL import Image

from ppcoordconv.commands import main

ROOT = Path(__file__).resolve().parents[1]
README, README_CN = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_cn.md"))
PAGES = {str(path.relative_to(ROOT)): path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
AT_THE_TOP = [ROOT / name for name in ("README.md", "README_cn.md", "CHANGELOG.md", "CONTRIBUTING.md")]
SERVING = sorted((ROOT / "docs" / "serving").glob("*.md"))
# Pages whose commands are run here, one after the other, with what they ask for beside them.
GUIDES = [
    ROOT / "docs" / f"{name}.md"
    for name in (
        "aistudio",
        "benchmarks",
        "conventions",
        "converting",
        "crops",
        "fine_tuning",
        "model_zoo",
        "own_pictures",
        "several_gpus",
        "training",
    )
]
# Those whose commands take too long for that, and what runs them, with less.
RUN_ELSEWHERE = {
    "README.md": "test_commands_run_one_after_the_other",
    "docs/detection.md": "tests/deploy/test_detectors.py",
    "docs/instance_segmentation.md": "tests/tasks/test_instance_segmentation_page.py",
    "docs/keypoints.md": "tests/tasks/test_keypoints_page.py",
    "docs/own_network.md": "tests/test_package.py",
    "docs/own_boxes.md": "tests/data/test_own_boxes.py",
    "docs/segmentation.md": "tests/tasks/test_segmentation_page.py",
    "docs/placement.md": "tests/tools/test_position_data.py",
    "docs/results.md": "tests/tools/test_results_tool.py",
    "docs/trained/README.md": "tests/deploy/test_trained.py",
}
PYTHON = [
    (name, block)
    for name, path in PAGES.items()
    if path not in SERVING
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
]
FOR_GPUS = re.compile("--device gpu|--precision fp16")


@pytest.mark.parametrize(("name", "block"), PYTHON)
def test_python_blocks_run(name, block, tmp_path):
    for package in {"ppdet", "paddleseg", "ppcls"} & set(re.findall(r"^(?:from|import) (\w+)", block, re.MULTILINE)):
        pytest.importorskip(package)
    if not (tmp_path / "docs").exists():
        (tmp_path / "docs").symlink_to(ROOT / "docs")
    program = tmp_path / "program.py"
    program.write_text(block, encoding="utf-8")
    run = call(lambda _: runpy.run_path(str(program), run_name="__main__"), cwd=tmp_path)
    for value in re.findall(r"print\(.*\)  # (.*)", block):
        assert value in run.stdout


def test_commands_run_one_after_the_other(tmp_path):
    put_repository(tmp_path)
    put_data(tmp_path)
    shown, _ = of_page(ROOT / "README.md")
    commands = [line for line in shown if not line.startswith("make")]
    for tool in ("train", "eval", "export", "infer"):
        assert any(command.startswith(f"python tools/{tool}.py") for command in commands)
    for command in commands:
        do(shortened(command), tmp_path)


@pytest.mark.any_paddle
@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake (\w+)$", README, re.MULTILINE)) | {"docs"}))
def test_targets_of_make_are_there(target):
    run = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.any_paddle
@pytest.mark.slow
def test_make_quadrant(tmp_path):
    """With 20 steps in the place of two minutes. CI calls the other targets themselves, tests/demo `make demo`."""
    put_repository(tmp_path)
    (tmp_path / "configs").unlink()
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    for config in (tmp_path / "configs" / "not_so_clevr").glob("*.yml"):
        config.write_text(re.sub(r"^epochs: .*", "epochs: 1\nmax_steps: 20", config.read_text(), flags=re.MULTILINE))
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    for name in ("requirements.txt", "requirements-cpu.txt"):  # the same, whichever tools/setup.sh takes here
        (tmp_path / name).symlink_to(ROOT / "requirements-cpu.txt")
    put_environment(tmp_path / ".venv", ROOT / "requirements-cpu.txt")
    run = subprocess.run(["make", "-C", str(tmp_path), "quadrant"], cwd="/", capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    networks = re.findall(r"^(\w+) +[01][.]\d{4} +[01][.]\d{4}$", run.stdout, re.MULTILINE)
    assert networks == ["CoordConv", "deconvolution"]
    with Image.open(tmp_path / "output" / "quadrant" / "quadrant.png") as picture:
        picture.load()


@pytest.mark.any_paddle
def test_both_readmes_show_the_same():
    """So that what is run of one is run of the other."""
    for pattern in (r"^```.*?^```", r"\]\((?!README)[^)]*\)", r"^#+ ", r"^\|", r"^- "):
        shown, shown_cn = (re.findall(pattern, text, re.DOTALL | re.MULTILINE) for text in (README, README_CN))
        assert sorted(shown) == sorted(shown_cn)


@pytest.mark.parametrize("page", [page for page in SERVING if FOR_GPUS.search(page.read_text())], ids=lambda p: p.stem)
@pytest.mark.skipif("__import__('paddle').device.cuda.device_count() == 0", reason="no GPU")
def test_pages_of_serving_on_a_gpu(page, tmp_path):
    run_page(page, lambda command: True, tmp_path)


@pytest.mark.parametrize("page", SERVING, ids=lambda page: page.stem)
def test_pages_of_serving(page, tmp_path):
    if "onnx" in page.stem:
        pytest.importorskip("paddle2onnx")
    # What serves until it is stopped is tests/deploy/test_serve.py's.
    run_page(page, lambda command: not FOR_GPUS.search(command) and "ppcoordconv serve" not in command, tmp_path)


def run_page(page, is_wanted, tmp_path):
    """First a page's commands, then its programs."""
    commands, programs = of_page(page)
    put_repository(tmp_path)
    for command in filter(is_wanted, commands):
        do(command, tmp_path)
    for program in programs:
        if "import fastdeploy" in program:
            pytest.importorskip("fastdeploy")
        test_python_blocks_run(page.name, program, tmp_path)


@pytest.mark.any_paddle
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.stem == "several_gpus" else ()) for page in GUIDES],
    ids=lambda page: page.stem,
)
def test_commands_of_guides(page, tmp_path):
    put_repository(tmp_path)
    put_data(tmp_path)
    commands, _ = of_page(page)
    for command in commands:
        if command.startswith(("pip install", "pip download", "npm pack")):
            continue  # tests/test_package.py does the first
        if "--nnodes 2" in command:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                command = re.sub(r"(?<=127.0.0.1:)\d+", str(free.getsockname()[1]), command)
            other = start(shortened(command), tmp_path)
            do(shortened(command), tmp_path)
            finish(command, other)
        else:
            do(shortened(command), tmp_path)


@pytest.mark.any_paddle
def test_every_page_with_commands_is_run():
    with_commands = {name for name, page in PAGES.items() if page not in SERVING and of_page(page)[0]}
    guides = {str(page.relative_to(ROOT)) for page in GUIDES}
    assert with_commands == guides | set(RUN_ELSEWHERE)
    for where in RUN_ELSEWHERE.values():
        assert where in globals() or (ROOT / where).exists()


def put_repository(folder):
    for name in ("configs", "docs", "ppcoordconv", "tools"):
        (folder / name).symlink_to(ROOT / name)


def put_data(folder):
    """What the commands of guides name: pictures of two classes and lists of them, and an archive like CIFAR-10's."""
    rng = np.random.default_rng(0)
    for label in ("high", "low"):
        (folder / "FOLDER" / label).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "FOLDER" / label / f"{i}.png")
    for name, numbers in {"train": range(4), "val": [4]}.items():
        lines = [f"{label}/{i}.png {index}\n" for index, label in enumerate(("high", "low")) for i in numbers]
        (folder / "FOLDER" / f"{name}_list.txt").write_text("".join(lines))
    (folder / "FOLDER" / "label_list.txt").write_text("0 high\n1 low\n")
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name in ("data_batch_1", "test_batch"):
            planes = rng.integers(0, 256, (4, 3072), np.uint8)
            content = pickle.dumps({b"data": planes, b"labels": [0, 1, 2, 3]})
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def shortened(command):
    """A command of a guide, with less to do; tests/tools lets the benchmarks measure, and the experiment choose."""
    if "tools/train.py" in command or "ppcoordconv train" in command:
        return f"{command} -o epochs=1 max_steps=5"
    is_long = "tools/benchmark.py" in command or "tools/fine_tuning.py" in command
    return f"{command} --help" if is_long else command


def do(command, folder):
    """In this process where that can be."""
    program, *words = shlex.split(command)
    if program == "ppcoordconv":
        done = call(main, *words, cwd=folder)
    elif words[0] != "-m":
        done = run_tool(Path(words[0]).stem, *words[1:], cwd=folder)
        assert (program, words[0]) == ("python", f"tools/{Path(words[0]).name}")
    else:
        finish(command, start(command, folder))
        return
    assert done.status == 0, f"{command}\n{done.stderr}"


def start(command, folder):
    python, *arguments = shlex.split(command)
    assert python == "python", command
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, **pipes)


def finish(command, process):
    _, said = process.communicate()
    assert process.returncode == 0, f"{command}\n{said}"


def of_page(page):
    """The commands, but for those that only show the form, as ``[-o KEY=VALUE]``, and the Python blocks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    shown = "".join(block for language, block in blocks if not language).replace("\\\n", "")
    commands = [line for line in shown.splitlines() if " [" not in line]
    return commands, [block for language, block in blocks if language == "python"]


@pytest.mark.any_paddle
@pytest.mark.parametrize("page", AT_THE_TOP, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    """Those of docs/ are tests/test_site.py's."""
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_table_of_conventions_is_complete():
    import ppcoordconv as pcc

    page = PAGES["docs/conventions.md"].read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(pcc.list_coords())
