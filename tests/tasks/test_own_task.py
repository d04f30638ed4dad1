"""A task with a served form of its own goes the whole way, and no file of the package knows it."""

import json
import shutil

import numpy as np
import paddle
import pytest
from conftest import call
from PIL import Image

from ppcoordconv.commands import main
from ppcoordconv.config import load_config
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import infer
from ppcoordconv.tasks import build_task, trained_task
from ppcoordconv.training.evaluation import evaluate
from ppcoordconv.training.trainer import train
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.weights import load_metadata, load_state, write_pdparams

CONFIG = """
task: {{name: spot}}
model: {{name: spot_net}}
data: {{name: spots, path: {folder}/places.txt}}
optimizer: {{learning_rate: 0.02}}
epochs: 30
batch_size: 16
output_dir: {folder}/run
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the data, and a run of them."""
    import spot

    folder = tmp_path_factory.mktemp("spots")
    places = np.random.default_rng(0).permutation(spot.SIDE**2)
    np.savetxt(folder / "places.txt", np.stack(divmod(places, spot.SIDE), axis=1), fmt="%d")
    (folder / "config.yml").write_text(CONFIG.format(folder=folder))
    config = load_config(folder / "config.yml", [])
    paddle.seed(0)
    train(build_task(config), config)
    return folder


def config_of(folder, *changes):
    return load_config(folder / "run" / "config.yml", list(changes))


def weights_of(folder):
    return folder / "run" / "best.pdparams"


def test_weights_measure_what_training_measured(folder):
    task = trained_task(config_of(folder), weights_of(folder))
    metrics, outputs = evaluate(task, task.test_samples(), 5)
    assert metrics["near"] == json.loads((folder / "run" / "metrics.json").read_text())["best"]["near"] > 0
    assert outputs.shape == (4, 2)


def test_a_metric_that_reports_nothing_more_leaves_no_files(folder, tmp_path):
    words = ["-c", folder / "run" / "config.yml", "-w", weights_of(folder), "--output", "report"]
    done = call(main, "eval", *words, cwd=tmp_path)
    assert done.status == 0
    assert "the task 'spot' reports nothing beside its metrics; report is not written" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert not {"report.json", "confusion.png"} & {path.name for path in (folder / "run").iterdir()}


def test_exported_without_the_data_it_is_served_with_pictures(folder, tmp_path, capsys):
    without_data = config_of(folder, "data.path=nowhere.txt")
    task = trained_task(without_data, weights_of(folder))
    export_task(task, tmp_path / "model")
    said = capsys.readouterr().err
    assert "checking with noise alone, without samples of the data: there is no file nowhere.txt" in said
    predictor = Predictor(str(tmp_path / "model"))
    assert predictor.description["served_form"] == "spot"
    pixels = np.zeros([8, 8, 3], np.uint8)
    pixels[5, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (result,) = infer(predictor, [tmp_path / "a.png"], tmp_path / "drawn")
    x, y = 8 * task.network(paddle.to_tensor(task._preprocess(pixels)[None])).numpy()[0]
    assert (result["x"], result["y"]) == (pytest.approx(x, abs=1e-3), pytest.approx(y, abs=1e-3))
    assert np.asarray(Image.open(tmp_path / "drawn" / "a.png")).shape[2] == 3
    Image.fromarray(pixels.repeat(2, axis=0)).save(tmp_path / "tall.png")
    (tall,) = infer(predictor, [tmp_path / "tall.png"])
    small = predictor(task._preprocess(np.asarray(Image.open(tmp_path / "tall.png")))[None])[0]
    assert (tall["x"], tall["y"]) == (pytest.approx(8 * small[0]), pytest.approx(16 * small[1]))
    with_data = build_task(config_of(folder), predictor.description)
    measured = evaluate_exported(with_data, predictor, with_data.test_samples(), 5)
    assert measured == {"near": json.loads((folder / "run" / "metrics.json").read_text())["best"]["near"]}


def test_its_reason_against_onnx_is_given(folder, tmp_path):
    with pytest.raises(UserError, match="spots are for Paddle alone"):
        export_task(trained_task(config_of(folder), weights_of(folder)), tmp_path, "onnx")


def test_the_file_of_weights_alone_has_the_metadata(folder, tmp_path):
    copied = shutil.copy(weights_of(folder), tmp_path / "w.pdparams")
    metadata = load_metadata(copied)
    assert (metadata["served_form"], metadata["labels"]) == ("spot", ["spot"])
    assert metadata["preprocess"]["image_size"] == [8, 8]
    loaded = paddle.load(str(copied))
    assert set(loaded) == set(load_state(copied)) == {"1.weight", "1.bias", "2.weight", "2.bias"}


def test_more_labels_than_the_weights_are_for(folder, tmp_path):
    """A stranger's file would have a network built that takes all memory."""
    state = load_state(weights_of(folder))
    write_pdparams(state, tmp_path / "w.pdparams", {**load_metadata(weights_of(folder)), "labels": [""] * 10_000})
    with pytest.raises(UserError, match="names 10000 labels, and has .* bytes of weights, too few for so many"):
        trained_task(config_of(folder), tmp_path / "w.pdparams")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["task.tolerance=9"], "^task.tolerance takes a whole number from 1 to 3, got 9$"),
        (["data.limit=3"], "^data.limit takes a whole number from 10 to 64, got 3$"),
        (["task.model=x"], "^task 'spot' has no option 'model'$"),
        (["task.metadata={labels: [a]}"], "^task 'spot' has no option 'metadata'$"),
        (["data.lmit=3"], "dataset 'spots' has no option 'lmit': did you mean 'limit'"),
    ],
)
def test_wrong_values_are_named_by_their_keys(folder, changes, words):
    with pytest.raises(UserError, match=words):
        build_task(config_of(folder, *changes)).test_samples()
