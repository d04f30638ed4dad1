"""The detection task: targets, loss, COCO's measure, pictures, and what it refuses."""

import contextlib
import json

import numpy as np
import paddle
import pytest
from conftest import ROOT
from PIL import Image

import ppcoordconv as pcc
from ppcoordconv.config import NamedConfig, load_config
from ppcoordconv.data import DATASETS
from ppcoordconv.data.augment import Augmentation
from ppcoordconv.data.boxes import BoxedImage, Letterbox
from ppcoordconv.data.scattered_digits import write_fields
from ppcoordconv.models.yolo import SCALE_X_Y, Decoded
from ppcoordconv.ops.boxes import ious as overlaps
from ppcoordconv.postprocess import SERVED
from ppcoordconv.tasks import TASKS, build_task
from ppcoordconv.tasks.detection import DetectionTask, _Samples, ious_at_objects
from ppcoordconv.utils.errors import UserError

ANCHORS = [[6, 14], [9, 16], [11, 14], [10, 19], [13, 18], [14, 21]]


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    folder = tmp_path_factory.mktemp("f") / "fields"
    write_fields(folder, DATASETS.build("digits"), (12, 6))
    return folder


def build(path, data=None, model=None, name="detection", **options):
    model = model or NamedConfig(name="yolo", anchors=ANCHORS)
    data = data or NamedConfig(name="coco", path=str(path))
    return TASKS.build(name, model=model, data=data, **{"image_size": [64, 64], **options})


def batch(samples, indices):
    return [np.stack(field) for field in zip(*(samples[i] for i in indices))]


def perfect(targets):
    """Detections that are the truth."""
    boxes, classes, *_ = targets
    rows = np.zeros([*boxes.shape[:2], 6], np.float32)
    rows[..., 0], rows[..., 1], rows[..., 2:] = classes, np.where(classes >= 0, 0.9, 0), boxes
    return rows


def losses_of(task, x, targets, steps=15):
    """What the loss is before each of some steps on one batch."""
    optimizer = paddle.optimizer.Adam(3e-3, parameters=task.network.parameters())
    losses = []
    for _ in range(steps):
        loss = task.loss(task.network(x), targets)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(loss.item())
    return losses


def test_targets_are_in_pixels_of_the_input(fields):
    task = build(fields, image_size=[128, 96])
    x, boxes, classes, crowd, scale = task.test_samples()[0]
    assert x.shape == (3, 128, 96)
    assert scale == 1.5
    np.testing.assert_allclose(boxes[:5], 1.5 * task.data.test[0].boxes)
    assert classes.tolist() == task.data.test[0].classes.tolist()
    assert not crowd.any()


class Doubled(DetectionTask):
    """As a user may derive it."""

    name = "doubled"

    def __init__(self, *args, factor=2.0, **options):
        super().__init__(*args, **options)
        self.factor = factor

    def loss(self, outputs, targets):
        return self.factor * super().loss(outputs, targets)


def test_a_task_derived_from_it_takes_its_models_and_its_options(fields, monkeypatch):
    monkeypatch.setitem(TASKS._builders, "doubled", Doubled)
    task = build(fields, name="doubled", factor=3.0, iou_loss=2.5)
    x, *targets = (paddle.to_tensor(field) for field in batch(task.train_samples(0), [0, 1]))
    outputs = task.network(x)
    assert task.loss(outputs, targets).item() == pytest.approx(3 * DetectionTask.loss(task, outputs, targets).item())
    with pytest.raises(UserError, match="task 'doubled' has no option 'iou_los': did you mean 'iou_loss'"):
        build(fields, name="doubled", iou_los=2.5)


def measured(metric, outputs, targets):
    """One picture after another."""
    for n in range(len(outputs)):
        metric.update(outputs[n : n + 1], [target[n : n + 1] for target in targets])
    return metric.compute()


