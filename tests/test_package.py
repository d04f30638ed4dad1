"""Installed by pip, the package stands without the repository: files, weights, configs, and the command line."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import paddle
import pytest
from packaging.requirements import Requirement

import ppcoordconv as pcc
from ppcoordconv.commands import main
from ppcoordconv.models import MODELS
from ppcoordconv.tasks import TASKS
from ppcoordconv.utils.extras import EXTRA_OF

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index"]
# Whoever installs it has no checkout on the path, and builds leave nothing in the checkout.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
CONFIG = "configs/digits/coordconv.yml"


def attempt(*command, cwd):
    return subprocess.run([*map(str, command)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


def run(*command, cwd):
    done = attempt(*command, cwd=cwd)
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


@pytest.fixture(scope="module")
def bare_python(wheel):
    """An environment where the package is installed beside Paddle and what Paddle itself requires, nothing else."""
    environment = wheel.parent / "bare"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=wheel.parent)
    (site,) = environment.glob("lib/python3*/site-packages")
    build = "paddlepaddle-gpu" if paddle.is_compiled_with_cuda() else "paddlepaddle"
    # Paddle imports setuptools without asking for it.
    for distribution in required_by(build, "setuptools"):
        for name in {Path(path).parts[0] for path in distribution.files} - {"..", "__pycache__"}:
            (site / name).symlink_to(Path(distribution.locate_file(name)).resolve())
    run(*PIP, "--python", environment / "bin" / "python", "install", *OFFLINE, wheel, cwd=wheel.parent)
    return environment / "bin" / "python"


def required_by(*requested):
    """The distributions that pip installs for those, and themselves."""
    found, names = {}, [*requested]
    while names:
        distribution = metadata.distribution(names.pop())
        found[distribution.metadata["Name"].lower()] = distribution
        needed = [Requirement(line) for line in distribution.requires or []]
        names += [
            each.name
            for each in needed
            if each.name.lower() not in found and (each.marker is None or each.marker.evaluate({"extra": ""}))
        ]
    return found.values()


def shipped():
    """What the wheel holds, by the repository."""
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "ppcoordconv").rglob("*.py")}
    data = {"ppcoordconv/py.typed", "ppcoordconv/models/zoo.json"}
    data |= {str(path.relative_to(ROOT)) for path in (ROOT / "ppcoordconv" / "models" / "weights").iterdir()}
    configs = {f"ppcoordconv/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yml")}
    return code | data | configs


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == shipped()
    assert wheel.name == f"ppcoordconv-{pcc.__version__}-py3-none-any.whl"


def shipped_names(registry):
    """Without those that other tests register."""
    return [name for name in registry.names() if registry.find(name).__module__.startswith("ppcoordconv.")]


def test_what_is_installed_imports_and_has_its_weights(python, tmp_path):
    code = (
        "import paddle, ppcoordconv as pcc; from ppcoordconv.tasks import TASKS\n"
        "from ppcoordconv.models import zoo\n"
        "for name in zoo.rows(): pcc.models.create(name, pretrained=True)\n"
        "print(pcc.__file__, pcc.__version__, TASKS.names(), pcc.models.list_models(), pcc.CoordConv(3, 4, 1))"
    )
    printed = run(python, "-c", code, cwd=tmp_path)
    assert printed.startswith(str(python.parents[1]))
    assert f"{pcc.__version__} {shipped_names(TASKS)} {shipped_names(MODELS)} CoordConv(" in printed


@pytest.mark.slow
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


LAYER_ALONE = """
import importlib.util, sys
import ppcoordconv as pcc
pcc.tune_cpu()
import numpy as np, paddle
from paddle import nn

assert [n for n in sys.argv[1:] if importlib.util.find_spec(n)] == []
x = paddle.rand([2, 3, 8, 8])
for coords in pcc.list_coords():
    assert pcc.CoordConv(3, 4, 3, padding=1, coords=coords, with_r=True)(x).shape == [2, 4, 8, 8]
for d in (1, 2, 3):
    for kind in ("", "Transpose"):
        getattr(pcc, f"CoordConv{d}D{kind}")(3, 4, 3)(paddle.rand([2, 3] + [8] * d)).sum().backward()
