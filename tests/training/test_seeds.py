"""Several seeds: each a run of its own, resumable, and what they have in common."""

import json
import statistics

import pytest
from tiny import TinyTask, assert_same_weights, config, weights

from ppcoordconv.training.seeds import train_seeds
from ppcoordconv.training.trainer import train
from ppcoordconv.training.writer import only_writer
from ppcoordconv.utils.errors import UserError


def build(run):
    return TinyTask(seed=run.seed)


def test_a_run_for_each_seed(tmp_path, capsys):
    several = config(tmp_path, seed=[3, 1], epochs=2)
    result = train_seeds(several, build)
    values = [result["seeds"][seed]["last"]["accuracy"] for seed in ("3", "1")]
    assert result["mean"] == pytest.approx(statistics.fmean(values))
    assert result["std"] == pytest.approx(statistics.stdev(values))
    assert (result["min"], result["max"], result["metric"]) == (min(values), max(values), "accuracy")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == result
    line = f"last evaluation of each: mean {result['mean']:.4f}, sample standard deviation {result['std']:.4f},"
    assert f"accuracy over 2 seeds, of the {line}" in capsys.readouterr().err
    train(TinyTask(seed=1), config(tmp_path, seed=1, epochs=2, output_dir=tmp_path / "alone"))
    assert_same_weights(weights(tmp_path / "run" / "seed_1"), weights(tmp_path / "alone"))
    assert train_seeds(several, build, "auto")["seeds"] == result["seeds"]
    assert not (tmp_path / "run" / "seed_1" / "earlier.1").exists()


@pytest.mark.parametrize("resume", [None, "auto"])
def test_a_run_with_one_seed_is_moved_aside(tmp_path, resume):
    """As the metrics of several would stand beside its weights."""
    one = train(TinyTask(), config(tmp_path, epochs=1))
    several = config(tmp_path, seed=[0, 1], epochs=1)
    result = train_seeds(several, build, resume)
    aside = tmp_path / "run" / "earlier.1"
    assert json.loads((aside / "metrics.json").read_text()) == one
    assert (aside / "best.pdparams").exists() and not (tmp_path / "run" / "best.pdparams").exists()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == result
    train_seeds(several, build, "auto")
    assert not (tmp_path / "run" / "earlier.2").exists()
    train_seeds(several, build)
    assert json.loads((tmp_path / "run" / "earlier.2" / "metrics.json").read_text()) == result


def test_two_trainings_of_several_seeds_do_not_write_one_directory(tmp_path):
    with only_writer(tmp_path / "run"), pytest.raises(UserError, match="is being written by another training"):
        train_seeds(config(tmp_path, seed=[0, 1]), build)


def test_one_seed_is_a_plain_run(tmp_path):
    assert train_seeds(config(tmp_path, epochs=1), build)["epochs"] == 1


def test_a_run_takes_one_seed(tmp_path):
    with pytest.raises(UserError, match="a run takes one seed"):
        train(TinyTask(), config(tmp_path, seed=[0, 1]))


def test_a_path_to_resume_from_is_one_runs(tmp_path):
    with pytest.raises(UserError, match="takes 'auto' with several seeds"):
        train_seeds(config(tmp_path, seed=[0, 1]), build, "some/last.pdopt")
