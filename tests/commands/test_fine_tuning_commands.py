"""From one data set to another by the command line: what a run begins with is needed once."""

import json
import re

import numpy as np
from conftest import ROOT, call
from PIL import Image

from ppcoordconv.commands import main
from ppcoordconv.utils.weights import load_state

CONFIG = str(ROOT / "configs" / "pictures" / "mobilenet_v3_small.yml")


def pictures(folder, labels, count):
    rng = np.random.default_rng(0)
    for label in labels:
        (folder / label).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (40, 36, 3), np.uint8)).save(folder / label / f"{i}.png")


def run(command, *words, cwd):
    options = ["task.image_size=[32, 32]", "batch_size=4", "data.path=few", "output_dir=tuned"]
    return call(main, command, "-c", CONFIG, "-o", *options, *words, cwd=cwd)


def test_from_one_data_set_to_another(tmp_path):
    pictures(tmp_path / "many", ("a", "b", "c"), 6)
    pictures(tmp_path / "few", ("x", "y"), 3)
    first = run("train", "epochs=1", "data.path=many", "output_dir=first", "model.coord=none", cwd=tmp_path)
    assert first.status == 0, first.stderr
    weights = "model.weights=first/last.pdparams"
    frozen = "model.freeze=[conv, blocks]"
    tuned = run("train", "epochs=1", weights, frozen, cwd=tmp_path)
    assert tuned.status == 0, tuned.stderr
    taken, count = re.search(r"first/last.pdparams: (\d+) of (\d+) arrays are taken", tuned.stderr).groups()
    assert int(count) - int(taken) == 2
    assert "start at zero in conv.0" in tuned.stderr
    assert "left out: classifier.3.weight (has shape [1024, 3] instead of [1024, 2])" in tuned.stderr
    before, after = (load_state(tmp_path / name / "last.pdparams") for name in ("first", "tuned"))
    same = {name for name, value in after.items() if name in before and np.array_equal(before[name], value)}
    assert {name for name in before if name.startswith("blocks.")} <= same
    assert not any(name.startswith(("lastconv.0", "classifier")) for name in same)
    assert np.array_equal(after["conv.0.conv.weight"][:, :3], before["conv.0.weight"])

    (tmp_path / "first" / "last.pdparams").unlink()
    resumed = run("train", "epochs=2", weights, frozen, "--resume", "auto", cwd=tmp_path)
    assert resumed.status == 0, resumed.stderr
    config = ["-c", "tuned/config.yml", "-w", "tuned/last.pdparams"]
    measured = call(main, "eval", *config, cwd=tmp_path)
    assert measured.status == 0, measured.stderr
    last = json.loads(resumed.stdout)["last"]
    assert json.loads(measured.stdout)["accuracy"] == last["accuracy"]
    served = call(main, "export", *config, "--output_dir", "served", cwd=tmp_path)
    assert served.status == 0, served.stderr
    again = call(main, "eval", "-c", "tuned/config.yml", "--model_dir", "served", cwd=tmp_path)
    assert again.status == 0, again.stderr
    begun_anew = run("train", "epochs=2", weights, cwd=tmp_path)
    assert begun_anew.status == 2
    assert "model.weights takes the path of a file, or one of" in begun_anew.stderr
    assert "there is no file 'first/last.pdparams'" in begun_anew.stderr
