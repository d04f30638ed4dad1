"""infer in tiles: pictures much larger than a detector's input, whose objects are found once each."""

import json

import numpy as np
import pytest
from conftest import ROOT, examples, run_tool
from forked import Forked, grown_by
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ppcoordconv.data import DATASETS, streaming
from ppcoordconv.data.scattered_digits import write_fields
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy import tiles as tiles_module
from ppcoordconv.deploy.infer import RESULTS, infer
from ppcoordconv.deploy.tiles import Tiles
from ppcoordconv.ops.boxes import ious
from ppcoordconv.postprocess.detection import Detection
from ppcoordconv.utils.errors import UserError

pytestmark = pytest.mark.any_paddle

# For fields of 64x64 pixels.
DETECTOR = ROOT / "demo" / "models" / "detector"


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """One picture of 300x300 pixels, and the boxes and labels of its digits."""
    folder = tmp_path_factory.mktemp("field") / "fields"
    write_fields(folder, DATASETS.build("digits"), (1, 1), canvas=300, number=40)
    truth = json.loads((folder / "test.json").read_text(encoding="utf-8"))["annotations"]
    corners = np.array([one["bbox"] for one in truth], float)
    corners[:, 2:] += corners[:, :2]
    return folder / "test" / "00001.png", corners, [str(one["category_id"] - 1) for one in truth]


