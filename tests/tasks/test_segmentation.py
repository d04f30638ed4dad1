"""The segmentation task: targets, losses, windows, and the whole way from masks in files to masks of pictures."""

import base64
import io
import json

import numpy as np
import paddle
import pytest
from conftest import ROOT, examples
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from segmentation_pictures import COLOURS, NAMES, write_coco, write_masks

import ppcoordconv as pcc
from ppcoordconv.config import NamedConfig, load_config
from ppcoordconv.data.boxes import Letterbox
from ppcoordconv.data.images import Preprocess
from ppcoordconv.deploy import Predictor, export
from ppcoordconv.deploy.evaluate import evaluate_exported
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import infer
from ppcoordconv.deploy.serve import create_app
from ppcoordconv.models import zoo
from ppcoordconv.postprocess import SERVED
from ppcoordconv.tasks import TASKS, build_task, trained_task
from ppcoordconv.tasks.segmentation import dice_loss
from ppcoordconv.training.evaluation import evaluate
from ppcoordconv.training.trainer import train
from ppcoordconv.utils.errors import UserError
from ppcoordconv.viz.draw import masked

CONFIG = """
task: {{name: segmentation, image_size: [48, 64], dice: 1.0, crop: 0.2, flip: true}}
model: {{name: unet, width: 8, depth: 3}}
data: {{name: mask_folder, path: {data}}}
optimizer: {{learning_rate: 0.01}}
schedule: {{name: one_cycle}}
epochs: 6
batch_size: 8
output_dir: {output}
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    write_masks(folder, (64, 12))
    return folder


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "config.yml").write_text(CONFIG.format(data=pictures, output=folder / "run"))
    config = load_config(folder / "config.yml", [])
    paddle.seed(0)
    train(build_task(config), config)
    return folder / "run"


@pytest.fixture(scope="module")
def served(run, tmp_path_factory):
    """The model, exported in each format without the data."""
    task = trained_task(load_config(run / "config.yml", ["data.path=nowhere"]), run / "best.pdparams")
    folder = tmp_path_factory.mktemp("served")
    export_task(task, folder / "paddle")
    export_task(task, folder / "onnx", "onnx")
    return folder


def build(path, model=None, metadata=None, **options):
    model = model or NamedConfig(name="unet", width=4, depth=2)
    data = NamedConfig(name="mask_folder", path=str(path))
    return TASKS.build("segmentation", model=model, data=data, metadata=metadata, **options)


@pytest.mark.parametrize("options", [{}, {"flip": True, "crop": 0.5}])
def test_a_mask_undergoes_what_its_picture_does(pictures, options):
    """A pixel's class follows from its colour."""
    task = build(pictures, image_size=[48, 64], colour=0.0, **options)
    colours = np.array(COLOURS)
    for index in range(8):
        for samples in (task.train_samples(seed=1), task.test_samples()):
            x, mask = samples[index]
            assert (x.shape, mask.shape, mask.dtype) == ((3, 48, 64), (48, 64), np.uint8)
            pixels = 255 * (0.5 + 0.5 * x.transpose(1, 2, 0))
            nearest = np.abs(pixels[:, :, None] - colours).sum(axis=3).argmin(axis=2)
            counts = mask != 255
            assert counts.mean() > 0.45
            # Where a picture is scaled, the rims of its shapes are of both colours.
            assert (nearest == mask)[counts].mean() > (0.93 if options else 0.999)


def test_the_cross_entropy_is_the_mean_over_the_pixels_that_count(pictures):
    task = build(pictures, image_size=[48, 64])
    rng = np.random.default_rng(0)
    logits, mask = rng.standard_normal([2, 3, 4, 5]), rng.integers(0, 3, [2, 4, 5])
    mask[0, :2] = 255
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    each = [-logs[n, mask[n, i, j], i, j] for n, i, j in np.argwhere(mask != 255)]
    got = task.loss(paddle.to_tensor(logits.astype("float32")), [paddle.to_tensor(mask.astype("uint8"))]).item()
    assert got == pytest.approx(np.mean(each), rel=1e-5)
    nothing = [paddle.full([2, 4, 5], 255, "uint8")]
    assert task.loss(paddle.to_tensor(logits.astype("float32")), nothing).item() == 0


