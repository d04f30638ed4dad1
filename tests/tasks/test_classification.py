"""The classification task: what it measures, draws and tells a predictor, and what it refuses."""

import numpy as np
import paddle
import pytest
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from ppcoordconv.config import NamedConfig
from ppcoordconv.tasks import TASKS
from ppcoordconv.utils.errors import UserError


def build(model="aistudio_conv", data="digits", **options):
    model_config, data_config = (c if isinstance(c, NamedConfig) else NamedConfig(name=c) for c in (model, data))
    return TASKS.build("classification", model=model_config, data=data_config, **options)


@pytest.fixture(scope="module")
def task():
    return build(shift=2)


def test_accuracy(task):
    logits = np.eye(10, dtype=np.float32)[[1, 2, 3, 4]]
    metric = task.metrics()
    metric.update(logits, [np.array([1, 2, 3, 9])])
    assert metric.compute() == {"accuracy": 0.75, "top5": 0.75}


def test_loss_is_the_cross_entropy(task):
    loss = task.loss(paddle.to_tensor([[0.0, np.log(3.0)]], "float32"), [paddle.to_tensor([1])])
    assert loss.item() == pytest.approx(np.log(4 / 3), rel=1e-6)


def test_balanced_weights_are_those_of_scikit_learn():
    task = build(class_weights="balanced")
    classes = task.data.train.classes
    weights = compute_class_weight("balanced", classes=np.arange(10), y=classes)
    logits = np.random.default_rng(0).standard_normal([len(classes), 10]).astype(np.float32)
    each = [
        build().loss(paddle.to_tensor(row[None]), [paddle.to_tensor([c])]).item() for row, c in zip(logits[:9], classes)
    ]
    loss = lambda part: task.loss(paddle.to_tensor(logits[part]), [paddle.to_tensor(classes[part])]).item()  # noqa: E731
    assert loss(slice(0, 9)) == pytest.approx((weights[classes[:9]] * each).mean(), rel=1e-5)
    # Of a batch in parts, as several processes have it.
    assert loss(slice(0, 9)) == pytest.approx((4 * loss(slice(0, 4)) + 5 * loss(slice(4, 9))) / 9, rel=1e-5)
    assert weights[classes].mean() == pytest.approx(1)


def test_rare_classes_weigh_more(tmp_path):
    for label, count in (("common", 12), ("rare", 3)):
        (tmp_path / label).mkdir()
        for i in range(count):
            Image.new("RGB", (32, 32)).save(tmp_path / label / f"{i}.png")
    data = NamedConfig(name="image_folder", path=str(tmp_path))
    logits = paddle.zeros([1, 2])
    common, rare = (
        build(data=data, class_weights="balanced").loss(logits, [paddle.to_tensor([c])]).item() for c in (0, 1)
    )
    assert rare / common == pytest.approx(10 / 2)  # of what is trained on


def test_training_samples_move_by_the_seed_and_test_samples_do_not(task):
    plain = build().train_samples(0)[5][0]
    seen = {task.train_samples(seed)[5][0].tobytes() for seed in range(20)}
    assert len(seen) > 5
    assert task.train_samples(3)[5][0].tobytes() == task.train_samples(3)[5][0].tobytes()
    assert np.abs(task.train_samples(3)[5][0].mean() - plain.mean()) < 0.5
    assert (task.test_samples()[5][0] == build().test_samples()[5][0]).all()


def test_a_moved_picture_has_its_window():
    task = build("aistudio_coordconv", shift=3, window=True)
    plain, still = build("aistudio_coordconv", shift=3), build("aistudio_coordconv")
    shifts = set()
    for index in range(20):
        x, _, window = task.train_samples(0)[index]
        assert (x == plain.train_samples(0)[index][0]).all()
        left, top, right, bottom, height, width = window
        assert (right - left, bottom - top, height, width) == (32, 32, 32, 32)
        rows, columns = (np.clip(np.arange(32) + first, 0, 31).astype(int) for first in (top, left))
        assert (x == still.train_samples(0)[index][0][:, rows][:, :, columns]).all()
        shifts.add((left, top))
    assert len(shifts) > 10
    assert len(task.test_samples()[0]) == 2


