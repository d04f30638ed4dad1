"""Mask AP: that of pycocotools on the same masks, of nothing but right ones 1, and what counts for nothing."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppcoordconv.metrics.masks import MaskPrecision
from ppcoordconv.ops.masks import run_lengths
from ppcoordconv.ops.solo import find_instances
from ppcoordconv.postprocess.instance_segmentation import in_input

pytestmark = pytest.mark.any_paddle
LABELS = ["disc", "square"]
SIZE = (32, 48)


def scene(rng, count=3):
    """Masks ``[count, 8, 12]`` that overlap little, and their classes."""
    masks = np.zeros([count, 8, 12], bool)
    for mask in masks:
        top, left, height, width = (int(rng.integers(*ends)) for ends in ((0, 5), (0, 8), (2, 4), (2, 5)))
        mask[top : top + height, left : left + width] = True
    return masks, rng.integers(0, 2, count)


def outputs_of(masks, classes, scores):
    """Maps from which just these are found, each by a feature of its own, in cells that are no neighbours."""
    maps = np.zeros([2 + 2 * len(masks), 8, 12], np.float32)
    maps[:2] = -20
    for number, (mask, category, score) in enumerate(zip(masks, classes, scores)):
        row, column = 2 * (number // 6), 2 * (number % 6)
        maps[category, row, column] = np.log(score / (1 - score))
        maps[2 + number, row, column] = 1
        maps[2 + len(masks) + number] = np.where(mask, 20, -20)
    return maps


def targets_of(masks, classes, crowd=None, scale=1.0, most=6):
    whole = np.zeros([most, *SIZE], np.uint8)
    padded, crowds = np.full([most], -1), np.zeros([most], bool)
    if len(masks):
        whole[: len(masks)] = in_input(masks.astype(np.float32), SIZE)
    padded[: len(classes)] = classes
    crowds[: len(classes)] = False if crowd is None else crowd
    return whole, padded, crowds, np.float32(scale)


def measured(pictures):
    metric = MaskPrecision(LABELS, 0.3)
    for maps, target in pictures:
        metric.update(maps[None], [np.zeros([1, 2, 2]), *(field[None] for field in target)])
    return metric


def plain_ap(pictures):
    """By pycocotools alone, from files' run lengths."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    height, width = SIZE
    tree = {"info": {}, "images": [], "annotations": [], "categories": [{"id": 1}, {"id": 2}]}
    results = []
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        for key, (maps, (masks, classes, crowds, _)) in enumerate(pictures, 1):
            tree["images"].append({"id": key, "height": height, "width": width})
            for mask, category, crowd in zip(masks, classes, crowds):
                if category >= 0:
                    entry = {"id": len(tree["annotations"]) + 1, "image_id": key, "category_id": int(category) + 1}
                    runs = {"segmentation": run_lengths(mask > 0), "iscrowd": int(crowd), "area": int(mask.sum())}
                    tree["annotations"].append({**entry, **runs})
            found = find_instances(maps, 2)
            for mask, category, score in zip(in_input(found.masks, SIZE), found.classes, found.scores):
                entry = {"image_id": key, "category_id": int(category) + 1, "score": float(score)}
                results.append({**entry, "segmentation": run_lengths(mask)})
        coco.dataset = tree
        coco.createIndex()
        for result in results:
            result["segmentation"] = coco.annToRLE(result)
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@given(st.integers(0, 10_000), st.booleans())
def test_it_is_pycocotools(seed, has_crowd):
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(3):
        masks, classes = scene(rng)
        found = np.roll(masks, rng.integers(-1, 2), axis=2)
        mixed = np.where(rng.random(3) < 0.3, 1 - classes, classes)
        target = targets_of(masks, classes, [False, False, has_crowd])
        pictures.append((outputs_of(found, mixed, rng.uniform(0.2, 0.95, 3)), target))
    metrics, expected = measured(pictures).compute(), plain_ap(pictures)
    names = ("ap", "ap50", "ap75", "ap_small")
    np.testing.assert_allclose([metrics[name] for name in names], expected[:4], atol=1e-9)
    assert metrics["ar100"] == pytest.approx(expected[8], abs=1e-9)


def test_right_masks_have_an_ap_of_1_and_moved_ones_less():
    rng = np.random.default_rng(1)
    scenes = [scene(rng, 1) for _ in range(4)]
    right = [(outputs_of(*one, [0.9]), targets_of(*one)) for one in scenes]
    metrics = measured(right).compute()
    assert metrics["ap"] == metrics["ap50"] == metrics["ar100"] == pytest.approx(1)
    moved = [(np.roll(maps, 1, axis=2), target) for maps, target in right]
    assert measured(moved).compute()["ap"] < 0.5


def test_each_class_has_its_own():
    mask = np.zeros([1, 8, 12], bool)
    mask[:, 2:5, 3:7] = True
    pictures = [
        (outputs_of(mask, [0], [0.9]), targets_of(mask, [0])),
        (outputs_of(mask, [0], [0.5]), targets_of(mask, [1])),
    ]
    report = measured(pictures).report(LABELS)
    assert [one["label"] for one in report["classes"]] == LABELS
    assert [one[name] for one in report["classes"] for name in ("ap", "ap50")] == pytest.approx([1, 1, 0, 0])
    assert report["samples"] == 2
    assert set(measured(pictures).pictures(LABELS)) == {"precision_recall"}


def test_sizes_are_those_of_the_picture():
    mask = np.ones([1, 8, 12], bool)
    at = {scale: measured([(outputs_of(mask, [0], [0.9]), targets_of(mask, [0], scale=scale))]) for scale in (1, 0.25)}
    assert at[1].compute()["ap_medium"] == pytest.approx(1)
    assert at[0.25].compute()["ap_large"] == pytest.approx(1)
    assert "ap_large" not in at[1].compute()


def test_a_false_mask_counts_among_those_of_its_size_in_the_picture():
    """Of 16x16 pixels of an input that is a quarter of the picture: 64x64, which is medium there, and small here."""
    masks = np.zeros([2, 8, 12], bool)
    masks[0, :4, :4] = masks[1, 4:, 8:] = True
    maps = outputs_of(masks, [0, 0], [0.6, 0.9])
    metrics = measured([(maps, targets_of(masks[:1], [0], scale=0.25))]).compute()
    assert metrics["ap_medium"] == pytest.approx(0.5)
    assert "ap_small" not in metrics


def test_without_objects_or_finds():
    nothing = outputs_of(np.zeros([1, 8, 12], bool), [0], [0.9])
    mask = np.ones([1, 8, 12], bool)
    missed = measured([(nothing, targets_of(mask, [0]))])
    assert missed.compute()["ap"] == 0
    assert "no object of the test set scores task.score_threshold=0.3" in missed.advice(missed.compute(), LABELS)
    assert measured([(nothing, targets_of(mask[:0], []))]).compute()["ap"] == 0
    found = measured([(outputs_of(mask, [0], [0.9]), targets_of(mask, [0]))])
    assert found.advice(found.compute(), LABELS) == ""


def test_states_of_parts_are_those_of_the_whole():
    rng = np.random.default_rng(2)
    pictures = []
    for _ in range(4):
        masks, classes = scene(rng)
        pictures.append((outputs_of(masks, classes, [0.9, 0.8, 0.4]), targets_of(masks, classes)))
    whole, parts = measured(pictures), measured([])
    parts.merge([measured(pictures[:1]).state(), measured(pictures[1:]).state()])
    assert parts.compute() == whole.compute()
