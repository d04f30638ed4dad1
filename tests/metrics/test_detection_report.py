"""Detection class by class: AP against pycocotools on one class, confusions by hand, the pictures, the advice."""

import contextlib
import io
import json

import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppcoordconv.metrics.coco import AveragePrecision
from ppcoordconv.training.writer import RUN_FILES
from ppcoordconv.viz.evaluation import precision_recall

# Apart from each other, so that a box of one is none of another.
A, B, C, D = ([x, 0, x + 10, 10] for x in (0, 40, 80, 120))


def metric_of(pictures, labels, threshold=0.3):
    """Of pictures (objects, detections): rows (class, box, is_crowd) and (class, score, box)."""
    metric = AveragePrecision(labels, lambda outputs: outputs, threshold)
    for objects, found in pictures:
        rows = np.float32([[category, score, *box] for category, score, box in found]).reshape(1, -1, 6)
        boxes = np.float32([box for _, box, _ in objects]).reshape(1, -1, 4)
        classes, crowd = (np.array([[o[n] for o in objects]]) for n in (0, 2))
        metric.update(rows, [boxes, classes.astype(int), crowd.astype(bool), np.ones([1], np.float32)])
    return metric


def drawn_at_random(seed, count):
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(6):
        corners = rng.uniform(0, 40, [5, 2])
        boxes = np.concatenate([corners, corners + rng.uniform(5, 30, [5, 2])], axis=1).round(1)
        classes = rng.integers(0, count, 5)
        objects = [(c, box.tolist(), rng.random() < 0.2) for c, box in zip(classes, boxes)]
        found = [
            (
                c if rng.random() < 0.7 else rng.integers(0, count),
                rng.random(),
                (box + rng.uniform(-2.4, 2.4, 4)).tolist(),
            )
            for c, box in list(zip(classes, boxes)) * 2
            if rng.random() < 0.8
        ]
        pictures.append((objects, sorted(found, key=lambda one: -one[1])))
    return pictures


def evaluated_alone(pictures, category):
    """pycocotools told of one class only."""

    def as_coco(box):
        left, top, right, bottom = map(float, np.float32(box))
        return [left, top, right - left, bottom - top]

    truth, found = [], []
    for number, (objects, rows) in enumerate(pictures):
        for c, box, crowd in objects:
            x, y, w, h = as_coco(box)
            one = {"id": len(truth) + 1, "image_id": number, "category_id": 0, "bbox": [x, y, w, h], "area": w * h}
            truth += [{**one, "iscrowd": int(crowd)}] if c == category else []
        found += [
            {"image_id": number, "category_id": 0, "bbox": as_coco(box), "score": float(np.float32(score))}
            for c, score, box in rows
            if c == category
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": number} for number in range(len(pictures))]
        coco.dataset = {"info": {}, "images": images, "annotations": truth, "categories": [{"id": 0}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found) if found else COCO(), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@settings(max_examples=examples(25))
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.8]))
def test_each_class_has_what_pycocotools_says_of_it_alone(seed, count, threshold):
    pictures, labels = drawn_at_random(seed, count), [f"c{n}" for n in range(count)]
    metric = metric_of(pictures, labels, threshold)
    report = metric.report(labels)
    assert json.loads(json.dumps(report)) == report
    for number, entry in enumerate(report["classes"]):
        alone = evaluated_alone(pictures, number)
        for name, wanted in zip(("ap", "ap50"), alone.stats):
            assert entry[name] is None if wanted < 0 else entry[name] == pytest.approx(wanted, abs=1e-9)
        # The first quarter is of objects of all sizes; at the first IoU, 0.5.
        seen = [one for one in alone.evalImgs[: len(pictures)] if one]
        shown = [np.array(one["dtScores"]) >= np.float32(threshold) for one in seen]
        counted = [is_shown & ~one["dtIgnore"][0] for one, is_shown in zip(seen, shown)]
        right = sum(int((one["dtMatches"][0] > 0)[is_counted].sum()) for one, is_counted in zip(seen, counted))
        objects = sum(int((one["gtIgnore"] == 0).sum()) for one in seen)
        assert (entry["objects"], entry["found"]) == (objects, sum(int(is_counted.sum()) for is_counted in counted))
        assert entry["precision"] == pytest.approx(right / max(entry["found"], 1))
        assert entry["recall"] == pytest.approx(right / max(objects, 1))
        assert report["confusion"][number][number] == right
    confusion = np.array(report["confusion"])
    assert confusion[:-1].sum(axis=1).tolist() == [entry["objects"] for entry in report["classes"]]
    assert confusion[:, :-1].sum(axis=0).tolist() == [entry["found"] for entry in report["classes"]]
    known = [entry["ap"] for entry in report["classes"] if entry["ap"] is not None]
    assert report["ap"] == pytest.approx(np.mean(known) if known else 0)