def test_the_picture_shows_right_and_wrong(task):
    logits = np.eye(10, dtype=np.float32)[task.data.test.classes[:32]]
    all_right = task.visualize(logits)
    all_wrong = task.visualize(np.roll(logits, 1, axis=1))
    red = lambda picture: ((picture[..., 0] > 200) & (picture[..., 1:] < 60).all(-1)).sum()  # noqa: E731
    assert all_right.dtype == np.uint8
    assert red(all_right) == 0
    assert red(all_wrong) > 100


def test_own_pictures_in_folders(tmp_path):
    for label, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (tmp_path / label).mkdir()
        for i in range(5):
            Image.new("RGB", (20 + i, 30), colour).save(tmp_path / label / f"{i}.png")
    task = build(data=NamedConfig(name="image_folder", path=str(tmp_path)))
    assert task.export_metadata()["labels"] == ["blue", "red"]
    x, target = task.train_samples(0)[0]
    assert x.shape == (3, 32, 32)
    assert x[:, 0, 0].tolist() == ([-1, -1, 1] if target == 0 else [1, -1, -1])
    (tmp_path / "red" / "0.png").write_bytes(b"broken")
    (tmp_path / "red" / "1.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"red/[01].png is not a readable picture"):
        [part[i] for part in (task.train_samples(0), task.test_samples()) for i in range(len(part))]


def test_with_the_labels_of_weights_no_data_are_read(tmp_path):
    data = NamedConfig(name="image_folder", path=str(tmp_path / "nowhere"))
    task = build(data=data, metadata={"labels": ["left", "right", "up"]})
    assert task.network(paddle.zeros([1, *task.input_shape])).shape == [1, 3]
    assert task.export_metadata()["labels"] == ["left", "right", "up"]
    with pytest.raises(UserError, match="there is no folder .*nowhere"):
        task.test_samples()
    task = build(metadata={"labels": ["left", "right"]})
    with pytest.raises(UserError, match=r"the data's labels are \['0', .*'9'\], the weights were trained on \['left'"):
        task.test_samples()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": 32}, "image_size takes a height and a width"),
        ({"image_size": [32]}, "image_size takes"),
        ({"image_size": [32, 0]}, "image_size takes"),
        ({"image_size": [32.0, 32]}, "image_size takes"),
        ({"image_size": [48, 48]}, r"takes \[32, 32\] with the model 'aistudio_conv', got \[48, 48\]"),
        ({"model": NamedConfig(name="yolo"), "image_size": [64, 64]}, "model 'yolo' is for the task 'detection' alone"),
        ({"class_weights": "balance"}, "^class_weights takes one of balanced, got 'balance'"),
        ({"class_weights": True}, "^class_weights takes one of balanced, got True"),
        ({"shift": -1}, "^shift takes a whole number from 0 to 32, got -1"),
        ({"shift": 33}, "^shift takes a whole number from 0 to 32, got 33"),
        ({"shift": True}, "^shift takes"),
        ({"window": 1}, "^window takes true or false, got 1"),
        ({"window": True}, "^window is for networks with CoordConv, and this one has none"),
        ({"shfit": 1}, "has no option 'shfit': did you mean 'shift'"),
        ({"data": NamedConfig(name="digit")}, "did you mean 'digits'"),
        ({"data": NamedConfig(name="image_folder")}, "needs the option 'path'"),
        ({"model": NamedConfig(name="aistudio_conv", num_classes=3)}, "model.num_classes follows from the data, 10"),
    ],
)
def test_refused(options, words):
    with pytest.raises(UserError, match=words):
        build(**options)


def test_coordinates_that_no_task_gives_points_for():
    model = NamedConfig(name="aistudio_coordconv", coords="relative")
    with pytest.raises(UserError, match="model.coords: 'relative' asks for points, which tasks don't give"):
        build(model)


@pytest.mark.parametrize("coords", ["learnt(4, 2, 3, 4)", "learnt(4, 10000)", "fourier(99)"])
def test_wrong_coordinates_are_a_line(coords):
    with pytest.raises(UserError, match="^(learnt|fourier): "):
        build(NamedConfig(name="aistudio_coordconv", coords=coords))