@settings(max_examples=examples(20))
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_dice_is_the_formula_written_out(seed, classes):
    rng = np.random.default_rng(seed)
    scores = rng.random([2, classes, 3, 4]).astype("float32")
    mask = rng.choice([*range(classes), 255], [2, 3, 4])
    terms = []
    for number in range(classes):
        p, g = scores[:, number][mask != 255].astype(float), (mask == number)[mask != 255].astype(float)
        if g.any():
            terms.append(1 - 2 * (p * g).sum() / ((p * p).sum() + (g * g).sum()))
    got = dice_loss(paddle.to_tensor(scores), paddle.to_tensor(mask.astype("int64"))).item()
    assert got == pytest.approx(np.mean(terms) if terms else 0, rel=1e-4, abs=1e-6)


def test_a_right_mask_has_the_least_loss(pictures):
    task = build(pictures, image_size=[48, 64], dice=1.0)
    _, mask = task.test_samples()[0]
    target = [paddle.to_tensor(mask)[None]]
    right = 20 * np.eye(3, dtype="float32")[np.where(mask == 255, 0, mask)].transpose(2, 0, 1)[None]
    assert task.loss(paddle.to_tensor(right), target).item() == pytest.approx(0, abs=1e-4)
    assert task.loss(paddle.to_tensor(np.roll(right, 9, axis=3)), target).item() > 1


def test_it_learns_and_the_weights_measure_what_training_measured(run):
    best = json.loads((run / "metrics.json").read_text())["best"]
    assert best["miou"] > 0.9
    task = trained_task(load_config(run / "config.yml", []), run / "best.pdparams")
    metrics, outputs = evaluate(task, task.test_samples(), 5)
    assert metrics["miou"] == pytest.approx(best["miou"], rel=1e-4)
    assert task.visualize(outputs).dtype == np.uint8
    report = json.loads((run / "report.json").read_text())
    assert [entry["label"] for entry in report["classes"]] == NAMES
    assert (run / "confusion.png").exists()


@pytest.mark.parametrize("format", ["paddle", "onnx"])
def test_exported_it_measures_what_the_weights_do(run, served, format):
    predictor = Predictor(str(served / format))
    task = build_task(load_config(run / "config.yml", []), predictor.description)
    best = json.loads((run / "metrics.json").read_text())["best"]
    measured = evaluate_exported(task, predictor, task.test_samples(), 5)
    assert measured["miou"] == pytest.approx(best["miou"], rel=1e-3)


@pytest.mark.parametrize("times", [1, 3])
def test_infer_writes_the_mask_of_a_picture_in_its_size(served, pictures, tmp_path, times):
    picture, mask = (Image.open(pictures / kind / "val" / "0.png") for kind in ("images", "masks"))
    size = (times * picture.width, times * picture.height)
    picture.resize(size, Image.Resampling.NEAREST).save(tmp_path / "a.png")
    expected = np.asarray(mask.resize(size, Image.Resampling.NEAREST))
    (result,) = infer(Predictor(str(served / "paddle")), [tmp_path / "a.png"], tmp_path / "out")
    assert (result["width"], result["height"], result["mask"]) == (*size, "masks/a.png")
    with Image.open(tmp_path / "out" / "masks" / "a.png") as image:
        assert image.mode == "P"
        found = np.asarray(image)
    assert (found == expected).mean() > 0.97
    shares = {entry["label"]: entry["share"] for entry in result["classes"]}
    assert shares == {name: pytest.approx((found == n).mean(), abs=1e-5) for n, name in enumerate(NAMES)}
    assert Image.open(tmp_path / "out" / "a.png").size[0] >= size[0]
    assert json.loads((tmp_path / "out" / "results.jsonl").read_text())["mask"] == "masks/a.png"


def test_without_a_folder_and_served_the_mask_is_a_data_uri(served, pictures):
    path = pictures / "images" / "val" / "1.png"
    predictor = Predictor(str(served / "paddle"))
    (result,) = infer(predictor, [path])
    head, _, data = result["mask"].partition(",")
    assert head == "data:image/png;base64"
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert (found == np.asarray(Image.open(pictures / "masks" / "val" / "1.png"))).mean() > 0.97
    with TestClient(create_app(predictor)) as client:
        (answer,) = client.post("/predict", files={"file": ("1.png", path.read_bytes())}).json()["results"]
    assert {**answer, "input": result["input"]} == result


def test_what_an_earlier_call_wrote_is_moved_aside_and_a_resume_goes_on(served, pictures, tmp_path):
    predictor, out = Predictor(str(served / "paddle")), tmp_path / "out"
    inputs = [pictures / "images" / "val" / f"{number}.png" for number in range(3)]
    everything = list(infer(predictor, inputs, out))
    before = (out / "masks" / "0.png").read_bytes()
    assert list(infer(predictor, inputs[:1], out))[0] == everything[0]
    assert (out / "earlier.1" / "masks" / "2.png").exists()
    assert [path.name for path in (out / "masks").iterdir()] == ["0.png"]
    assert list(infer(predictor, inputs, out, resume=True)) == everything[1:]
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["0.png", "1.png", "2.png"]
    assert (out / "masks" / "0.png").read_bytes() == before
    with pytest.raises(UserError, match="would replace the input"):
        list(infer(predictor, [out / "masks" / "0.png"], out))


