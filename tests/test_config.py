"""Configs: what is read, what is merged, and what is said of a mistake."""

import pytest

from ppcoordconv.config import load_config
from ppcoordconv.errors import UserError

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
        ("a: [1", [], "is no YAML"),
        ("a: !!python/object/apply:os.system [ls]", [], "is no YAML"),
        ("_BASE_: run.yml", [], "leads back to the file itself"),
        ("_BASE_: nowhere.yml", [], "there is no config file .*nowhere.yml"),
        ("_BASE_: 3", [], "_BASE_ takes the path"),
        (GOOD, ["epochs"], "takes the form key.sub=value, got 'epochs'"),
        (GOOD, ["=3"], "takes the form"),
        (GOOD, ["task..shift=3"], "takes the form"),
        (GOOD, ["epochs.more=3"], "goes into 'epochs'"),
        (GOOD, ["epochs=[1"], "is no YAML"),
        (GOOD, ["epocs=3"], "did you mean 'epochs'"),
    ],
)
def test_mistakes(config, text, overrides, words):
    with pytest.raises(UserError, match=words) as caught:
        load_config(config(text + "\nepochs: 1\n" if overrides == ["epochs.more=3"] else text), overrides)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="there is no config file"):
        load_config(tmp_path / "nowhere.yml", [])
    with pytest.raises(UserError, match="can't be read"):
        load_config(tmp_path, [])
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is no YAML"):
        load_config(tmp_path / "binary.yml", [])
