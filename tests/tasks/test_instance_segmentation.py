"""The task of instance segmentation: targets, losses, and the whole way from a file to masks in a picture."""

import json

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instance_pictures import write_instances
from PIL import Image
from segmentation_pictures import COLOURS

from ppcoordconv.config import NamedConfig, load_config
from ppcoordconv.data.outlines import read_outline
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import infer
from ppcoordconv.tasks import TASKS, build_task, trained_task
from ppcoordconv.tasks.instance_segmentation import cells_of, mask_loss
from ppcoordconv.training.evaluation import evaluate
from ppcoordconv.training.prefetch import Batch
from ppcoordconv.training.trainer import train
from ppcoordconv.utils.errors import UserError

CONFIG = """
task: {{name: instance_segmentation, image_size: [64, 64], flip: true, crop: 0.1}}
model: {{name: solo_net, grid: 8, width: 16, mask_channels: 16}}
data: {{name: coco_instances, path: {data}}}
optimizer: {{learning_rate: 0.01}}
schedule: {{name: one_cycle}}
epochs: 24
batch_size: 8
output_dir: {output}
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    write_instances(folder, (48, 8))
    return folder


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yml").write_text(CONFIG.format(data=shapes, output=folder / "run"))
    config = load_config(folder / "config.yml", [])
    paddle.seed(0)
    train(build_task(config), config)
    return folder / "run"


def build(path, model=None, metadata=None, **options):
    model = model or NamedConfig(name="solo_net", grid=8)
    data = NamedConfig(name="coco_instances", path=str(path))
    options = {"image_size": [64, 64], **options}
    return TASKS.build("instance_segmentation", model=model, data=data, metadata=metadata, **options)


def plain_cells(masks, classes, grid):
    """As SOLO's code has it, cell by cell: those in the middle fifth of the box around the centre of mass, at most one
    from the centre's own.
    """
    height, width = masks.shape[1:]
    found = np.full([grid, grid], -1)
    for index in sorted(range(len(masks)), key=lambda n: -int(masks[n].sum())):
        y, x = np.nonzero(masks[index])
        if not len(y):
            continue
        cy, cx = y.mean() + 0.5, x.mean() + 0.5
        half_h, half_w = 0.1 * (y.max() + 1 - y.min()), 0.1 * (x.max() + 1 - x.min())
        for row in range(grid):
            for column in range(grid):
                near = abs(row - int(cy / height * grid)) <= 1 and abs(column - int(cx / width * grid)) <= 1
                rows = int((cy - half_h) / height * grid) <= row <= int((cy + half_h) / height * grid)
                columns = int((cx - half_w) / width * grid) <= column <= int((cx + half_w) / width * grid)
                if near and rows and columns:
                    found[row, column] = index
    return found


@given(st.integers(0, 10_000), st.integers(0, 4), st.integers(2, 24))
def test_cells_are_those_around_the_centre_of_mass(seed, count, grid):
    rng = np.random.default_rng(seed)
    masks = np.zeros([count, 40, 56], np.uint8)
    for mask in masks:
        top, left = rng.integers(0, 30), rng.integers(0, 40)
        mask[top : top + rng.integers(1, 40), left : left + rng.integers(1, 50)] = 1
        mask[rng.random(mask.shape) < 0.5] = 0
    classes = rng.integers(0, 5, count)
    categories, owners = cells_of(masks, classes, np.zeros(count, bool), grid)
    np.testing.assert_array_equal(owners, plain_cells(masks, classes, grid))
    expected = np.append(classes, -1)[owners]
    np.testing.assert_array_equal(categories, expected)


def test_in_a_crowd_nothing_is_learnt_but_objects():
    masks = np.zeros([2, 32, 32], np.uint8)
    masks[0, :, :16] = 1
    masks[1, 4:8, 4:8] = 1
    categories, owners = cells_of(masks, np.array([0, 3]), np.array([True, False]), 8)
    assert categories[1, 1] == 3
    assert owners[1, 1] == 1
    owners[1, 1] = -1
    assert (owners == -1).all()
    categories[1, 1] = -2
    assert (categories[:, :4] == -2).all()
    assert (categories[:, 4:] == -1).all()


def test_a_crowds_cells_do_not_count(shapes):
    task = build(shapes)
    logits, maps = paddle.zeros([1, 2, 8, 8]), [paddle.zeros([1, 4, 8, 8]), paddle.zeros([1, 4, 16, 16])]
    owners, masks = paddle.full([1, 8, 8], -1, "int64"), paddle.zeros([1, 1, 64, 64], "uint8")
    losses = []
    for value in (-2, -1):
        categories = paddle.full([1, 8, 8], value, "int64")
        losses.append(task.loss([logits, *maps], [categories, owners, masks]).item())
    # Lin et al. 2017: 0.75 * 0.5^2 * log 2 for each category of each cell, over one more than there are objects.
    assert losses == pytest.approx([0, 2 * 64 * 0.75 * 0.25 * np.log(2)], rel=1e-5)


def test_the_loss_of_masks_is_dice():
    rng = np.random.default_rng(0)
    kernels, features = rng.standard_normal([2, 4, 3, 3]), rng.standard_normal([2, 4, 5, 6])
    owners = rng.integers(-1, 2, [2, 3, 3])
    masks = (rng.random([2, 2, 20, 24]) < 0.5).astype(np.uint8)
    losses = []
    for n, row, column in np.argwhere(owners >= 0):
        found = 1 / (1 + np.exp(-np.einsum("e,ehw->hw", kernels[n, :, row, column], features[n])))
        wanted = masks[n, owners[n, row, column]].reshape(5, 4, 6, 4).mean(axis=(1, 3))
        losses.append(1 - 2 * (found * wanted).sum() / ((found**2).sum() + (wanted**2).sum()))
    given_ = [paddle.to_tensor(kernels.astype("float32")), paddle.to_tensor(features.astype("float32"))]
    found = mask_loss(*given_, paddle.to_tensor(owners), paddle.to_tensor(masks), 4)
    assert found.item() == pytest.approx(np.mean(losses), rel=1e-4)
    for changed in range(2):
        step = paddle.to_tensor(rng.standard_normal(given_[changed].shape).astype("float32"))
        ends = [[*given_], [*given_]]
        for end, way in zip(ends, (-1, 1)):
            end[changed] = end[changed] + way * 1e-2 * step
        low, high = (mask_loss(*end, paddle.to_tensor(owners), paddle.to_tensor(masks), 4).item() for end in ends)
        given_[changed].stop_gradient = False
        mask_loss(*given_, paddle.to_tensor(owners), paddle.to_tensor(masks), 4).backward()
        slope = (given_[changed].grad * step).sum().item()
        assert (high - low) / 2e-2 == pytest.approx(slope, rel=0.02, abs=1e-3)
        given_[changed].stop_gradient = True
    assert mask_loss(*given_, paddle.full([2, 3, 3], -1, "int64"), paddle.to_tensor(masks), 4).item() == 0


def test_targets_are_where_the_input_shows_them(shapes):
    """With every augmentation: a cell's mask covers pixels of one object's colour."""
    task = build(shapes, flip=True, crop=0.4, image_size=[96, 128])
    for index in range(6):
        x, categories, owners, masks, classes, crowd, scale = task.train_samples(seed=index)[index]
        assert (x.shape, masks.shape[1:], categories.shape) == ((3, 96, 128), (96, 128), (8, 8))
        assert (owners >= 0).sum() == (categories >= 0).sum() >= (classes >= 0).sum() > 0
        assert scale >= 1.5
        pixels = 255 * (0.5 + 0.5 * x.transpose(1, 2, 0))
        for number in np.unique(owners[owners >= 0]):
            category = classes[number]
            assert (categories[owners == number] == category).all()
            is_its = np.abs(pixels - COLOURS[category + 1]).max(axis=2) < 60
            assert is_its[masks[number] > 0].mean() > 0.85
        assert (masks[classes < 0] == 0).all()
        assert not crowd.any()


def test_test_samples_are_whole_pictures(shapes):
    task = build(shapes)
    one = task.data.test[2]
    _, _, _, masks, classes, crowd, scale = task.test_samples()[2]
    np.testing.assert_array_equal(masks, one.masks())
    np.testing.assert_array_equal(classes, one.classes)
    assert scale == 1


def test_every_weight_gets_a_gradient_with_objects_and_without(shapes):
    task = build(shapes)
    inputs, *targets = Batch.collate(task.train_samples(0), np.arange(2)).tensors()
    for owners in (targets[1], paddle.full_like(targets[1], -1)):
        task.network.clear_gradients()
        task.loss(task.network(inputs), [targets[0], owners, *targets[2:]]).backward()
        parameters = [one for one in task.network.parameters() if not one.stop_gradient]
        assert all(one.grad is not None for one in parameters)


def test_it_learns_and_the_weights_measure_what_training_measured(run):
    best = json.loads((run / "metrics.json").read_text())["best"]
    assert best["ap50"] > 0.6
    task = trained_task(load_config(run / "config.yml", []), run / "best.pdparams")
    metrics, outputs = evaluate(task, task.test_samples(), 5)
    assert metrics["ap"] == pytest.approx(best["ap"], abs=1e-3)
    assert task.visualize(outputs).dtype == np.uint8
    report = json.loads((run / "report.json").read_text())
    assert [entry["label"] for entry in report["classes"]] == ["disc", "square"]
    assert (run / "precision_recall.png").exists()


@pytest.mark.parametrize("format", ["paddle", "legacy", "onnx"])
def test_exported_without_the_data_it_finds_the_masks_of_a_picture(run, tmp_path, format):
    config = load_config(run / "config.yml", ["data.path=nowhere"])
    export_task(trained_task(config, run / "best.pdparams"), tmp_path / "model", format)
    predictor = Predictor(str(tmp_path / "model"))
    with_data = build_task(load_config(run / "config.yml", []), predictor.description)
    best = json.loads((run / "metrics.json").read_text())["best"]
    assert evaluate_exported(with_data, predictor, with_data.test_samples(), 5)["ap"] == pytest.approx(
        best["ap"], abs=1e-2
    )
    overlaps = []
    for number, one in enumerate(with_data.data.test):
        pixels, masks = (
            one.pixels().repeat(2, axis=0).repeat(2, axis=1),
            one.masks().repeat(2, axis=1).repeat(2, axis=2),
        )
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        (result,) = infer(predictor, [tmp_path / f"{number}.png"], tmp_path / "drawn")
        assert (result["height"], result["width"]) == (128, 128)
        assert np.asarray(Image.open(tmp_path / "drawn" / f"{number}.png")).shape[2] == 3
        json.dumps(result)
        for found in result["objects"]:
            mask = read_outline("it", found["segmentation"], (128, 128)).mask()
            left, top, right, bottom = map(int, found["box"])
            assert mask[top:bottom, left:right].sum() == mask.sum() > 0
            overlaps += [max((mask & (m > 0)).sum() / (mask | (m > 0)).sum() for m in masks)]
    assert len(overlaps) > 8
    assert np.median(overlaps) > 0.6


def test_it_is_served(run, tmp_path):
    testclient = pytest.importorskip("fastapi.testclient")
    pytest.importorskip("httpx")
    from ppcoordconv.deploy.serve import create_app

    task = trained_task(load_config(run / "config.yml", []), run / "best.pdparams")
    export_task(task, tmp_path / "model")
    pixels = task.data.test[0].pixels()
    Image.fromarray(pixels).save(tmp_path / "one.png")
    predictor = Predictor(str(tmp_path / "model"))
    with testclient.TestClient(create_app(predictor)) as client, (tmp_path / "one.png").open("rb") as file:
        (result,) = client.post("/predict", files={"file": ("one.png", file)}).json()["results"]
    (expected,) = infer(predictor, [tmp_path / "one.png"])
    assert result["objects"] == expected["objects"]


def test_the_check_reports_statistics_and_draws_a_sheet(shapes):
    found = build(shapes).check_data()
    assert found.statistics["train"]["boxes"] == 3 * 48
    assert sum(found.statistics["test"]["classes"].values()) == 3 * 8
    assert found.sheet.dtype == np.uint8
    assert found.suggestions == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": [60, 64]}, "image_size takes a height and a width, multiples of 8 pixels with this model"),
        ({"image_size": [64, 24]}, "image_size takes at least 4 pixels for each of the 8 cells of model.grid, got .64"),
        ({"score_threshold": 2}, "score_threshold takes"),
        ({"crop": 1}, "crop takes"),
        ({"flip": 1}, "flip takes true or false, got 1"),
        ({"std": 0}, "^std takes three numbers"),
        ({"model": NamedConfig(name="unet")}, "the model 'unet' is for the task 'segmentation' alone; take that task"),
        (
            {"model": NamedConfig(name="mobilenet_v2")},
            "task 'instance_segmentation' takes the model solo_net, got",
        ),
        ({"model": NamedConfig(name="keypoint_net")}, "the model 'keypoint_net' takes no num_classes, which the task"),
        ({"model": NamedConfig(name="solo_net", num_classes=3)}, "model.num_classes follows from the data, 2 here"),
        ({"model": NamedConfig(name="solo_net", coord="all")}, "model.coord takes one of none, kernel, mask, both"),
    ],
)
def test_wrong_options(shapes, options, words):
    with pytest.raises(UserError, match=words) as caught:
        build(shapes, **options)
    assert "\n" not in str(caught.value)


def test_it_takes_data_with_outlines_alone(shapes):
    data = NamedConfig(name="coco_masks", path=str(shapes))
    with pytest.raises(
        UserError, match="the task takes a dataset of InstanceData, and 'coco_masks' gives Segmentation"
    ):
        TASKS.build("instance_segmentation", model=NamedConfig(name="solo_net"), data=data)


def test_a_detector_learns_its_boxes(shapes):
    data, model = NamedConfig(name="coco_instances", path=str(shapes)), NamedConfig(name="yolo")
    task = TASKS.build("detection", model=model, data=data, image_size=[64, 64])
    _, boxes, classes, *_ = task.test_samples()[0]
    np.testing.assert_allclose(boxes, task.data.test[0].boxes)
    np.testing.assert_array_equal(classes, task.data.test[0].classes)