def test_a_folder_of_ones_own_masks_stays_where_it_is(served, pictures, tmp_path):
    (tmp_path / "masks").mkdir()
    Image.open(pictures / "masks" / "val" / "0.png").save(tmp_path / "masks" / "mine.png")
    predictor = Predictor(str(served / "paddle"))
    list(infer(predictor, [pictures / "images" / "val" / "1.png"], tmp_path))
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["1.png", "mine.png"]
    list(infer(predictor, [pictures / "images" / "val" / "1.png"], tmp_path))
    assert (tmp_path / "earlier.1" / "masks" / "1.png").exists()
    (tmp_path / "results.jsonl").unlink()
    with pytest.raises(UserError, match="output has .*masks/1.png, which is no result of infer; choose another folder"):
        list(infer(predictor, [pictures / "images" / "val" / "1.png"], tmp_path))
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["1.png", "mine.png"]
    with pytest.raises(UserError, match="would replace the input"):
        list(infer(predictor, [tmp_path / "masks"], tmp_path))


def test_classes_of_any_name_are_drawn_without_a_word(recwarn):
    labels = [str(number) for number in range(100)]
    mask = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert masked(np.zeros([10, 10, 3], np.uint8), mask, labels).shape[2] == 3
    assert not recwarn.list


def test_scores_of_a_quarter_of_the_size_are_those_of_the_picture():
    form, letterbox = SERVED.build("segmentation"), Letterbox((64, 64))
    scores = np.zeros([1, 2, 16, 16], np.float32)
    scores[0, 1, :4, :8] = 1  # of a picture of 100x50, which fills the upper half of the input
    (result,) = form.decode(scores, ["no", "yes"])
    mask = form.to_image(result, letterbox, (50, 100))["mask"]
    assert mask.shape == (50, 100)
    assert mask[:24, :49].all()
    assert not mask[26:].any() and not mask[:, 51:].any()


def test_what_is_found_in_a_picture_needs_a_letterbox(tmp_path):
    network = pcc.models.create("unet", width=4, depth=2)
    example = np.zeros([1, 3, 64, 64], np.float32)
    options = {"served_form": "segmentation", "labels": ["no", "yes"]}
    with pytest.raises(UserError, match="^preprocess takes a Letterbox for what is found in a picture, got Preprocess"):
        export(network, tmp_path / "a", example, preprocess=Preprocess((64, 64)), **options)
    assert export(network, tmp_path / "a", example, preprocess=Letterbox((64, 64)), **options)


def test_a_free_size_is_tried_with_others_however_small_the_input(tmp_path):
    network = pcc.models.create("unet", width=2, depth=6)
    checked = export(network, tmp_path / "a", np.zeros([1, 3, 64, 64], np.float32), dynamic_size=True)["checked"]
    assert [2, 3, 128, 64] in checked["inputs"]


def test_tiles_of_a_large_picture_are_joined(served, pictures, tmp_path):
    predictor = Predictor(str(served / "paddle"))
    parts = [
        [np.asarray(Image.open(pictures / kind / "val" / f"{n}.png")) for n in range(9)] for kind in ("images", "masks")
    ]
    whole, mask = (np.concatenate([np.concatenate(p[3 * r : 3 * r + 3], axis=1) for r in range(3)]) for p in parts)
    Image.fromarray(whole).save(tmp_path / "large.png")
    (result,) = infer(predictor, [tmp_path / "large.png"], tmp_path / "out", tile=64, overlap=16)
    found = np.asarray(Image.open(tmp_path / "out" / "masks" / "large.png"))
    assert found.shape == mask.shape == (result["height"], result["width"])
    assert (found == mask).mean() > 0.9


