"""Configs: what is read, what is merged, and what is said of a mistake."""

import os
import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml
from conftest import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ppcoordconv.config import Config, config_of, load_config
from ppcoordconv.utils.errors import UserError

TOOLS = Path(__file__).resolve().parents[1] / "tools"
GOOD = """
task: {name: classification, shift: 2}
model: {name: aistudio_coordconv, coords: paddle}
data: {name: digits}
"""


@pytest.fixture
def config(tmp_path):
    def write(text, name="run.yml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_defaults_and_overrides(config):
    loaded = load_config(config(GOOD), ["epochs=3", "optimizer.learning_rate=1e-3", "task.shift=0", "data.path=a b"])
    assert (loaded.epochs, loaded.optimizer.learning_rate, loaded.batch_size) == (3, 1e-3, 32)
    assert loaded.task.options() == {"shift": 0}
    assert loaded.data.options() == {"path": "a b"}
    assert loaded.output_dir == "output/run"


def test_several_overrides_of_one_section_all_count(config):
    loaded = load_config(config(GOOD), ["optimizer.learning_rate=0.5", "optimizer.weight_decay=0.25"])
    assert (loaded.optimizer.learning_rate, loaded.optimizer.weight_decay) == (0.5, 0.25)


def test_what_is_dumped_is_read_back(config):
    loaded = load_config(config(GOOD), ["seed=7"])
    assert load_config(config(loaded.dump(), "config.yml"), []) == loaded


def test_base(config):
    config(GOOD, "base.yml")
    above = "_BASE_: base.yml\nepochs: 5\ntask: {shift: 1}\nmodel: {name: aistudio_conv}\n"
    loaded = load_config(config(above), [])
    assert (loaded.epochs, loaded.task.name, loaded.task.options()) == (5, "classification", {"shift": 1})
    # Another model has other options: the base's coords are not its.
    assert (loaded.model.name, loaded.model.options()) == ("aistudio_conv", {})


@pytest.mark.parametrize(
    ("text", "overrides", "words"),
    [
        (GOOD + "epoch: 3", [], "there is no key 'epoch': did you mean 'epochs'"),
        (GOOD + "optimizer: {learning_rat: 1}", [], "'optimizer.learning_rat': did you mean 'learning_rate'"),
        (GOOD + "colour: red", [], "there is no key 'colour'. The keys here are task, model"),
        (GOOD + "epochs: many", [], "epochs: .*integer.*got 'many'"),
        (GOOD + "epochs: 0", [], "epochs: .*greater than or equal to 1, got 0"),
        (GOOD + "epochs: true", [], "epochs: .*integer, got True"),
        (GOOD + "seed: -1", [], "seed: "),
        (GOOD + "batch_size: 1.5", [], "batch_size: "),
        (GOOD + "optimizer: {learning_rate: 0}", [], "optimizer.learning_rate: .*greater than 0"),
        (GOOD + "optimizer: {learning_rate: .nan}", [], "optimizer.learning_rate: "),
        (GOOD + "optimizer: 3", [], "optimizer: "),
        (GOOD + "output_dir: 3", [], "output_dir: "),
        ("task: {name: classification}", [], "the key 'model' is missing"),
        ("model: {coords: paddle}", [], "the key 'model.name' is missing"),
        (GOOD.replace("{name: digits}", "digits"), [], "data: "),
        ("- a list", [], "takes 'key: value' lines, got list"),
        ("", [], "takes 'key: value' lines"),
        ("a: [1", [], "is not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]", [], "is not valid YAML"),
        ("_BASE_: run.yml", [], "leads back to the file itself"),
        ("_BASE_: nowhere.yml", [], "there is no config file .*nowhere.yml"),
        ("_BASE_: 3", [], "_BASE_ takes the path"),
        (GOOD, ["epochs"], "takes the form key.sub=value, got 'epochs'"),
        (GOOD, ["=3"], "takes the form"),
        (GOOD, ["task..shift=3"], "takes the form"),
        (GOOD, ["epochs.more=3"], "goes into 'epochs'"),
        (GOOD, ["epochs=[1"], "is not valid YAML"),
        (GOOD, ["epocs=3"], "did you mean 'epochs'"),
        (GOOD, ["optimizer.name=sgdd"], "optimizer.name takes one of 'sgd', 'momentum', 'adam', 'adamw', got 'sgdd'"),
        (GOOD, ["optimizer.name=3"], "optimizer.name takes one of .*, got '3'"),
        (GOOD, ["optimizer.momentum=0.5"], "no key 'optimizer.momentum'. The keys here are learning_rate, .*beta1"),
        (GOOD, ["optimizer.name=sgd", "optimizer.momentum=0.5"], "no key 'optimizer.momentum'"),
        (
            GOOD,
            ["optimizer={name: momentum, momentum: 1.0}"],
            "optimizer.momentum: .*equal to 0.999999, got 1",
        ),
        (GOOD, ["optimizer.beta2=x"], "optimizer.beta2: .*number.*got 'x'"),
        (GOOD, ["optimizer.no_decay_bias_norm=biases"], "optimizer.no_decay_bias_norm: .*boolean, got 'biases'"),
        (GOOD, ["optimizer.weight_decay=-1"], "optimizer.weight_decay: "),
        (GOOD, ["schedule.name=steps"], "schedule.name takes one of 'constant', 'step', 'cosine', 'one_cycle'"),
        (GOOD, ["schedule.name=step"], "the key 'schedule.milestones' is missing"),
        (GOOD, ["schedule={name: step, milestones: []}"], "schedule.milestones: "),
        (GOOD, ["schedule={name: step, milestones: [3, 2]}"], "schedule.milestones: takes rising epochs"),
        (GOOD, ["schedule={name: step, milestones: [0]}"], "schedule.milestones: takes rising epochs"),
        (GOOD, ["schedule={name: step, milestones: [x]}"], "schedule.milestones.0: .*integer"),
        (GOOD, ["schedule={name: step, milestones: [1], factor: 2}"], "schedule.factor: "),
        (GOOD, ["schedule.pct_start=1"], "schedule.pct_start: "),
        (GOOD, ["schedule.warmup_steps=5"], "no key 'schedule.warmup_steps'"),
        (GOOD, ["schedule={name: cosine, warmup_steps: -1}"], "schedule.warmup_steps: "),
        (GOOD, ["schedule=cosine"], "schedule: "),
        (GOOD, ["seed=[]"], "seed: takes a whole number .*, or a list of different ones, got \\[\\]"),
        (GOOD, ["seed=[1, 1]"], "seed: takes a whole number"),
        (GOOD, ["seed=[0, x]"], "seed: takes a whole number"),
        (GOOD, ["seed=1.5"], "seed: takes a whole number"),
        (GOOD, ["seed=true"], "seed: takes a whole number"),
        (GOOD, ["seed=4294967296"], "seed: takes a whole number"),
        (GOOD, ["max_steps=0"], "max_steps: "),
        (GOOD, ["max_minutes=0"], "max_minutes: "),
        (GOOD, ["patience=0"], "patience: "),
        (GOOD, ["patience=many"], "patience: "),
        (GOOD, ["accumulate_steps=0"], "accumulate_steps: "),
        (GOOD, ["batch_size=8", "accumulate_steps=9"], "accumulate_steps: takes at most batch_size=8, a sample a part"),
        (GOOD, ["gradient_clip=0"], "gradient_clip: "),
        (GOOD, ["ema=1"], "ema: .*less than 1"),
        (GOOD, ["ema=0"], "ema: "),
        (GOOD, ["amp=O3"], "amp: .*'O0', 'O1' or 'O2', got 'O3'"),
        (GOOD, ["workers=0"], "workers: "),
        (GOOD, ["max_checkpoints=0"], "max_checkpoints: "),
        (GOOD, ["save_steps=0"], "save_steps: "),
        (GOOD, ["batch_size=0"], "batch_size: "),
        (GOOD, ["batch_size=null"], "batch_size: "),
        (GOOD, ["task=null"], "task: "),
    ],
)
def test_mistakes(config, monkeypatch, capsys, text, overrides, words):
    """Through the command line itself: one line, status 2."""
    path = config(text + "\nepochs: 1\n" if overrides == ["epochs.more=3"] else text)
    with pytest.raises(UserError, match=words) as caught:
        load_config(path, overrides)
    monkeypatch.setattr(sys, "argv", ["train.py", "-c", str(path), *(["-o", *overrides] if overrides else [])])
    monkeypatch.setattr(sys, "path", [str(TOOLS), *sys.path])
    monkeypatch.setenv("PPCC_TUNE_CPU", "0")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOLS / "train.py"), run_name="__main__")
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.out == ""
    assert said.err == f"train.py: {caught.value}\n"
    assert len(said.err.splitlines()) == 1


