"""The commands of docs/instance_segmentation.md, one after the other, with a few pictures and steps of training."""

import json
from pathlib import Path

import pytest
from conftest import ROOT, commands_of, run_tool
from instance_pictures import write_instances

# What is put in the place of the page's numbers.
FEWER = {"--train": "6", "--test": "3"}


def shortened(script, words):
    if script == "tools/train.py":
        options = ["epochs=1", "max_steps=2", "batch_size=4"]
        return [*words, *options] if "-o" in words else [*words, "-o", *options]
    return [FEWER.get(before, word) for before, word in zip(["", *words], words)]


@pytest.mark.any_paddle
@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path):
    write_instances(tmp_path / "objects", (4, 2))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    printed = {}
    for script, *words in commands_of("instance_segmentation.md"):
        done = run_tool(Path(script).stem, *shortened(script, words), cwd=tmp_path)
        assert done.status == 0, (words, done.stderr)
        printed[script] = done.stdout
    results = [json.loads(line) for line in printed["tools/infer.py"].splitlines()]
    assert len(results) == len(list((tmp_path / "output" / "found").glob("*.png"))) == 3
    assert all({"input", "height", "width", "objects"} <= result.keys() for result in results)
    assert {"ap", "ap50", "ap75"} <= json.loads(printed["tools/eval.py"]).keys()
    assert {"check.json", "samples.png"} <= {path.name for path in (tmp_path / "output" / "checked").iterdir()}
    assert (tmp_path / "output" / "custom" / "best.pdparams").exists()