def test_the_truth_is_perfect_and_less_is_less(fields):
    task = build(fields)
    _, *targets = batch(task.test_samples(), range(6))
    best = measured(task.metrics(), perfect(targets), targets)
    assert best["ap"] == best["ap50"] == best["mean_iou"] == 1
    shifted = perfect(targets)
    shifted[..., 2:] += 3
    worse = measured(task.metrics(), shifted, targets)
    assert worse["ap"] < 0.4
    assert 0.4 < worse["mean_iou"] < 0.8
    others = perfect(targets)
    others[..., 0] = (others[..., 0] + 1) % 10
    assert measured(task.metrics(), others, targets)["ap"] < 0.3
    nothing = np.zeros([6, 4, 6], np.float32)
    nothing[..., 0] = -1
    names = ["ap", "ap50", "ap75", "ar1", "ar10", "ar100", "ap_small", "ar_small", "mean_iou"]
    assert measured(task.metrics(), nothing, targets) == dict.fromkeys(names, 0)


def test_the_table_is_that_of_pycocotools(fields, capsys, monkeypatch):
    monkeypatch.setattr("ppcoordconv.metrics.coco.contextlib.redirect_stdout", contextlib.nullcontext)
    task = build(fields)
    _, *targets = batch(task.test_samples(), range(6))
    found = perfect(targets)
    found[..., 2:] += 2
    figures = measured(task.metrics(), found, targets)
    assert capsys.readouterr().out.splitlines()[-12:] == task.metrics().table(figures).splitlines()
    assert 0 < figures["ar1"] < figures["ar10"] == figures["ar100"] < 1


def test_the_loss_falls_and_crowds_and_padding_count_for_nothing(fields):
    paddle.seed(0)
    task = build(fields)
    x, *targets = (paddle.to_tensor(field) for field in batch(task.test_samples(), range(4)))
    losses = losses_of(task, x, targets)
    assert losses[-1] < 0.6 * losses[0]
    maps = task.network(x)
    boxes, classes, crowd, scale = targets
    junk = paddle.full([4, 3, 4], 30.0)
    junk[:, :, :2] = 10.0
    more = paddle.concat([boxes, junk], axis=1)
    before = task.loss(maps, targets).item()
    padded = [more, paddle.concat([classes, paddle.full([4, 3], -1, "int64")], 1), paddle.zeros([4, 8], "bool"), scale]
    assert task.loss(maps, padded).item() == pytest.approx(before, rel=1e-5)
    as_crowd = [more, paddle.concat([classes, paddle.zeros([4, 3], "int64")], 1), paddle.zeros([4, 8], "bool"), scale]
    assert abs(task.loss(maps, as_crowd).item() - before) > 1
    as_crowd[2] = paddle.concat([paddle.zeros([4, 5], "bool"), paddle.ones([4, 3], "bool")], 1)
    assert task.loss(maps, as_crowd).item() == pytest.approx(before, rel=1e-5)