NESTED = "a: " + "[" * 3000 + "]" * 3000
LAUGHS = "a: &a0 [x]\n" + "\n".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 2024-99-99", "month must be in 1..12"),
        ("a: 2024-01-02", "'2024-01-02' is a date; put it into quotes if it is a text"),
        ("a: !!bool x", "'x' is not a bool, line 1"),
        ("a: !!int x", "invalid literal"),
        ("a: !!float x", "could not convert"),
        ("a: !!timestamp x", "'x' is not a timestamp, line 1"),
        ("a: !!set {x}", "is a set"),
        ("a: !!binary eA==", "is a bytes"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: " + "9" * 5000, "4300"),
        ("1: 2", "the key 1 is a int; put it into quotes"),
        ("[1, 2]: 2", "unhashable"),
        ("? {a: 1}\n: 2", "unhashable"),
        ("a: &a [*a]", "more than 100,000 values"),
        ("a: 1\nb: 2\na: 3", "the key 'a' is there twice, again in line 3"),
        ("a: {b: 1, b: 2}", "the key 'b' is there twice"),
        (NESTED, "it is nested too deeply"),
        (LAUGHS, "with its aliases written out, it has more than 100,000 values"),
        ("a: [1", "expected ',' or ']'"),
        ("a: *b", "undefined alias"),
        ("\x01", "special characters are not allowed"),
    ],
    ids=range(21),
)
def test_every_fault_of_yaml_is_a_sentence(config, text, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        load_config(config(text), [])
    assert "is not valid YAML" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "override",
    [
        "gradient_clip=.inf",
        "gradient_clip=.nan",
        "max_minutes=.inf",
        "max_minutes=.nan",
        "ema=.nan",
        "optimizer.learning_rate=.nan",
        "optimizer.weight_decay=.nan",
        "optimizer.beta1=0.9999999999",
        "optimizer.beta2=0.9999999999999999",
        "epochs=9007199254740993",
        "max_steps=9007199254740993",
        "batch_size=" + "9" * 400,
        "patience=10000000000",
        "accumulate_steps=10000000000",
        "save_steps=10000000000",
    ],
)
def test_numbers_have_bounds(config, override):
    key = override.split("=")[0]
    with pytest.raises(UserError, match=f"{key}: ") as caught:
        load_config(config(GOOD), [override])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "long", "NUL"])