def test_with_windows_a_tile_knows_where_in_the_picture_it_lies(tmp_path):
    """Dots whose class is the quarter of the picture, of which a tile is one; by itself it has four of its own."""
    config = ROOT / "configs" / "segmentation" / "bands.yml"
    task = trained_task(load_config(config, ["data.path=nowhere"]), zoo.weights_path("unet"))
    rng = np.random.default_rng(0)
    pixels, mask = rng.integers(0, 60, [192, 384, 3]).astype(np.uint8), np.zeros([192, 384], np.uint8)
    rows, columns = np.mgrid[:192, :384] + 0.5
    for x in range(20, 384, 29):
        for y in range(24, 192, 32):
            dot = (columns - x) ** 2 + (rows - y) ** 2 <= 16
            mask[dot] = 1 + 4 * x // 384
            pixels[dot] += 150
    Image.fromarray(pixels).save(tmp_path / "large.png")
    right = []
    for window in (True, False):
        export_task(task, tmp_path / f"model_{window}", window=window)
        predictor, out = Predictor(str(tmp_path / f"model_{window}")), tmp_path / f"out_{window}"
        list(infer(predictor, [tmp_path / "large.png"], out, tile=96, overlap=32))
        found = np.asarray(Image.open(out / "masks" / "large.png"))
        right.append((found == mask)[mask > 0].mean())
    assert right[0] > 0.93
    assert right[1] < right[0] - 0.3


def test_of_a_tile_the_part_of_its_own_is_taken():
    """Each tile gives one class; where they meet in the whole is where neither is near its end."""
    from ppcoordconv.deploy.tiles import Tiles

    parts = Tiles(16, 8).parts((20, 40))
    results = []
    for number, (left, top, right, bottom) in enumerate(part.box for part in parts):
        results.append({"labels": [], "mask": np.full([bottom - top, right - left], number, np.uint8)})
    mask = SERVED.build("segmentation").joined(results, parts, (20, 40))["mask"]
    for number, (box, own) in enumerate(parts):
        rows, columns = np.nonzero(mask == number)
        assert len(rows)
        assert box[0] <= columns.min() and columns.max() < box[2] and box[1] <= rows.min() and rows.max() < box[3]
        assert own[0] <= columns.min() + 0.5 and columns.max() + 0.5 <= own[2]


def test_a_crop_has_the_coordinates_of_its_place_in_the_picture(pictures):
    task = build(pictures, image_size=[48, 64], window=True, crop=0.5)
    seen = pcc.AddCoords()
    moved = 0
    for index in range(6):
        x, mask, window = task.train_samples(seed=3)[index]
        with pcc.window(window[None, :4], window[4:]):
            columns, rows = seen(paddle.zeros([1, 1, 48, 64]))[0, 1:].numpy()
        # The picture is as large as the input, so that a coordinate is a pixel of it.
        whole = task.data.train[index].mask()
        at = [
            np.clip(np.round((np.stack([rows, columns]) + 1) / 2 * (np.array([[[47]], [[63]]]))), 0, [[[47]], [[63]]])
        ]
        there = whole[tuple(at[0].astype(int))]
        counts = mask != 255
        assert (there == mask)[counts].mean() > 0.93
        moved += window[:2].any()
    assert moved > 3


def test_the_check_reports_statistics_and_draws_a_sheet(pictures):
    found = build(pictures).check_data()
    masks = [np.asarray(Image.open(path)) for path in sorted((pictures / "masks" / "val").iterdir())]
    expected = {name: pytest.approx((np.stack(masks) == number).mean(), abs=1e-5) for number, name in enumerate(NAMES)}
    assert found.statistics["test"]["shares"] == expected
    assert found.statistics["train"]["pictures"] == 64
    assert found.sheet.dtype == np.uint8


def test_weights_of_one_data_set_measure_another_of_the_same_classes(run, tmp_path):
    write_coco(tmp_path / "coco", (3, 4))
    config = load_config(run / "config.yml", ["data={name: coco_masks, path: " + str(tmp_path / "coco") + "}"])
    task = trained_task(config, run / "best.pdparams")
    metrics, _ = evaluate(task, task.test_samples(), 4)
    assert metrics["miou"] > 0.8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"image_size": [30, 64]},
            r"image_size takes a height and a width, multiples of 4 pixels with this model, got",
        ),
        ({"dice": -1}, "^dice takes a number from 0 to 100, got -1"),
        ({"crop": 1}, "^crop takes"),
        ({"std": [1, 1]}, "^std takes three numbers"),
        ({"window": True, "model": NamedConfig(name="unet", coord="none")}, "window is for networks with CoordConv"),
        ({"model": NamedConfig(name="unet", num_classes=3)}, "model.num_classes follows from the data, 3 here"),
        ({"model": NamedConfig(name="yolo")}, "the model 'yolo' is for the task 'detection' alone"),
        ({"model": NamedConfig(name="resnet18")}, "takes the models unet and fpn_segmentation, got 'resnet18'"),
    ],
)
def test_wrong_options(pictures, options, words):
    with pytest.raises(UserError, match=words):
        build(pictures, **options)