def test_pictures_without_boxes_are_trained_on_too(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (64, 48)).save(tmp_path / split / "a.png")
        tree = {"images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}], "annotations": []}
        (tmp_path / f"{split}.json").write_text(json.dumps({**tree, "categories": [{"id": 1, "name": "cat"}]}))
    task = build(tmp_path)
    x, *targets = (paddle.to_tensor(field) for field in batch(task.test_samples(), [0]))
    maps = task.network(x)
    assert np.isfinite(task.loss(maps, targets).item())
    assert measured(task.metrics(), task.head(maps).numpy(), [t.numpy() for t in targets])["ap"] == 0


def test_with_the_labels_of_weights_the_test_set_alone_is_enough(fields, tmp_path):
    metadata = {"labels": [str(n) for n in range(10)]}
    task = build(tmp_path, metadata=metadata)
    assert task.network.num_classes == 10
    (tmp_path / "test").symlink_to(fields / "test")
    (tmp_path / "test.json").symlink_to(fields / "test.json")
    assert len(task.test_samples()) == 6
    with pytest.raises(UserError, match="there is no file .*train.json"):
        task.train_samples(0)
    with pytest.raises(UserError, match="the test set has the category '0', which is not trained on: 'cat'"):
        build(fields, metadata={"labels": ["cat"]}).test_samples()
    with pytest.raises(UserError, match="there is no file .*train.json"):
        build(tmp_path)


def test_an_epoch_has_one_of_the_sizes(fields):
    task = build(fields, sizes=[[32, 32], [96, 64]])
    shapes = {task.train_samples(seed)[0][0].shape for seed in range(9)}
    assert shapes == {(3, 64, 64), (3, 32, 32), (3, 96, 64)}
    assert task.test_samples()[0][0].shape == (3, 64, 64)


@pytest.mark.parametrize("flip", [False, True])
def test_in_windows_an_object_keeps_its_coordinates(flip):
    """Those of a crop are those of the whole, but that its sides are rounded to pixels; mirrored, if the picture is.

    The objects are of one pixel, so that none is cut.
    """
    coords, count = pcc.AddCoords(coords=pcc.Coords(lambda index, length: (2 * index + 1) / length - 1)), 0
    rng = np.random.default_rng(0)
    images = []
    for _ in range(40):
        size = rng.integers(50, 100, 2)
        corners = rng.integers([0, 0], size[::-1], [5, 2])
        boxes = np.concatenate([corners, corners + 1], axis=1).astype("float32")
        images.append(
            BoxedImage(np.zeros([*size, 3], "uint8"), tuple(size), boxes, np.zeros(5, int), np.zeros(5, bool))
        )
    whole, letterbox = Letterbox((64, 64)), Letterbox((96, 64))
    samples = _Samples(images, letterbox, Augmentation(flip, crop=0.6), whole, seed=0)
    for index, image in enumerate(images):
        x, boxes, classes, _, _, place = samples[index]
        with pcc.window(place[:4], place[4:]):
            seen = coords_at(coords, x, boxes[classes >= 0])
        middles = image.boxes * whole.scale(image.size)
        expected = coords_at(coords, whole(image.pixels()), middles)
        if flip:
            mirrored = image.size[1] * whole.scale(image.size) - middles[:, [2, 1, 0, 3]]
            mirrored[:, [1, 3]] = middles[:, [1, 3]]
            expected = np.concatenate([expected, coords_at(coords, whole(image.pixels()), mirrored)])
        for one in seen:
            assert np.abs(expected - one).max(axis=1).min() < 0.02
            count += 1
    assert count > 50


def test_windows_are_a_field_of_training_samples(fields):
    task = build(fields, sizes=[[96, 64]], window=True)
    assert [len(samples[0]) for samples in (task.train_samples(1), task.test_samples())] == [6, 5]
    *_, place = task.train_samples(1)[0]
    assert place.tolist() == [0, 0, 64, 96, 64, 64]
    with pytest.raises(UserError, match="window is for networks with CoordConv, and this one has none"):
        build(fields, model=NamedConfig(name="yolo", anchors=ANCHORS, coord_conv=False), window=True)


def coords_at(coords, x, boxes):
    """x and y of the middles of boxes, between those of the pixels."""
    grid = coords(paddle.to_tensor(x[None]))[0, 3:].numpy()
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return grid[:, 0, 0] + (middles - 0.5) * (grid[:, 1, 1] - grid[:, 0, 0])


def test_training_samples_follow_the_seed(fields):
    task = build(fields, flip=True, crop=0.3, colour=0.2)
    samples = [task.train_samples(seed)[3] for seed in (1, 1, 2)]
    assert all((a == b).all() for a, b in zip(samples[0], samples[1]))
    assert (samples[0][0] != samples[2][0]).any()


def test_with_nms_and_without_it_is_the_same(fields):
    with_nms, without = build(fields), build(fields, nms=False)
    without.network.set_state_dict(with_nms.network.state_dict())
    x, *targets = batch(with_nms.test_samples(), range(3))
    outputs = []
    for task in (with_nms, without):
        task.network.eval()
        outputs.append(task.head(task.network(paddle.to_tensor(x))).numpy())
    assert outputs[0].shape == (3, 100, 6)
    assert outputs[1].shape == (3, 3 * (256 + 64), 14)
    figures = [measured(task.metrics(), rows, targets) for task, rows in zip((with_nms, without), outputs)]
    assert figures[0] == figures[1]
    forms = [SERVED.build(task.export_metadata()["served_form"]) for task in (with_nms, without)]
    decoded = [form.decode(rows, list("0123456789")) for form, rows in zip(forms, outputs)]
    assert decoded[0] == decoded[1]


def test_the_picture_shows_the_boxes(fields):
    task = build(fields)
    _, *targets = batch(task.test_samples(), range(6))
    rows = perfect(targets)
    shown = task.visualize(rows)
    rows[..., 1] = 0.1  # too little to be shown
    assert (shown != task.visualize(rows)).any(axis=2).sum() > 1000


def test_the_box_that_is_to_find_an_object():
    """By hand: anchors, cells and overlaps of three objects on the coarser of two scales."""
    every, mine, stride = [[10, 10], [20, 20], [40, 10]], [1, 2], 8
    middles, sizes = (
        np.float32([[20, 12], [60, 31.5], [5, 5], [0, 0]]),
        np.float32([[22, 18], [36, 12], [9, 8], [0, 0]]),
    )
    relative = np.concatenate([middles, sizes], axis=1) / np.float32([64, 32, 64, 32])
    y = np.random.default_rng(0).standard_normal([1, 2 * 8, 4, 8]).astype("float32")
    tensor = paddle.to_tensor(y, stop_gradient=False)
    places, weights, ious = ious_at_objects(tensor, paddle.to_tensor(relative[None]), every, mine, stride)
    assert places.numpy()[0, :2].tolist() == [[0, 0, 1, 2], [0, 1, 3, 7]]
    assert weights.numpy()[0, 2:].tolist() == [0, 0]  # the finer scale's, and none
    np.testing.assert_allclose(weights.numpy()[0, :2], 2 - sizes[:2].prod(axis=1) / (64 * 32), rtol=1e-6)
    for number, (anchor, row, column) in enumerate([(0, 1, 2), (1, 3, 7)]):
        tx, ty, tw, th = y.reshape(2, 8, 4, 8)[anchor, :4, row, column]
        at = [(c + SCALE_X_Y / (1 + np.exp(-t)) - (SCALE_X_Y - 1) / 2) * stride for c, t in ((column, tx), (row, ty))]
        side = np.exp([tw, th]) * every[mine[anchor]]
        boxes = [
            np.concatenate([m - s / 2, m + s / 2])[None] for m, s in ((at, side), (middles[number], sizes[number]))
        ]
        assert ious[0, number].item() == pytest.approx(overlaps(*boxes).item(), rel=1e-4)
    ((1 - ious**2) * weights).sum().backward()
    assert np.isfinite(tensor.grad.numpy()).all()
    assert tensor.grad.abs().sum().item() > 0


def test_pp_yolos_losses_teach_how_boxes_fit(fields):
    paddle.seed(0)
    model = NamedConfig(name="yolo", anchors=ANCHORS, iou_aware=True)
    task, plain = build(fields, model=model, iou_loss=2.5), build(fields, model=model)
    x, *targets = (paddle.to_tensor(field) for field in batch(task.test_samples(), range(4)))
    maps = task.network(x)
    assert maps[0].shape[1] == 3 * (6 + 10)
    more = task.loss(maps, targets).item() - plain.loss(maps, targets).item()
    assert 0 < more < 2.5 * 2 * 5
    losses = losses_of(task, x, targets)
    assert losses[-1] < 0.6 * losses[0]
    # The score is obj^0.6 iou^0.4 class: less overlap, less score.
    decoded = Decoded(task.network, 0.0)(maps).numpy()
    low = [paddle.concat([y[:, :3] - 5, y[:, 3:]], axis=1) for y in maps]
    lower = Decoded(task.network, 0.0)(low).numpy()
    assert (lower[:, :, 4:] <= decoded[:, :, 4:]).all()
    np.testing.assert_allclose(lower[:, :, :4], decoded[:, :, :4])


def as_coco(fields, folder):
    """A field in the places where COCO's files are."""
    (folder / "annotations").mkdir()
    for split, name in (("train", "train2017"), ("test", "val2017")):
        (folder / name).symlink_to(fields / split)
        (folder / "annotations" / f"instances_{name}.json").symlink_to(fields / f"{split}.json")
    return folder


CONFIGS = sorted(path for path in (ROOT / "configs" / "detection").glob("*.yml") if not path.name.startswith("_"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_build_and_learn(fields, tmp_path, path):
    data = as_coco(fields, tmp_path) if path.stem.startswith("coco") else fields
    own = ["data.train_annotations=train.json", "data.train_images=train"] if path.stem == "custom" else []
    task = build_task(load_config(path, [f"data.path={data}", *own]))
    samples = next(s for s in map(task.train_samples, range(9)) if max(s[0][0].shape) <= 320)
    x, *targets = (paddle.to_tensor(field) for field in batch(samples, range(2)))
    task.network.train()
    loss = task.loss(task.network(x), targets)
    loss.backward()
    assert np.isfinite(loss.item())
    gradients = [p.grad is not None for p in task.network.parameters() if not p.stop_gradient]
    assert all(gradients)
    task.network.eval()
    with paddle.no_grad():
        assert tuple(task.head(task.network(x)).shape) == (2, 100, 6)


def test_pictures_are_normalised_by_mean_and_std(fields):
    plain, task = build(fields), build(fields, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 1.0])
    pixels = 0.5 + 0.5 * plain.test_samples()[0][0].transpose(1, 2, 0)
    expected = (pixels - [0.1, 0.2, 0.3]) / [0.5, 0.25, 1.0]
    grey = np.isclose(pixels, 0.5, atol=0.01).all(axis=2)  # what a picture doesn't fill is the mean, whatever that is
    got = task.test_samples()[0][0].transpose(1, 2, 0)
    np.testing.assert_allclose(got[~grey], expected[~grey], atol=1e-5)
    assert task.export_metadata()["preprocess"]["std"] == [0.5, 0.25, 1.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": [60, 64]}, "multiples of 8 pixels with this model, got \\[60, 64\\]"),
        ({"image_size": 64}, "takes a height and a width"),
        ({"sizes": [[64, 64], [33, 64]]}, "^sizes takes .* multiples of 8 pixels with this model, got \\[33, 64\\]"),
        ({"flip": "yes"}, "^flip takes true or false, got 'yes'"),
        ({"mean": [0.5]}, r"^mean takes three numbers, of red, green and blue, got"),
        ({"iou_loss": -1}, "^iou_loss takes a number from 0 to 100, got -1"),
        ({"model": NamedConfig(name="yolo", iou_aware=1)}, "model.iou_aware takes true or false, got 1"),
        ({"nms": 1}, "^nms takes true or false, got 1"),
        ({"mosaic": True}, "task 'detection' has no option 'mosaic'"),
        (
            {"data": NamedConfig(name="digits")},
            "of DetectionData, and 'digits' gives ClassificationData",
        ),
        ({"model": NamedConfig(name="aistudio_conv")}, "takes the model yolo, got 'aistudio_conv'"),
        ({"model": NamedConfig(name="yolo", num_classes=3)}, "num_classes follows from the data, 10 here"),
    ],
)
def test_what_is_refused(fields, options, words):
    with pytest.raises(UserError, match=words):
        build(fields, **options)