def test_confusions_by_hand():
    objects = [(0, A, False), (1, B, False), (1, C, False), (2, D, False)]
    found = [
        (0, 0.9, A),  # right
        (0, 0.8, A),  # once more: false
        (0, 0.7, B),  # a cat is said to be a dog
        (1, 0.6, [80, 0, 90, 4]),  # an IoU of 0.4: false, and missed
        (2, 0.29, D),  # too little: missed
    ]
    report = metric_of([(objects, found), ([], [(2, 0.5, A)])], ["dog", "cat", "bird"]).report(["dog", "cat", "bird"])
    assert report["confusion"] == [[1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 0]]
    assert (report["samples"], report["score_threshold"]) == (2, 0.3)
    dog, cat, bird = report["classes"]
    assert dog == {
        **{"label": "dog", "ap": pytest.approx(1), "ap50": pytest.approx(1), "objects": 1, "found": 3},
        **{"precision": pytest.approx(1 / 3), "recall": 1},
    }
    assert (cat["objects"], cat["found"], cat["ap50"], cat["precision"], cat["recall"]) == (2, 1, 0, 0, 0)
    assert (bird["objects"], bird["found"], bird["recall"]) == (1, 1, 0)
    assert bird["ap"] == pytest.approx(0.5)  # of any score: the false one comes first


def test_the_right_class_is_matched_before_others():
    """Where a better detection of another class lies on the object, too."""
    report = metric_of([([(0, A, False)], [(1, 0.9, A), (0, 0.4, [0, 0, 10, 9])])], ["a", "b"]).report(["a", "b"])
    assert report["confusion"] == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_a_detection_that_has_an_object_takes_no_other():
    """Of two objects of different classes in one place, one is missed."""
    report = metric_of([([(0, A, False), (1, A, False)], [(0, 0.9, A)])], ["a", "b"]).report(["a", "b"])
    assert report["confusion"] == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_the_best_detection_takes_the_object_whatever_their_order():
    objects = [(0, [0, 0, 10, 10], False), (1, [0, 0, 10, 14], False)]
    worse, best = (0, 0.4, [0, 0, 10, 6]), (0, 0.9, [0, 0, 10, 9])
    # The best one could also be the other object, by an IoU of 9 / 14; the worse one can't, by 6 / 14.
    assert metric_of([(objects, [worse, best])], ["a", "b"]).report(["a", "b"])["confusion"] == [
        [1, 0, 0],
        [0, 0, 1],
        [1, 0, 0],
    ]


def test_half_of_a_box_and_the_threshold_itself_are_enough():
    half = metric_of([([(0, [0, 0, 10, 10], False)], [(0, 0.5, [0, 0, 10, 5])])], ["a"], threshold=0.5)
    assert half.report(["a"])["confusion"] == [[1, 0], [0, 0]]
    # The curve is that at an IoU of 0.5, where nothing is wrong.
    assert (half.pictures(["a"])["precision_recall"] == precision_recall(np.ones([101, 1]), ["a"])).all()


def test_crowds_are_neither_right_nor_wrong():
    crowd = [(0, [0, 0, 100, 100], True)]
    inside = [(0, 0.9, [10, 10, 20, 20]), (0, 0.8, [50, 50, 60, 60]), (1, 0.7, [10, 10, 20, 20])]
    report = metric_of([(crowd, inside)], ["a", "b"]).report(["a", "b"])
    assert report["confusion"] == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert [entry["found"] for entry in report["classes"]] == [0, 1]
    assert [entry["ap"] for entry in report["classes"]] == [None, None]
    half = [(0, 0.9, [90, 0, 110, 20])]  # of it, inside the crowd
    assert metric_of([(crowd, half)], ["a"]).report(["a"])["confusion"] == [[0, 0], [0, 0]]


def test_the_curves_are_of_objects_of_all_sizes_and_of_a_hundred_detections():
    boxes = [[x, y, x + 50, y + 50] for x in range(0, 600, 60) for y in (0, 60)]
    metric = metric_of([([(0, box, False) for box in boxes], [(0, 0.9, box) for box in boxes])], ["a"])
    assert metric.report(["a"])["classes"][0]["ap"] == metric.compute()["ap"] == pytest.approx(1)