def test_only_regular_files_are_read(tmp_path, kind):
    path = tmp_path / "run.yml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path = {"device": Path("/dev/zero"), "long": tmp_path / ("x" * 300), "NUL": tmp_path / "a\0b.yml"}[kind]
    with pytest.raises(UserError, match="can't be read|not a file|is no path"):
        load_config(path, [])


KEYS = [
    "epochs",
    "batch_size",
    "accumulate_steps",
    "workers",
    "max_checkpoints",
    "seed",
    "optimizer",
    "schedule",
    "task",
    "model",
]
WRONG = st.one_of(
    st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=9),
    st.floats(allow_nan=False).filter(lambda x: x != int(x) if abs(x) < 1e18 else True),
    st.integers(max_value=-1),
    st.just([[]]),
    st.none(),
)


@settings(max_examples=examples(200))
@given(st.sampled_from(KEYS), WRONG)
def test_any_wrong_value_is_one_line_that_names_the_key(tmp_path_factory, key, value):
    path = tmp_path_factory.mktemp("configs") / "run.yml"
    path.write_text(GOOD)
    with pytest.raises(UserError, match=key) as caught:
        load_config(path, [f"{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}"])
    assert "\n" not in str(caught.value)


@settings(max_examples=examples(100))
@given(st.sampled_from(["", "optimizer.", "schedule."]), st.from_regex(r"[a-z]{3,12}", fullmatch=True))
def test_any_unknown_key_is_named(tmp_path_factory, section, key):
    path = tmp_path_factory.mktemp("configs") / "run.yml"
    path.write_text(GOOD)
    known = {
        "optimizer.": {"name", "no_decay_bias_norm"},
        "schedule.": {"name", "pct_start"},
        "": set(Config.model_fields),
    }[section]
    assume(key not in known)
    with pytest.raises(UserError, match=f"there is no key '{section}{key}'.* The keys here are") as caught:
        load_config(path, [f"{section}{key}=1"])
    assert "\n" not in str(caught.value)


def test_configs_of_the_package_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("configs/digits/coordconv.yml")
    assert load_config(path, []).model.name == "aistudio_coordconv"
    # A file that is there comes first.
    path.parent.mkdir(parents=True)
    path.write_text(GOOD + "epochs: 77")
    assert load_config(path, []).epochs == 77


def test_a_config_that_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "there is no config file configs/digits/cov.yml: did you mean 'configs/digits/conv.yml'[?]$"
    with pytest.raises(UserError, match=words):
        load_config(Path("configs/digits/cov.yml"), [])
    words = "there is no config file pyproject.toml. With the package come configs/.*, configs/digits/conv.yml"
    with pytest.raises(UserError, match=words):
        load_config(Path("pyproject.toml"), [])  # beside configs/, and no config


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="there is no config file"):
        load_config(tmp_path / "nowhere.yml", [])
    with pytest.raises(UserError, match="is a folder, not a file"):
        load_config(tmp_path, [])
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not valid YAML"):
        load_config(tmp_path / "binary.yml", [])


def test_what_it_is_made_of_stays_as_it_was():
    optimizer = {"learning_rate": 0.1}
    tree = {"task": {"name": "classification"}, "model": {"name": "m"}, "data": {"name": "d"}, "optimizer": optimizer}
    assert config_of(dict(tree)).optimizer.name == Config.model_fields["optimizer"].default.name
    assert optimizer == {"learning_rate": 0.1}
