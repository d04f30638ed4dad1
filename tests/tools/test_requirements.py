"""The requirements files and the extras come from one list."""

from pathlib import Path

import pytest
import requirements

from ppcoordconv.utils.extras import EXTRA_OF

pytestmark = pytest.mark.any_paddle

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file", requirements.FILES)
def test_the_file_is_what_the_tool_writes(file):
    written = (ROOT / file).read_text(encoding="utf-8")
    assert written == requirements.requirements()[file], "run python tools/requirements.py"


def test_every_requirements_file_is_written_by_the_tool():
    files = [path.relative_to(ROOT) for path in ROOT.glob("[!.]*/**/*requirements*.txt") if "output" not in path.parts]
    files += [path.relative_to(ROOT) for path in ROOT.glob("requirements*.txt")]
    assert sorted(map(str, files)) == sorted(requirements.FILES)


@pytest.mark.parametrize(
    ("file", "build", "converter"),
    [  # PyPI has Paddle 2 for GPUs, Paddle 3 for CPUs.
        ("requirements.txt", "paddlepaddle-gpu", "paddle2onnx==1.3.1"),
        ("requirements-cpu.txt", "paddlepaddle", "paddle2onnx==2.1.0"),
    ],
)
def test_it_starts_from_paddle_numpy_visualdl_and_pytest(file, build, converter):
    lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    names = [requirements.name_of(line) for line in lines]
    assert names[:4] == [build, "numpy", "visualdl", "pytest"]
    assert len(set(names)) == len(names)
    assert {converter, "onnx==1.17.0"} <= set(lines)


def test_the_module_of_every_extra_is_in_the_table():
    extras = requirements.project()["optional-dependencies"]
    names = {"pyyaml": "yaml", "pillow": "PIL", "scikit-learn": "sklearn"}
    for extra in ("train", "detection", "onnx"):
        listed = [requirements.name_of(line) for line in extras[extra] if not line.startswith("ppcoordconv[")]
        assert sorted(module for module, name in EXTRA_OF.items() if name == extra) == sorted(
            names.get(name, name) for name in listed
        )


def test_the_package_alone_asks_for_numpy_and_nothing_else():
    assert [requirements.name_of(line) for line in requirements.project()["dependencies"]] == ["numpy"]
