"""Instances from maps: peaks, matrix NMS and masks against plain references, and results in pixels of a picture."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ppcoordconv.data.boxes import Letterbox
from ppcoordconv.data.outlines import read_outline
from ppcoordconv.deploy.annotations import as_coco
from ppcoordconv.ops.solo import MIN_SCORE, find_instances, matrix_nms, only_peaks
from ppcoordconv.postprocess import SERVED, decoded
from ppcoordconv.postprocess.instance_segmentation import in_input, in_picture
from ppcoordconv.utils.errors import UserError

pytestmark = pytest.mark.any_paddle
LABELS = ["disc", "square", "star"]
seeds = st.integers(0, 10_000)


def packed(objects, size=(12, 16), noise=0.0, seed=0):
    """Maps in which each object (class, row and column of its cell, its mask) has a feature of its own."""
    rng = np.random.default_rng(seed)
    count = max(1, len(objects))
    array = np.zeros([len(LABELS) + 2 * count, *size], np.float32)
    array[: len(LABELS)] = -20
    for number, (category, row, column, mask) in enumerate(objects):
        array[category, row, column] = 3
        array[len(LABELS) + number, row, column] = 1
        array[len(LABELS) + count + number] = np.where(mask, 6, -6)
    return array + noise * rng.standard_normal(array.shape).astype(np.float32)


def rectangle(top, bottom, left, right, size=(12, 16)):
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_masks_classes_and_scores_are_those_of_the_maps():
    masks = [rectangle(1, 5, 2, 6), rectangle(6, 11, 8, 15)]
    found = find_instances(packed([(2, 1, 1, masks[0]), (0, 4, 6, masks[1])]), 3)
    assert sorted(found.classes.tolist()) == [0, 2]
    sigmoid = 1 / (1 + np.exp([-3, -6]))
    np.testing.assert_allclose(found.scores, sigmoid.prod(), rtol=1e-5)
    for category, mask in zip(found.classes, found.masks):
        assert ((mask > 0.5) == masks[0 if category == 2 else 1]).all()


def test_of_two_cells_with_one_mask_the_better_is_found_and_of_two_classes_both():
    mask = rectangle(2, 9, 3, 12)
    array = packed([(1, 2, 2, mask), (1, 5, 5, mask)])
    array[1, 2, 2] = 1
    found = find_instances(array, 3)
    # The other is less by exp(-2), of a score of 0.73.
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-3)), rel=1e-2)
    assert found.scores[1:] == pytest.approx([np.exp(-2) / (1 + np.exp(-1))], rel=1e-2)
    assert len(find_instances(packed([(1, 2, 2, mask), (2, 5, 5, mask)]), 3).scores) == 2
    assert find_instances(packed([(1, 2, 2, mask), (2, 5, 5, mask)]), 3).scores.min() > 0.9


def test_of_neighbouring_cells_the_better_is_found_whatever_their_masks():
    first, second = rectangle(0, 4, 0, 6), rectangle(6, 12, 8, 16)
    array = packed([(1, 2, 2, first), (1, 2, 3, second)])
    array[1, 2, 3] = 2
    assert [(mask > 0.5).sum() for mask in find_instances(array, 3).masks] == [first.sum()]
    # Each is compared with those before it, as in SOLOv2.
    array[1, 2, 2:4] = 2, 3
    assert [(mask > 0.5).sum() for mask in find_instances(array, 3).masks] == [second.sum(), first.sum()]


def test_an_empty_mask_is_nothing():
    assert len(find_instances(packed([(0, 1, 1, rectangle(0, 0, 0, 0))]), 3).classes) == 0
    assert len(find_instances(packed([]), 3).classes) == 0


@given(seeds)
def test_peaks_are_as_max_pooling_has_them(seed):
    scores = np.random.default_rng(seed).random([2, 5, 4]).round(1)
    expected = scores.copy()
    for category, row, column in np.ndindex(scores.shape):
        before = scores[category, max(0, row - 1) : row + 1, max(0, column - 1) : column + 1]
        if before.max() > scores[category, row, column]:
            expected[category, row, column] = 0
    np.testing.assert_array_equal(only_peaks(scores), expected)


def plain_matrix_nms(masks, classes, scores):
    """The paper's section 4, an object after the other."""

    def iou(i, j):
        return (masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum() if classes[i] == classes[j] else 0

    decayed = []
    for j in range(len(masks)):
        decay = 1.0
        for i in range(j):
            by_others = max((iou(k, i) for k in range(i)), default=0)
            decay = min(decay, np.exp(-2 * iou(i, j) ** 2) / np.exp(-2 * by_others**2))
        decayed.append(scores[j] * decay)
    return decayed


@given(seeds, st.integers(0, 7))
def test_matrix_nms_is_the_papers(seed, count):
    rng = np.random.default_rng(seed)
    masks = rng.random([count, 3, 4]) < 0.6
    masks[:, 0, 0] = True
    classes, scores = rng.integers(0, 2, count), np.sort(rng.random(count))[::-1]
    np.testing.assert_allclose(matrix_nms(masks, classes, scores), plain_matrix_nms(masks, classes, scores), rtol=1e-5)


@given(seeds)
def test_scores_fall_and_are_of_what_is_there(seed):
    masks = [rectangle(1, 5, 2, 6), rectangle(2, 8, 3, 9), rectangle(6, 11, 8, 15)]
    array = packed([(n, 2 * n, 3 * n, mask) for n, mask in enumerate(masks)], noise=1.5, seed=seed)
    found = find_instances(array, 3)
    assert (np.diff(found.scores) <= 0).all()
    assert ((found.scores > 0) & (found.scores <= 1)).all()
    assert (found.masks > 0.5).any(axis=(1, 2)).all()
    assert len(found.classes) <= (1 / (1 + np.exp(-array[:3])) > MIN_SCORE).sum()


@pytest.mark.parametrize("size", [(48, 64), (96, 128), (30, 40), (24, 64), (51, 37)])
def test_a_mask_is_where_it_is_in_the_picture(size):
    """A disc of the picture, through the letterbox and back, at a quarter of the input."""
    y, x = np.mgrid[: size[0], : size[1]]
    disc = (y - 0.45 * size[0]) ** 2 + (x - 0.55 * size[1]) ** 2 < (0.3 * min(size)) ** 2
    letterbox = Letterbox((48, 64))
    fitted = (letterbox.of_mask(disc.astype(np.uint8)) == 1).astype(np.float32)
    quarter = fitted.reshape(12, 4, 16, 4).mean(axis=(1, 3))
    found = in_picture(quarter, letterbox, size)
    assert found.shape == size
    assert (found & disc).sum() / (found | disc).sum() > 0.85
    assert (in_input(quarter[None], (48, 64))[0] & (fitted > 0)).sum() / fitted.sum() > 0.9


def test_what_lies_beside_the_picture_in_the_input_is_no_object():
    form, letterbox = SERVED.build("instance_segmentation"), Letterbox((48, 64))
    below, inside = rectangle(8, 12, 2, 9), rectangle(1, 4, 2, 9)
    (result,) = form.decode(packed([(1, 9, 5, below), (1, 2, 5, inside)])[None], LABELS)
    assert len(result["objects"]) == 2
    result = form.to_image(result, letterbox, (24, 64))
    assert [found["mask"].shape for found in result["objects"]] == [(24, 64)]


def test_results_are_plain_and_their_run_lengths_are_the_mask():
    form, size = SERVED.build("instance_segmentation"), (96, 128)
    (result,) = form.decode(packed([(1, 2, 2, rectangle(2, 9, 3, 12))])[None], LABELS)
    result = form.to_image(result, Letterbox((48, 64)), size)
    pixels = np.full([*size, 3], 90, np.uint8)
    drawn = form.draw(pixels, np.empty(0), result)
    assert drawn.shape == (192, 256, 3) or drawn.shape == (288, 384, 3)
    assert (drawn != 90).any()
    mask = result["objects"][0]["mask"]
    (found,) = json.loads(json.dumps(form.as_plain(result)))["objects"]
    assert list(found) == ["label", "class_id", "score", "box", "segmentation"]
    assert (found["label"], found["class_id"]) == ("square", 1)
    np.testing.assert_allclose(found["box"], [24, 16, 96, 72], atol=4)
    assert (read_outline("it", found["segmentation"], size).mask() == mask).all()
    assert "mask" in result["objects"][0]  # which is not changed


def test_the_threshold_leaves_objects_out():
    form, array = SERVED.build("instance_segmentation"), packed([(1, 2, 2, rectangle(2, 9, 3, 12))])[None]
    assert len(form.decode(array, LABELS)[0]["objects"]) == 1
    form.score_threshold = 0.99
    assert form.decode(array, LABELS) == [{"objects": []}]
    assert form.to_image({"objects": []}, Letterbox((48, 64)), (10, 20)) == {"objects": [], "height": 10, "width": 20}


def test_other_outputs_are_a_sentence():
    form = SERVED.build("instance_segmentation")
    with pytest.raises(UserError, match="the served form 'instance_segmentation' takes outputs of"):
        decoded(form, np.zeros([1, 5, 12], np.float32), LABELS)
    for maps in (3, 4, 6):
        with pytest.raises(UserError, match=f"the model gives {maps} maps, and inference.yml has 3 labels"):
            decoded(form, np.zeros([1, maps, 12, 16], np.float32), LABELS)
    array = packed([])[None]
    array[0, 0, 0, 0] = np.nan
    assert decoded(form, array, LABELS) == [{"error": "the model's output is not finite"}]


def test_an_object_is_drawn_in_a_colour_of_its_own():
    from ppcoordconv.viz.draw import instances

    masks = [rectangle(0, 4, 0, 8), rectangle(6, 12, 8, 16)]
    boxes = ([0, 0, 8, 4], [8, 6, 16, 12])
    objects = [{"label": "disc", "class_id": 0, "score": 0.5, "box": box, "mask": m} for box, m in zip(boxes, masks)]
    drawn = Image.fromarray(instances(np.zeros([12, 16, 3], np.uint8), objects, side=160))
    inside = [drawn.getpixel((75, 35)), drawn.getpixel((150, 110))]
    assert len({*inside, (0, 0, 0)}) == 3
    assert drawn.getpixel((10, 110)) == (0, 0, 0)


def test_as_cocos_annotations_they_keep_their_masks():
    mask = np.zeros([6, 8], bool)
    mask[1:4, 2:7] = True
    mask[1, 2] = False
    found = {"label": "a", "class_id": 0, "score": 0.5, "box": [2.0, 1.0, 7.0, 4.0], "mask": mask}
    form = SERVED.build("instance_segmentation")
    plain = form.as_plain({"input": "a.png", "height": 6, "width": 8, "objects": [found]})
    tree = as_coco([plain], {"served_form": "instance_segmentation", "labels": ["a"]})
    (annotation,) = tree["annotations"]
    assert annotation["area"] == 14
    np.testing.assert_array_equal(read_outline("here", annotation["segmentation"], (6, 8)).mask(), mask)