@settings(max_examples=examples(30))
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 80), st.data())
def test_tiles_cover_the_picture(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    tiles = Tiles(tile, overlap).parts((height, width))
    parts, own = (np.array(boxes) for boxes in zip(*tiles))
    # Every place is some tile's own, by a margin that grows with the overlap.
    y, x = (data.draw(st.floats(0, n)) for n in (height, width))
    assert ((own[:, :2] <= [x, y]) & ([x, y] <= own[:, 2:])).all(axis=1).any()
    inner = own[np.isfinite(own)] - parts[np.isfinite(own)]
    assert (np.abs(inner) >= 0.375 * overlap).all()
    seen = np.zeros([height, width], int)
    for left, top, right, bottom in parts:
        assert (right - left, bottom - top) == (min(tile, width), min(tile, height))
        seen[top:bottom, left:right] += 1
    assert seen.min() >= 1
    for low, high in ((0, 2), (1, 3)):
        lows, highs = (sorted(set(parts[:, column].tolist())) for column in (low, high))
        assert all(end - start >= overlap for end, start in zip(highs, lows[1:]))


def test_each_object_is_found_once(field, tmp_path):
    path, boxes, labels = field
    with Predictor(str(DETECTOR)) as predictor:
        (tiled,) = infer(predictor, [path], tmp_path / "out", tile=64, overlap=32)
        (whole,) = infer(predictor, [path])
    assert (tiled["height"], tiled["width"]) == (300, 300)
    objects = tiled["objects"]
    assert [found["score"] for found in objects] == sorted([found["score"] for found in objects], reverse=True)
    overlaps = ious(boxes, np.array([found["box"] for found in objects]))
    same = np.array([[label == found["label"] for found in objects] for label in labels])
    right = (overlaps > 0.5) & same
    assert right.sum(axis=1).max() == 1
    assert right.any(axis=1).mean() > 0.7  # as of pictures of its own size
    assert len(objects) < 1.6 * len(boxes)
    assert len(whole["objects"]) < len(objects) / 2
    assert (np.asarray(Image.open(tmp_path / "out" / tiled["picture"])).shape) == (300, 300, 3)
    assert json.loads((tmp_path / "out" / RESULTS).read_text(encoding="utf-8")) == tiled


def test_tiles_that_share_nothing_are_pictures_by_themselves(field, tmp_path):
    pixels = np.asarray(Image.open(field[0]))[:128, :192]
    Image.fromarray(pixels).save(tmp_path / "all.png")
    alone = []
    with Predictor(str(DETECTOR)) as predictor:
        for top in (0, 64):
            for left in (0, 64, 128):
                Image.fromarray(pixels[top : top + 64, left : left + 64]).save(tmp_path / "one.png")
                (result,) = infer(predictor, [tmp_path / "one.png"])
                shift = np.array([left, top, left, top])
                alone += [{**found, "box": (found["box"] + shift).tolist()} for found in result["objects"]]
        (tiled,) = infer(predictor, [tmp_path / "all.png"], tile=64, overlap=0)
    key = lambda found: (-found["score"], found["box"])  # noqa: E731
    for got, expected in zip(sorted(tiled["objects"], key=key), sorted(alone, key=key)):
        assert got["label"] == expected["label"]
        np.testing.assert_allclose(got["box"], expected["box"], atol=0.011)
    assert len(tiled["objects"]) == len(alone) > 10


def found(box, score=0.5, label="a"):
    return {"label": label, "class_id": ord(label), "score": score, "box": box}


ALL = [-np.inf, -np.inf, np.inf, np.inf]


def joined(*found_in, tiles=(((0, 0, 100, 50), ALL), ((50, 20, 150, 70), ALL))):
    result = Detection().joined([{"objects": list(objects)} for objects in found_in], tiles, (100, 200))
    assert (result["height"], result["width"]) == (100, 200)
    return [(one["box"], one["score"]) for one in result["objects"]]


def test_what_is_one_object():
    here, there = [50, 20, 70, 40], [0, 0, 20, 20]  # the same place, in pixels of the first tile and the second
    assert joined([found(here, 0.4)], [found(there, 0.6)]) == [(here, 0.6)]
    assert joined([found(here, 0.6)], [found(there, 0.4)]) == [(here, 0.6)]
    # Cut by the tile's end, and within what the other sees in full.
    assert joined([found([50, 20, 55, 40], 0.4)], [found(there, 0.6)]) == [(here, 0.6)]
    assert len(joined([found(here), found(here, label="b")], [found(there, label="c")])) == 3
    assert len(joined([found(here), found(here, 0.3)], [])) == 2
    # They share half of the smaller, and a little more.
    assert len(joined([found(here)], [found([10, 0, 30, 20])])) == 2
    assert len(joined([found(here)], [found([9, 0, 29, 20])])) == 1
    assert joined([], []) == []


def test_what_lies_in_anothers_own_part_is_not_asked_for_here():
    tiles = (((0, 0, 60, 50), [-np.inf, -np.inf, 55, np.inf]), ((50, 20, 150, 70), [52, -np.inf, np.inf, np.inf]))
    left, right = found([40, 0, 60, 20]), found([54, 0, 60, 20])
    assert joined([left, right], [], tiles=tiles) == [([40, 0, 60, 20], 0.5)]
    assert joined([], [found([0, 0, 3, 9]), found([0, 0, 9, 9])], tiles=tiles) == [([50, 20, 59, 29], 0.5)]


class InWindows:
    """Finds nothing, and keeps where it was told that its inputs lie."""

    def __init__(self):
        with Predictor(str(DETECTOR)) as predictor:
            self.description = {**predictor.description, "window": True}
        self.windows = []

    def __call__(self, batch, window):
        self.windows += [[*box, *size] for box, size in zip(*window)]
        return np.full([len(batch), 1, 6], -1, np.float32)


def test_a_model_that_takes_windows_gets_those_of_the_tiles(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    predictor = InWindows()
    (result,) = infer(predictor, [tmp_path / "a.png"], tile=100, overlap=0)
    assert result["objects"] == []
    # The whole input is square, as the network's, so that it shows more than the picture below.
    assert np.array(predictor.windows).tolist() == [[0, 0, 100, 100, 200, 200], [100, 0, 200, 100, 200, 200]]


def test_bad_pictures_are_a_line_each_and_large_ones_are_read(tmp_path, monkeypatch):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.new("RGB", (70, 70)).save(tmp_path / "good.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with Predictor(str(DETECTOR)) as predictor:
        bad, good = infer(predictor, [tmp_path], tmp_path / "out", tile=64)
        refused = list(infer(predictor, [tmp_path / "good.png"]))
    assert "is not a readable picture" in bad["error"]
    assert good["objects"] == []
    assert (tmp_path / "out" / good["picture"]).exists()
    assert "is too large" in refused[0]["error"]
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_damaged_pictures_are_a_line_each(field, tmp_path):
    whole = Image.open(field[0]).convert("RGB")
    for name in ("a.png", "b.jpg", "c.png"):
        whole.save(tmp_path / name)
    for name in ("a.png", "b.jpg"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
    (tmp_path / "empty").mkdir()
    with Predictor(str(DETECTOR)) as predictor:
        *bad, none, good = infer(
            predictor, [tmp_path / name for name in ("a.png", "b.jpg", "empty", "c.png")], tmp_path / "out", tile=64
        )
    for name, result in zip(("a.png", "b.jpg"), bad):
        assert result["error"].startswith(f"{tmp_path / name} is not a readable picture: ")
    assert none["error"].startswith("there is no picture in the folder")
    assert len(good["objects"]) > 10


def test_large_pictures_are_drawn_on_reduced(field, tmp_path, monkeypatch):
    with Predictor(str(DETECTOR)) as predictor:
        (full,) = infer(predictor, [field[0]], tmp_path / "full", tile=64)
        monkeypatch.setattr(streaming, "MAX_DRAWN", 200**2)
        (reduced,) = infer(predictor, [field[0]], tmp_path / "reduced", tile=64)
    assert reduced == full
    small = [{**found, "box": [edge / 2 for edge in found["box"]]} for found in full["objects"]]
    pixels = np.asarray(Image.open(field[0]).convert("RGB").reduce(2))
    drawn = Image.open(tmp_path / "reduced" / reduced["picture"])
    assert (np.asarray(drawn) == Detection().draw(pixels, np.empty(0), {"objects": small})).all()


def memory_over(folder):
    """Prints by how many MiB a large picture lets the process grow at most, after a small one of the same width."""
    streaming.MAX_DRAWN = 2**20
    with Predictor(str(DETECTOR), cpu_threads=1) as predictor:
        results = []
        run = lambda name: results.extend(infer(predictor, [folder / name], folder / "out", tile=512))  # noqa: E731
        run("small.png")
        grown = grown_by(lambda: run("large.png"))
    print(json.dumps({"grown": grown, "height": results[-1]["height"], "drawn": results[-1]["picture"]}))


def test_memory_does_not_grow_with_the_height(tmp_path):
    for name, height in (("small", 4000), ("large", 40_000)):
        Image.new("RGB", (512, height), "white").save(tmp_path / f"{name}.png", compress_level=1)
    ended = Forked(memory_over, tmp_path).finish()
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert (found["height"], found["drawn"]) == (40_000, "large.png")
    assert found["grown"] < 512 * (40_000 - 4000) * 3 / 2**20 / 2


def test_pillows_limit_holds_without_tiles(tmp_path, monkeypatch):
    """Readers read the next pictures while one is drawn on."""
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    monkeypatch.setattr(tiles_module, "drawn_reduced", lambda *_: pytest.fail("the limit is lifted"))
    with Predictor(str(DETECTOR)) as predictor:
        (result,) = infer(predictor, [tmp_path / "good.png"], tmp_path / "out")
    assert (tmp_path / "out" / result["picture"]).exists()


def test_pillows_limit_holds_while_results_are_waited_for(tmp_path, monkeypatch):
    Image.new("RGB", (70, 70)).save(tmp_path / "good.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with Predictor(str(DETECTOR)) as predictor:
        for _ in infer(predictor, [tmp_path / "good.png"] * 2, tile=64):
            assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": 0}, "^tile takes a whole number from 1 to 1048576, got 0"),
        ({"tile": 64, "overlap": 64}, "^overlap takes a whole number from 0 to 63, got 64"),
        ({"tile": 64, "overlap": -1}, "^overlap takes a whole number from 0 to 63, got -1"),
        ({"tile": 64, "overlap": 16.5}, "^overlap takes a whole number from 0 to 63, got 16.5"),
        ({"overlap": 8}, "^overlap is that of tiles; give their side, tile, too"),
    ],
)
def test_wrong_options(field, options, words):
    with Predictor(str(DETECTOR)) as predictor, pytest.raises(UserError, match=words):
        list(infer(predictor, [field[0]], **options))


def test_models_that_find_no_objects(field):
    with (
        Predictor(str(ROOT / "docs" / "trained" / "regression")) as predictor,
        pytest.raises(
            UserError,
            match="tile is for what finds boxes, or a class for each pixel, and this model's served form is coord",
        ),
    ):
        list(infer(predictor, [field[0]], tile=64))


def test_the_command(field, tmp_path):
    options = ("--model_dir", DETECTOR, "--input", field[0], "--tile", 64)
    done = run_tool("infer", *options, cwd=tmp_path)
    assert done.status == 0, done.stderr
    with Predictor(str(DETECTOR)) as predictor:
        (expected,) = infer(predictor, [field[0]], tile=64, overlap=16)
    assert json.loads(done.stdout) == expected
    wrong = run_tool("infer", *options, "--overlap", 100, cwd=tmp_path)
    assert wrong.status == 2
    assert "--overlap takes a whole number from 0 to 63, got 100" in wrong.stderr