print(pcc.explain(pcc.CoordConv(3, 4, 3), x))
assert pcc.AddCoords()(x).shape[1] == 5 and pcc.coord_grid([4, 4]).shape == [1, 2, 4, 4]
pcc.CoordConvNormActivation(3, 4)(x)
model = pcc.convert_to_coordconv(nn.Sequential(nn.Conv2D(3, 4, 3), nn.ReLU()))
assert "0" in pcc.coord_usage(model)
deployed = pcc.convert_to_deploy(model, x)
paddle.jit.save(paddle.jit.to_static(deployed, input_spec=[paddle.static.InputSpec([None, 3, 8, 8])]), "deployed")
assert np.allclose(paddle.jit.load("deployed")(x).numpy(), model(x).numpy(), atol=1e-5)
for name in pcc.models.list_models():
    if not hasattr(paddle.vision.models, name) or name == "mobilenet_v3_small":
        pcc.models.create(name)

from ppcoordconv.deploy import Predictor
print("found", Predictor("regression")(np.zeros([1, 1, 64, 64], np.float32)).shape)
"""


def test_the_layers_and_the_predictor_need_numpy_and_paddle_alone(bare_python, tmp_path):
    shutil.copytree(ROOT / "docs" / "trained" / "regression", tmp_path / "regression")
    absent = [module for module in EXTRA_OF if module not in ("PIL", "safetensors")]  # They come with Paddle 3.
    printed = run(bare_python, "-c", LAYER_ALONE, *absent, cwd=tmp_path)
    assert "found (1, 2)" in printed


def test_infer_needs_no_extra(bare_python, tmp_path):
    trained = ROOT / "docs" / "trained"
    command = [bare_python.with_name("ppcoordconv"), "infer", "--output", "pictures"]
    command += ["--model_dir", trained / "regression", "--input", trained / "pixel_40_17.png"]
    found = json.loads(run(*command, cwd=tmp_path))
    assert abs(found["x"] - 40) < 0.1 and abs(found["y"] - 17) < 0.1


@pytest.mark.any_paddle
@pytest.mark.parametrize("name", ["train", "eval", "export"])
def test_a_command_without_its_extra_says_which_to_install(bare_python, tmp_path, name):
    command = [name, "-c", CONFIG]
    command += {"train": [], "eval": ["-w", "x"], "export": ["-w", "x", "--output_dir", "y"]}[name]
    done = attempt(bare_python.with_name("ppcoordconv"), *command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"ppcoordconv {name}: needs yaml: pip install 'ppcoordconv[train]'\n"


@pytest.mark.any_paddle
def test_tiles_without_their_extra_say_so_before_anything_is_written(bare_python, tmp_path):
    command = ["infer", "--model_dir", ROOT / "demo" / "models" / "detector", "--input", "a.png", "--output", "found"]
    done = attempt(bare_python.with_name("ppcoordconv"), *command, "--tile", "64", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "ppcoordconv infer: needs pyvips: pip install 'ppcoordconv[detection]'"
    assert not list(tmp_path.iterdir())


@pytest.mark.any_paddle
@pytest.mark.parametrize(
    ("module", "config", "extra"),
    [("sklearn", CONFIG, "train"), ("pycocotools", "configs/detection/digits_coordconv.yml", "detection")],
)
def test_an_extra_is_missed_before_the_training_begins(tmp_path, monkeypatch, capsys, module, config, extra):
    assert train_without(module, config, tmp_path, monkeypatch) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"ppcoordconv train: needs {module}: pip install 'ppcoordconv[{extra}]'\n"
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.any_paddle
def test_a_missing_module_of_no_extra_is_a_bug_and_keeps_its_traceback(tmp_path, monkeypatch):
    with pytest.raises(ModuleNotFoundError, match="ppcoordconv.training.seeds"):
        train_without("ppcoordconv.training.seeds", CONFIG, tmp_path, monkeypatch)


def train_without(module, config, folder, monkeypatch):
    """The exit status."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PPCC_TUNE_CPU", "0")
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "argv", ["ppcoordconv", "train", "-c", config])
    try:
        return main()
    except SystemExit as end:
        return end.code


USER = """import ppcoordconv as pcc

layer = pcc.CoordConv(3, 8, 3, padding="SAME", coords="gnouhp")
reveal_type(layer)
reveal_type(pcc.convert_to_coordconv)
reveal_type(pcc.deploy.Predictor("served", device="gpu").description)
pcc.CoordConv("three", 8, 3)
pcc.CoordConv(3, 8, 3, coord="gnouhp")
pcc.CoordConvv
"""


