"""The keypoint task: targets, losses, windows, and the whole way from a file to points in a picture."""

import json

import numpy as np
import paddle
import pytest
from keypoint_pictures import CATEGORY, NAMES, write_faces
from PIL import Image

import ppcoordconv as pcc
from ppcoordconv.config import NamedConfig, load_config
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import infer
from ppcoordconv.tasks import TASKS, build_task, trained_task
from ppcoordconv.training.evaluation import evaluate
from ppcoordconv.training.trainer import train
from ppcoordconv.utils.errors import UserError

CONFIG = """
task: {{name: keypoints, image_size: [32, 32], method: {method}, jitter: 0.1}}
model: {{name: keypoint_net}}
data: {{name: coco_keypoints, path: {data}}}
optimizer: {{learning_rate: 0.005}}
epochs: 8
batch_size: 8
output_dir: {output}
"""


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces") / "faces"
    write_faces(folder, (64, 8))
    return folder


@pytest.fixture(scope="module", params=["heatmap", "dsnt"])
def run(faces, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp(request.param)
    text = CONFIG.format(method=request.param, data=faces, output=folder / "run")
    (folder / "config.yml").write_text(text)
    config = load_config(folder / "config.yml", [])
    paddle.seed(0)
    train(build_task(config), config)
    return folder / "run"


def build(path, model=None, metadata=None, **options):
    model = model or NamedConfig(name="keypoint_net")
    data = NamedConfig(name="coco_keypoints", path=str(path))
    return TASKS.build("keypoints", model=model, data=data, metadata=metadata, **options)


def test_targets_are_in_pixels_of_the_input(faces):
    task = build(faces, image_size=[64, 64], margin=0.25)
    x, points, place, sizes, picture = task.test_samples()[0]
    one = task.data.test[0]
    assert x.shape == (3, 64, 64)
    np.testing.assert_allclose(points[:, :2] / place[2] + place[:2], one.points[:, :2], rtol=1e-5)
    assert sizes.tolist() == pytest.approx([one.area, (one.box[2:] - one.box[:2]).max()])
    assert picture == 0
    # The picture of a point is where the point is: its colour is the middle of the disc.
    pixels = one.pixels()
    for (px, py, _), wanted in zip(one.points, ((30, 30, 200), (30, 200, 30), (220, 60, 60), (90, 0, 0))):
        assert pixels[int(py), int(px)].tolist() == list(wanted)


@pytest.mark.parametrize("method", ["heatmap", "dsnt"])
def test_perfect_maps_have_the_least_loss(faces, method):
    """Maps of the method's own Gaussians; moved by a cell, or for points that are not labelled."""
    task = build(faces, method=method, sigma=1.5)
    _, points, *rest = task.test_samples()[0]
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16)))
    squared = ((grid[None] - (points[:, :2] / 4 - 0.5)[:, :, None, None]) ** 2).sum(axis=1)
    maps = -squared / (2 * 1.5**2) if method == "dsnt" else np.exp(-squared / (2 * 1.5**2))
    targets = [paddle.to_tensor(field)[None] for field in (points, *rest)]
    right, moved = (
        task.loss(paddle.to_tensor(values[None].astype("float32")), targets).item()
        for values in (maps, np.roll(maps, 1, axis=2))
    )
    assert right == pytest.approx(0, abs=2e-3)
    assert moved > 10 * right + 0.05
    unlabelled = points.copy()
    unlabelled[:, 2] = 0
    targets[0] = paddle.to_tensor(unlabelled)[None]
    assert task.loss(paddle.to_tensor(np.roll(maps, 1, axis=2)[None].astype("float32")), targets).item() == 0


def test_it_learns_and_the_weights_measure_what_training_measured(run):
    best = json.loads((run / "metrics.json").read_text())["best"]
    assert best["pck"] > 0.9
    assert best["ap50"] > 0.9
    task = trained_task(load_config(run / "config.yml", []), run / "best.pdparams")
    metrics, outputs = evaluate(task, task.test_samples(), 5)
    assert metrics["mean_error"] == pytest.approx(best["mean_error"], rel=1e-4)
    picture = task.visualize(outputs)
    assert picture.dtype == np.uint8
    report = json.loads((run / "report.json").read_text())
    assert [entry["label"] for entry in report["points"]] == NAMES


