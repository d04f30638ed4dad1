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
    loss = task.loss(paddle.to_tensor([[0.0, np.log(11.0)] + 8 * [0.0]], "float32"), [paddle.to_tensor([1])])
    assert loss.item() == pytest.approx(np.log(20 / 11), rel=1e-6)


@pytest.mark.parametrize("classes", [1, 3])
def test_a_model_that_gives_another_number_of_classes_is_refused(task, classes):
    with pytest.raises(UserError, match=rf"gives logits \[N, num_classes\], here \[2, 10\], got \[2, {classes}\]"):
        task.loss(paddle.zeros([2, classes]), [paddle.to_tensor([0, 0])])
    with pytest.raises(UserError, match="here .*, got tuple"):
        task.loss((paddle.zeros([2, 10]),), [paddle.to_tensor([0, 0])])


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


def pictures_with_edges(tmp_path):
    """Red from column 80 on, green from row 40 on."""
    pixels = np.full([100, 200, 3], 40, np.uint8)
    pixels[:, 80:, 0] = 200
    pixels[40:, :, 1] = 200
    for name in ("a/0", "a/1", "b/0", "b/1"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return NamedConfig(name="image_folder", path=str(tmp_path))


def edge(values):
    """Where values go from low to high, or None."""
    is_high = values > (values.min() + values.max()) / 2
    return None if np.ptp(values) < 0.3 else int((~is_high).sum())


@pytest.mark.parametrize("shift", [0, 5])
def test_a_part_of_a_picture_has_its_window(tmp_path, shift):
    model = NamedConfig(name="shufflenet_v2_x0_25", coord="first")
    options = {"model": model, "data": pictures_with_edges(tmp_path), "image_size": [50, 40], "shift": shift}
    task = build(**options, augment="weak", window=True)
    edges = []
    for seed in range(40):
        x, _, (left, top, right, bottom, height, width) = task.train_samples(seed)[0]
        assert (height, width) == (100, 200)
        row = edge(x[1, :, 20])
        column = edge(x[0, 25, ::-1] if (is_mirrored := x[0, 25, 0] > x[0, 25, -1]) else x[0, 25])
        if column is not None:
            # Of a mirrored picture, the whole is mirrored.
            expected = (right - 120 if is_mirrored else 80 - left) * 40 / (right - left)
            edges.append((column - expected, row))
        if row is not None:
            assert abs(row - (40 - top) * 50 / (bottom - top)) <= 1.01
    assert len(edges) > 20
    assert all(abs(difference) <= 1.01 for difference, _ in edges)
    assert len({row for _, row in edges}) > 10


def test_augmentation_is_of_training_alone_and_the_seed_decides():
    options = {"augment": "strong", "mixup": 0.4, "label_smoothing": 0.1}
    task, again = build(**options), build(**options)
    plain = build()
    for seed, index in ((0, 3), (0, 4), (1, 3)):
        fields = [np.asarray(field) for field in task.train_samples(seed)[index]]
        assert all((a == b).all() for a, b in zip(fields, again.train_samples(seed)[index]))
        assert fields[0].shape == (3, 32, 32)
        assert fields[0].dtype == np.float32
        assert not (fields[0] == plain.train_samples(seed)[index][0]).all()
    assert not (task.train_samples(0)[3][0] == task.train_samples(1)[3][0]).all()
    assert (task.test_samples()[3][0] == plain.test_samples()[3][0]).all()
    assert len(task.test_samples()[3]) == 2


def test_mixed_pictures_are_the_sum_that_their_target_says():
    task, plain = build(mixup=1.0), build().train_samples(0)
    samples = task.train_samples(0)
    mixed = 0
    for index in range(12):
        x, label, soft = samples[index]
        assert label == plain[index][1] == soft.argmax() or soft.max() == pytest.approx(0.5)
        assert soft.sum() == pytest.approx(1)
        rest = x - soft[label] * plain[index][0]
        mixed += soft[label] < 1
        if soft[label] < 1:
            others = [i for i in range(len(plain)) if soft[plain[i][1]] > 0 and plain[i][1] != label]
            other = rest / (1 - soft[label])
            assert min(np.abs(plain[i][0] - other).max() for i in others) < 1e-3
    assert mixed > 5


def test_the_loss_of_soft_targets():
    task = build(label_smoothing=0.2)
    logits = paddle.to_tensor([[0.0, np.log(3.0)] + [-100.0] * 8], "float32")
    x, label, soft = task.train_samples(0)[0]
    assert soft.tolist() == pytest.approx([0.82 if i == label else 0.02 for i in range(10)])
    target = [paddle.to_tensor([1]), paddle.to_tensor([[0.25, 0.75] + [0.0] * 8])]
    expected = 0.25 * np.log(4) + 0.75 * np.log(4 / 3)
    assert task.loss(logits, target).item() == pytest.approx(expected, rel=1e-5)
    # What is held out is measured by the plain loss.
    assert task.loss(logits, target[:1]).item() == pytest.approx(np.log(4 / 3), rel=1e-5)


def test_pictures_are_normalised_by_mean_and_std():
    task = build(mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 1.0])
    pixels = task.data.test.pixels(0) / 255
    expected = ((pixels - [0.1, 0.2, 0.3]) / [0.5, 0.25, 1.0]).transpose(2, 0, 1)
    np.testing.assert_allclose(task.test_samples()[0][0], expected, atol=1e-5)
    assert task.export_metadata()["preprocess"]["std"] == [0.5, 0.25, 1.0]


def test_a_classifier_of_paddle_takes_any_size():
    task = build(NamedConfig(name="mobilenet_v3_small", coord="all"), image_size=[40, 56])
    inputs = paddle.to_tensor(np.stack([task.train_samples(0)[i][0] for i in range(2)]))
    assert inputs.shape == [2, 3, 40, 56]
    assert task.network(inputs).shape == [2, 10]


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
        ({"augment": "most"}, "^augment takes one of none, weak, strong, got 'most'"),
        ({"augment": None}, "^augment takes one of"),
        ({"mixup": -0.2}, "^mixup takes a number from 0 to 10, got -0.2"),
        ({"label_smoothing": True}, "^label_smoothing takes a number from 0 to 1, got True"),
        ({"mean": [0.5]}, r"^mean takes three numbers, of red, green and blue, got \[0.5\]"),
        ({"std": [0.5, 0.5, 0]}, "^std takes a number from 1e-06"),
        ({"std": 0.5}, "^std takes three numbers"),
        (
            {"model": NamedConfig(name="aistudio_coordconv"), "window": True, "augment": "strong"},
            "^window is one upright part of one picture, and can't be had with augment='strong', which turns",
        ),
        (
            {"model": NamedConfig(name="aistudio_coordconv"), "window": True, "mixup": 0.2},
            "^window is one upright part of one picture, and can't be had with mixup",
        ),
        (
            {"model": NamedConfig(name="squeezenet1_1"), "image_size": [31, 64]},
            r"^image_size takes at least \[32, 32\] with the model 'squeezenet1_1', got \[31, 64\]",
        ),
        ({"model": NamedConfig(name="aistudio_conv", freeze="conv9")}, "^model.freeze has the pattern 'conv9'"),
        ({"model": NamedConfig(name="aistudio_conv", weights="x")}, "^model.weights takes the path of a file"),
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