def test_a_test_set_without_objects_and_one_without_detections():
    for pictures in ([([], [])], [([], [(0, 0.9, A)])], [([(0, A, False)], [])]):
        metric = metric_of(pictures, ["a"])
        (entry,) = metric.report(["a"])["classes"]
        assert entry["ap"] == (0 if entry["objects"] else None)
        assert entry["precision"] == entry["recall"] == 0
        assert all(picture.dtype == np.uint8 for picture in metric.pictures(["a"]).values())


def test_parts_of_the_test_set_are_merged_and_later_batches_count():
    pictures, labels = drawn_at_random(3, 3), ["a", "b", "c"]
    whole = metric_of(pictures, labels)
    merged = metric_of(pictures[:2], labels)
    part = merged.compute()
    merged.merge([metric_of(pictures[:2], labels).state(), metric_of(pictures[2:], labels).state()])
    assert merged.report(labels) == whole.report(labels)
    assert part != merged.compute() == whole.compute()
    later = metric_of(pictures[:5], labels)
    assert later.compute() != whole.compute()
    later.update(np.zeros([1, 0, 6]), [field[None] for field in (*whole.state()[5][0][1:4], np.float32(1))])
    assert later.compute()["ar100"] < metric_of(pictures[:5], labels).compute()["ar100"]


def test_the_pictures_are_files_of_a_run_and_of_many_classes_there_is_no_matrix():
    pictures = [([(0, A, False)], [(0, 0.9, A)])]
    assert {f"{name}.png" for name in metric_of(pictures, ["a"]).pictures(["a"])} <= set(RUN_FILES)
    many = [f"c{n}" for n in range(1001)]
    bound = metric_of(pictures, many[:1000])
    assert "confusion" in bound.pictures(many[:1000])
    assert "confusion" in bound.report(many[:1000])
    metric = metric_of(pictures, many)
    assert "confusion" not in metric.report(many)
    assert set(metric.pictures(many)) == {"precision_recall"}


@pytest.mark.parametrize("count", [1, 3, 10, 80])
def test_each_class_has_a_curve_and_the_mean_is_bold(count):
    precision = np.linspace(0.9, 0.5, count) * np.linspace(1, 0, 101)[:, None]
    labels = ["_a", "$x_{", "鸟", *["x" * 100] * 77][:count]
    picture, without = precision_recall(precision, labels), precision_recall(np.full([101, count], -1.0), labels)
    assert picture.dtype == np.uint8
    assert picture.shape == without.shape == (480, 750, 3)
    coloured = np.ptp(picture.astype(int), axis=2) > 60
    columns = picture[20:430, 100:300]
    assert coloured.any()
    assert not (np.ptp(without.astype(int), axis=2) > 60).any()
    # Of the mean, black through every column of the plot, several pixels thick; the grid is light.
    assert (columns.max(axis=2) < 60).sum(axis=0).min() >= 3


@pytest.mark.parametrize(
    ("scores", "threshold", "said"),
    [
        ([0.29, 0.1], 0.3, "infer shows none: --threshold 0.2 shows those that score less, or train longer"),
        ([0.1], 0.3, "--threshold 0.1 shows"),
        ([0.0199], 0.3, "--threshold 0.01 shows"),
        ([0.9], 0.95, "no object of the test set scores task.score_threshold=0.95; infer shows none: --threshold 0.9 "),
        ([], 0.3, "no object of the test set scores task.score_threshold=0.3; infer shows none: train longer"),
        ([0.3, 0.1], 0.3, ""),
        ([0.0], 0, ""),
    ],
)
def test_a_detector_that_shows_nothing_is_said_to(scores, threshold, said):
    metric = metric_of([([(0, A, False)], [(0, score, A) for score in scores])], ["a"], threshold)
    advice = metric.advice(metric.compute(), ["a"])
    assert said in advice
    assert bool(said) == bool(advice)
    lower = advice.partition("--threshold ")[2].split(" ")[0]
    assert not lower or sum(np.float32(scores) >= np.float32(lower)) >= 1


def test_the_threshold_is_that_of_mean_iou_and_no_matter_of_ap():
    pictures = [([(0, A, False)], [(0, 0.2, A)])]
    high, low = (metric_of(pictures, ["a"], threshold).compute() for threshold in (0.3, 0.2))
    assert (high.pop("mean_iou"), low.pop("mean_iou")) == (0, 1)
    assert high == low