@pytest.mark.parametrize("format", ["paddle", "onnx"])
def test_exported_without_the_data_it_finds_the_points_of_a_picture(run, tmp_path, format):
    config = load_config(run / "config.yml", ["data.path=nowhere"])
    task = trained_task(config, run / "best.pdparams")
    export_task(task, tmp_path / "model", format)
    predictor = Predictor(str(tmp_path / "model"))
    assert predictor.description["edges"] == [[0, 1], [0, 2], [1, 2], [2, 3]]
    with_data = build_task(load_config(run / "config.yml", []), predictor.description)
    best = json.loads((run / "metrics.json").read_text())["best"]
    measured = evaluate_exported(with_data, predictor, with_data.test_samples(), 5)
    assert measured["mean_error"] == pytest.approx(best["mean_error"], rel=1e-3)
    one = with_data.data.test[0]
    pixels, points, _ = with_data._region(one)
    for number, shown in enumerate((pixels, pixels.repeat(3, axis=0).repeat(3, axis=1))):
        Image.fromarray(shown).save(tmp_path / f"{number}.png")
        (result,) = infer(predictor, [tmp_path / f"{number}.png"], tmp_path / "drawn")
        assert [point["label"] for point in result["points"]] == NAMES
        found = np.array([[point["x"], point["y"]] for point in result["points"]])
        np.testing.assert_allclose(found / shown.shape[0] * pixels.shape[0], points[:, :2], atol=4)
        assert np.asarray(Image.open(tmp_path / "drawn" / f"{number}.png")).shape[2] == 3


def test_a_part_has_the_coordinates_of_its_place_in_the_picture(faces):
    """An AddCoords in the place of the network sees where in the picture the input lies."""
    task = build(faces, window=True, jitter=0.3, region="whole")
    seen = pcc.AddCoords()
    for index in range(6):
        *_, place, _, _, window = task.train_samples(seed=3)[index]
        with pcc.window(window[None, :4], window[4:]):
            x, y = seen(paddle.zeros([1, 1, 64, 64]))[0, 1:].numpy()
        # From -1 to 1 over the whole's input, which shows 64 x 64 pixels of the picture; the part's are 64 / scale.
        left, top, scale = place
        assert (x[0, 0] + 1) * 32 == pytest.approx(left, abs=0.6)
        assert (y[0, 0] + 1) * 32 == pytest.approx(top, abs=0.6)
        assert (x[0, -1] - x[0, 0]) * 32 == pytest.approx(64 / scale, rel=0.05)


def test_the_check_reports_statistics_and_draws_a_sheet(faces):
    found = build(faces).check_data()
    assert found.statistics["train"]["objects"] == 64
    assert found.statistics["train"]["labelled"] == dict.fromkeys(NAMES, 64)
    assert found.statistics["test"]["pictures"] == 8
    assert found.sheet.dtype == np.uint8


def test_pictures_are_normalised_by_mean_and_std(faces):
    plain, task = build(faces), build(faces, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 1.0])
    pixels = 0.5 + 0.5 * plain.test_samples()[0][0].transpose(1, 2, 0)
    expected = (pixels - [0.1, 0.2, 0.3]) / [0.5, 0.25, 1.0]
    grey = np.isclose(pixels, 0.5, atol=0.01).all(axis=2)  # what a picture doesn't fill is the mean, whatever that is
    got = task.test_samples()[0][0].transpose(1, 2, 0)
    np.testing.assert_allclose(got[~grey], expected[~grey], atol=1e-5)
    assert task.export_metadata()["preprocess"]["std"] == [0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "argmax"}, "method takes one of heatmap, dsnt, got 'argmax'"),
        ({"image_size": [60, 64]}, "image_size takes a height and a width, multiples of 8 pixels with this model"),
        ({"std": 0.5}, "^std takes three numbers, of red, green and blue, got 0.5"),
        ({"sigma": 0}, "sigma takes"),
        ({"sigmas": [0.1]}, "sigmas takes a number for each of the 4 keypoints, got .0.1"),
        ({"sigmas": [0.1, 0.1, 0.1, 0]}, "sigmas takes"),
        ({"window": True}, "window is for region=whole: a box's part is measured and served without its window"),
        ({"region": "half"}, "region takes one of box, whole"),
        (
            {"model": NamedConfig(name="yolo")},
            "the model 'yolo' takes no num_keypoints, which the task has; take another",
        ),
        (
            {"model": NamedConfig(name="keypoint_net", num_keypoints=3)},
            "model.num_keypoints follows from the data, 4 here",
        ),
    ],
)
def test_wrong_options(faces, options, words):
    with pytest.raises(UserError, match=words):
        build(faces, **options)


def test_seventeen_points_are_measured_by_cocos_sigmas(tmp_path):
    write_faces(tmp_path / "faces", (2, 2))
    for part in ("train", "test"):
        tree = json.loads((tmp_path / "faces" / f"{part}.json").read_text())
        tree["categories"] = [{**CATEGORY, "keypoints": [f"p{n}" for n in range(17)], "skeleton": []}]
        for annotation in tree["annotations"]:
            annotation["keypoints"] += [0] * 39
        (tmp_path / "faces" / f"{part}.json").write_text(json.dumps(tree))
    task = build(tmp_path / "faces")
    assert task.metrics()._sigmas[0] == 0.026
    assert build(tmp_path / "faces", sigmas=[0.5] * 17).metrics()._sigmas[0] == 0.5