@pytest.mark.any_paddle
def test_mypy_in_a_users_project_sees_the_types(python, tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER)
    # Paddle's own types take a minute, and are not what is tested.
    (tmp_path / "mypy.ini").write_text("[mypy]\n[mypy-paddle.*]\nfollow_imports = skip\n")
    done = attempt(sys.executable, "-m", "mypy", "--python-executable", python, "user.py", cwd=tmp_path)
    for line, words in (
        (4, 'Revealed type is "ppcoordconv.layers.coord_conv.CoordConv"'),
        (5, "coords: str | ppcoordconv.coords.Coords"),
        (6, 'Revealed type is "dict[str, Any]"'),
        (7, 'Argument 1 to "CoordConv" has incompatible type "str"; expected "int"'),
        (8, 'Unexpected keyword argument "coord" for "CoordConv"; did you mean "coords"?'),
        (9, 'Module has no attribute "CoordConvv"'),
    ):
        (said,) = [
            said
            for said in done.stdout.splitlines()
            if f"user.py:{line}: note: Re" in said or f":{line}: error" in said
        ]
        assert words in said, done.stdout
    assert "Found 3 errors" in done.stdout


@pytest.mark.any_paddle
def test_the_public_names_are_what_tab_completion_shows():
    assert dir(pcc) == sorted([*pcc.__all__, "__version__"])
    assert all(getattr(pcc, name) is not None for name in dir(pcc))


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


PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```(?:python|yaml)\n# ([\w./]+)[^\n]*\n(.*?)```", PAGE, re.DOTALL)
RECIPE_COMMANDS = re.findall(r"^python tools/(\w+).py (.*)$", PAGE, re.MULTILINE)


def as_own_module(path, text):
    """The file of a recipe with absolute imports: of the user's where a recipe makes that, else of the package."""
    package = Path(path).parent.name

    def absolute(match):
        module, name = match[1] or "", match[2]
        if f"ppcoordconv/{module[1:].replace('.', '/')}.py" in {path for path, _ in RECIPES if "coords" not in path}:
            return f"from .{module.rpartition('.')[2]} import {name}"
        return f"from ppcoordconv{module if module.startswith('.') else f'.{package}'} import {name}"

    if path.endswith("coords.py"):
        text = f"from paddle import Tensor\nfrom ppcoordconv.coords import CONVENTIONS, Coords\n{text}"
    return re.sub(r"^from \.(\.\w[\w.]*)? import (.*)$", absolute, text, flags=re.MULTILINE)


@pytest.mark.any_paddle
@pytest.mark.slow
def test_what_is_registered_in_a_users_package_is_found(python, tmp_path):
    """The recipes of CONTRIBUTING.md, in a package of a user's, by the installed package."""
    (tmp_path / "mine").mkdir()
    modules = []
    for path, text in RECIPES:
        if path.endswith(".yml"):
            (tmp_path / Path(path).name).write_text(text)
            continue
        # A task and its served form have the same name, in different packages.
        name = f"{Path(path).stem}_task" if "/tasks/" in path else Path(path).stem
        modules += ["--import", f"mine.{name}"]
        (tmp_path / "mine" / f"{name}.py").write_text(as_own_module(path, text))
    shutil.copy(ROOT / "docs" / "trained" / "pixel_40_17.png", tmp_path)
    calls = []
    for command, words in RECIPE_COMMANDS:
        calls.append([command, *modules, *words.replace("configs/stripes/", "").replace("docs/trained/", "").split()])
    # One process for all, since what it imports is the installed package.
    code = f"from ppcoordconv.commands import main\nfor words in {calls!r}: assert main(words) == 0, words"
    results = run(python, "-c", code, cwd=tmp_path).splitlines()
    assert json.loads(results[0])["best"]["accuracy"] == 1
    assert "ink" in json.loads(results[-1])
    unknown = attempt(python, "-m", "ppcoordconv", "train", "-c", "tiny.yml", cwd=tmp_path)
    assert unknown.returncode == 2
    assert "there is no" in unknown.stderr
    assert len(unknown.stderr.splitlines()) == 1
