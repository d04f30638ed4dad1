"""The command lines as a user meets them: their output, their one line on a mistake."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, run_tool, start_tool
from PIL import Image

from ppcoordconv.utils.weights import load_state, write_pdparams

CONFIG = ROOT / "configs" / "digits" / "coordconv.yml"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from ppcoordconv.data import DATASETS

    folder = tmp_path_factory.mktemp("pictures")
    test = DATASETS.build("digits").test
    for i, (pixels, label) in enumerate(zip(test.images, test.classes)):
        Image.fromarray(pixels).save(folder / f"{i:03d}_{label}.png")
    return folder


@pytest.mark.parametrize("name", ["coordconv", "conv"])
def test_both_networks_read_the_held_out_digits(trained, name):
    """CI asks for 98 % after `make quickstart`, which trains them in full."""
    metrics = trained[name].metrics
    assert metrics["best"]["accuracy"] >= 0.95
    assert metrics["last"]["accuracy"] >= 0.95
    assert metrics["epochs"] == 3


@pytest.mark.parametrize("name", ["coordconv", "conv"])
def test_eval_repeats_the_trainings_figure(trained, tmp_path, name):
    run = trained[name]
    result = run_tool("eval", "-c", run.config, "-w", run.weights, cwd=tmp_path)
    assert result.status == 0, result.stderr
    assert json.loads(result.stdout)["accuracy"] == run.metrics["best"]["accuracy"]


def test_a_config_that_prepares_pictures_otherwise_than_the_weights_had_them_is_said(trained, tmp_path):
    run = trained["coordconv"]
    words = ["eval", "-c", run.output / "config.yml", "-w", run.weights]
    assert "were trained with" not in run_tool(*words, cwd=tmp_path).stderr
    other = run_tool(*words, "-o", "task.mean=[0.4, 0.4, 0.4]", cwd=tmp_path)
    assert other.status == 0, other.stderr
    assert "were trained with mean [0.5, 0.5, 0.5], not with mean [0.4, 0.4, 0.4]; the config.yml" in other.stderr
    network = run_tool(*words, "-o", "model.coords=solo", cwd=tmp_path)
    assert "were trained with model.coords paddle, not with model.coords solo; the" in network.stderr


@pytest.mark.parametrize("split", ["test", "train"])
def test_eval_of_the_exported_model_is_that_of_its_weights(trained, tmp_path, split):
    run = trained["coordconv"]
    config = ["-c", run.config, "-o", "task.shift=0", "--split", split]
    weights = run_tool("eval", *config, "-w", run.weights, "--output", "of/weights", cwd=tmp_path)
    exported = run_tool("eval", *config, "--model_dir", run.inference, "--output", "of/model", cwd=tmp_path)
    expected = json.loads(weights.stdout)
    del expected["loss"]
    assert json.loads(exported.stdout) == expected
    assert (expected["accuracy"] > run.metrics["best"]["accuracy"]) == (split == "train")
    for name in ("report.json", "confusion.png"):
        written = [(tmp_path / "of" / folder / name).read_bytes() for folder in ("weights", "model")]
        assert written[0] == written[1]
    report = json.loads((tmp_path / "of" / "weights" / "report.json").read_text())
    assert report["accuracy"] == expected["accuracy"]
    assert np.trace(report["confusion"]) == round(expected["accuracy"] * report["samples"])


@pytest.mark.any_paddle
def test_a_report_that_can_not_be_written_comes_after_the_metrics(trained, tmp_path):
    run = trained["conv"]
    (tmp_path / "file").touch()
    result = run_tool("eval", "-c", run.config, "-w", run.weights, "--output", "file/of", cwd=tmp_path)
    assert (result.status, json.loads(result.stdout)["accuracy"]) == (2, run.metrics["best"]["accuracy"])
    assert "file/of can't be written" in result.stderr


def test_the_resolved_config_is_a_config(trained, tmp_path):
    run = trained["coordconv"]
    result = run_tool("eval", "-c", run.output / "config.yml", "-w", run.output / "last.pdparams", cwd=tmp_path)
    assert json.loads(result.stdout)["accuracy"] == run.metrics["last"]["accuracy"]


@pytest.mark.parametrize("name", ["coordconv", "conv"])
def test_infer_on_the_exported_folder_alone_repeats_it_too(trained, pictures, tmp_path, name):
    run = trained[name]
    result = run_tool("infer", "--model_dir", run.inference, "--input", pictures, cwd=tmp_path)
    assert result.status == 0, result.stderr
    (tuning,) = result.stderr.splitlines()
    assert tuning.startswith("CPU tuning: ")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["input"] for line in lines] == [str(path) for path in sorted(pictures.iterdir())]
    right = [line["input"].endswith(f"_{line['label']}.png") for line in lines]
    assert len(right) == 360
    assert np.mean(right) == run.metrics["best"]["accuracy"]


def test_infer_goes_on_after_a_bad_picture_and_draws_the_rest(trained, pictures, tmp_path):
    good = sorted(pictures.iterdir())[0]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    arguments = ["--model_dir", trained["coordconv"].inference, "--input", tmp_path / "bad.png", good]
    result = run_tool("infer", *arguments, "--output", tmp_path / "out", cwd=tmp_path)
    assert result.status == 1
    bad, fine = (json.loads(line) for line in result.stdout.splitlines())
    assert "bad.png is not a readable picture" in bad["error"]
    assert fine["label"] == good.stem[-1]
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == [good.name]


def test_infer_when_nobody_reads_on(trained, pictures, tmp_path):
    process = start_tool("infer", "--model_dir", trained["conv"].inference, "--input", pictures, cwd=tmp_path)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0


def test_own_pictures_train_by_changing_two_keys(tmp_path):
    rng = np.random.default_rng(0)
    for label, row in (("high", 4), ("low", 20)):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 40, (32, 32, 3), np.uint8)
            pixels[row : row + 8] += 200
            Image.fromarray(pixels).save(tmp_path / "mine" / label / f"{i}.png")
    changes = ["data.name=image_folder", "data.path=mine", "epochs=8"]
    trained = run_tool("train", "-c", CONFIG, "-o", *changes, cwd=tmp_path)
    assert trained.status == 0, trained.stderr
    assert json.loads(trained.stdout)["best"]["accuracy"] == 1
    run = tmp_path / "output" / "coordconv"
    exported = run_tool(
        "export", "-c", run / "config.yml", "-w", run / "best.pdparams", "--output_dir", "served", cwd=tmp_path
    )
    assert exported.status == 0, exported.stderr
    served = run_tool("infer", "--model_dir", "served", "--input", "mine/low", "mine/high", cwd=tmp_path)
    labels = [json.loads(line)["label"] for line in served.stdout.splitlines()]
    assert labels == ["low"] * 20 + ["high"] * 20


def test_legacy_format(trained, pictures, tmp_path):
    run = trained["coordconv"]
    arguments = ["-c", run.config, "-w", run.weights, "--output_dir", "legacy", "--format", "legacy"]
    assert run_tool("export", *arguments, cwd=tmp_path).status == 0
    assert (tmp_path / "legacy" / "inference.pdmodel").exists()
    picture = sorted(pictures.iterdir())[7]
    result = run_tool("infer", "--model_dir", "legacy", "--input", picture, cwd=tmp_path)
    assert json.loads(result.stdout)["label"] == picture.stem[-1]


MISTAKES = {
    "no arguments": (["train"], "arguments are required: -c/--config"),
    "no config": (["train", "-c", "nowhere.yml"], "there is no config file nowhere.yml"),
    "unknown key": (["train", "-c", CONFIG, "-o", "epoch=3"], "did you mean 'epochs'"),
    "unknown option": (["train", "-c", CONFIG, "-o", "model.cords=paddle"], "did you mean 'coords'"),
    "unknown convention": (["train", "-c", CONFIG, "-o", "model.coords=padle"], "did you mean 'paddle'"),
    "unknown model": (["train", "-c", CONFIG, "-o", "model.name=resnet"], "there is no model 'resnet'"),
    "unknown dataset": (["train", "-c", CONFIG, "-o", "data.name=digit"], "did you mean 'digits'"),
    "unknown task": (["train", "-c", CONFIG, "-o", "task.name=classify"], "there is no task 'classify'"),
    "wrong type": (["train", "-c", CONFIG, "-o", "epochs=many"], "epochs: "),
    "out of range": (["train", "-c", CONFIG, "-o", "optimizer.learning_rate=-1"], "optimizer.learning_rate: "),
    "no override": (["train", "-c", CONFIG, "-o", "epochs"], "takes the form key.sub=value"),
    "no data": (["train", "-c", CONFIG, "-o", "data.name=image_folder", "data.path=nowhere"], "there is no folder"),
    "no archive": (["train", "-c", CONFIG, "-o", "data.name=cifar10", "data.path=nowhere"], "there is no file nowhere"),
    "empty class": (
        ["train", "-c", CONFIG, "-o", "data.name=image_folder", "data.path=empty"],
        "there is no picture",
    ),
    "broken picture": (
        ["train", "-c", CONFIG, "-o", "data.name=image_folder", "data.path=broken"],
        "is not a readable picture",
    ),
    "unknown device": (["train", "-c", CONFIG, "--device", "tpu"], "invalid choice: 'tpu'"),
    "unwritable": (["train", "-c", CONFIG, "-o", "output_dir=/proc/run"], "can't be written"),
    "output is a file": (["train", "-c", CONFIG, "-o", "output_dir=file"], "can't be written"),
    "no state": (["train", "-c", CONFIG, "--resume", "nowhere.pdopt"], "there is no file nowhere.pdopt"),
    "no weights": (["eval", "-c", CONFIG, "-w", "nowhere.pdparams"], "there is no file nowhere.pdparams"),
    "weights are text": (["eval", "-c", CONFIG, "-w", "file"], "is not a valid weights file"),
    "others' weights": (["eval", "-c", CONFIG, "-w", "CONV"], "conv4.conv.weight is missing"),
    "export unwritable": (["export", "-c", CONFIG, "-w", "GOOD", "--output_dir", "file/x"], "can't be written"),
    "export nothing": (["export", "-c", CONFIG, "-w", "nowhere", "--output_dir", "x"], "there is no file nowhere"),
    "unknown format": (
        ["export", "-c", CONFIG, "-w", "x", "--output_dir", "x", "--format", "tf"],
        "invalid choice",
    ),
    "no model_dir": (["infer", "--model_dir", "nowhere", "--input", "file"], "there is no folder nowhere"),
    "empty model_dir": (["infer", "--model_dir", "empty", "--input", "file"], "lacks inference.yml"),
    "no input": (["infer", "--model_dir", "empty"], "arguments are required: --input"),
}


@pytest.mark.any_paddle
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(trained, tmp_path, name):
    (tmp_path / "file").write_text("")
    for folder in ("empty", "broken"):
        for label in ("a", "b"):
            (tmp_path / folder / label).mkdir(parents=True)
            for i in range(3):
                Image.new("L", (4, 4)).save(tmp_path / folder / label / f"{i}.png")
    for path in (tmp_path / "empty" / "b").iterdir():
        path.unlink()
    for path in (tmp_path / "broken" / "b").iterdir():
        path.write_bytes(path.read_bytes()[:30])
    arguments, words = MISTAKES[name]
    stand_ins = {"GOOD": trained["coordconv"].weights, "CONV": trained["conv"].weights}
    result = run_tool(*[stand_ins.get(argument, argument) for argument in arguments], cwd=tmp_path)
    *progress, last = result.stderr.splitlines()
    assert result.status == 2, result.stderr
    assert words in last
    assert last.startswith(f"{arguments[0]}.py: ")
    assert "Traceback" not in result.stderr
    # An export that fails at its end has said what it was doing.
    assert not progress or name == "export unwritable"
    assert result.stdout == ""


@pytest.mark.skipif("__import__('paddle').device.cuda.device_count() > 0", reason="a GPU is here")
@pytest.mark.parametrize("tool", ["train", "infer"])
def test_a_gpu_that_is_not_there(trained, tmp_path, tool):
    arguments = {"train": ["-c", CONFIG], "infer": ["--model_dir", trained["conv"].inference, "--input", "x.png"]}[tool]
    result = run_tool(tool, *arguments, "--device", "gpu", cwd=tmp_path)
    assert result.status == 2
    assert "the device 'gpu' can't be had" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "tool", sorted(path.stem for path in (ROOT / "tools").glob("[a-z]*.py") if "leave(main())" in path.read_text())
)
def test_help(tool):
    result = run_tool(tool, "--help", cwd=ROOT)
    assert result.status == 0
    assert "usage" in result.stdout


def test_tools_work_from_any_directory_and_through_links(tmp_path):
    link = tmp_path / "link.py"
    link.symlink_to(ROOT / "tools" / "infer.py")
    run = subprocess.run([sys.executable, str(link), "--help"], cwd="/", capture_output=True, text=True)
    assert run.returncode == 0


def test_weights_whose_outputs_are_not_finite_are_a_sentence(trained, tmp_path):
    """NaN is no JSON."""
    run = trained["coordconv"]
    state = {key: np.full_like(value, np.nan) for key, value in load_state(run.weights).items()}
    write_pdparams(state, tmp_path / "nan.pdparams")
    result = run_tool("eval", "-c", run.config, "-w", tmp_path / "nan.pdparams", cwd=tmp_path)
    assert (result.status, result.stdout) == (2, "")
    assert "nan.pdparams are infinite or nan: {'loss': nan" in result.stderr.splitlines()[-1]
