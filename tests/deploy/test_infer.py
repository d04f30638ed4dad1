"""infer.py over many files, good ones and bad: in order, ahead of the model, and on from where it was killed."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ENVIRONMENT, ROOT, run_tool, start_tool
from forked import Forked, grown_by
from PIL import Image

from ppcoordconv.config import load_config
from ppcoordconv.data.not_so_clevr import all_centres, one_hot
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy import infer as infer_module
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import BATCH_SIZE, READERS, RESULTS, _distinct_names, infer
from ppcoordconv.postprocess import ServedForm
from ppcoordconv.postprocess.coordinates import CoordinateRegression
from ppcoordconv.tasks import build_task
from ppcoordconv.utils.errors import Stopped, UserError

pytestmark = pytest.mark.any_paddle

MODEL = ROOT / "docs" / "trained" / "regression"
CENTRES = all_centres()[:: 3136 // 300][:300]


@pytest.fixture(scope="module")
def canvases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("canvases")
    for i, centre in enumerate(CENTRES):
        Image.fromarray(one_hot(centre)).save(folder / f"{i:03d}.png")
    (folder / "100.png").write_bytes(b"no picture")
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_results_are_in_order_and_written_down(canvases, tmp_path):
    results = list(infer(Predictor(str(MODEL)), [canvases], tmp_path))
    assert [result["input"] for result in results] == [str(canvases / f"{i:03d}.png") for i in range(300)]
    assert [i for i, result in enumerate(results) if "error" in result] == [100]
    found = np.array([[result.get("x", 0), result.get("y", 0)] for result in results])
    assert np.delete(found.round() == CENTRES, 100, axis=0).all()
    assert lines(tmp_path / RESULTS) == results


class Wrapped:
    """A predictor that does something before or after it runs."""

    def __init__(self, run):
        self._predictor, self._run = Predictor(str(MODEL)), run
        self.description = self._predictor.description

    def __call__(self, batch):
        return self._run(self._predictor(batch))


def test_what_is_gone_when_it_is_drawn_names_no_picture(canvases, tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes((canvases / "000.png").read_bytes())
    (result,) = infer(Wrapped(lambda outputs: image.unlink() or outputs), [image], tmp_path / "drawn")
    assert result["error"].startswith(f"there is no file {image}")
    assert "picture" not in result
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == [RESULTS]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_an_error(canvases, tmp_path, value):
    inputs = [canvases / "000.png", canvases / "001.png"]
    good, bad = infer(Wrapped(lambda outputs: outputs * [[1], [value]]), inputs, tmp_path)
    assert {"x", "y", "picture"} < set(good)
    assert bad == {"input": str(inputs[1]), "error": "the model's output is not finite"}
    assert lines(tmp_path / RESULTS) == [good, bad]


def test_no_more_is_read_ahead_than_the_readers_need(canvases, monkeypatch):
    read, waiting = [], threading.Lock()
    real = infer_module.value_or_error

    def counted(prepare):
        with waiting:
            read.append(prepare)
        return real(prepare)

    monkeypatch.setattr(infer_module, "value_or_error", counted)
    results = infer(Predictor(str(MODEL)), [canvases])
    next(results)
    time.sleep(0.5)
    assert BATCH_SIZE < len(read) <= 2 * BATCH_SIZE + READERS
    results.close()


def test_killed_and_resumed(canvases, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = ["--model_dir", MODEL, "--input", canvases, "--output"]
    assert run_tool("infer", *arguments, whole, cwd=tmp_path).status == 1
    expected = lines(whole / RESULTS)
    process = start_tool("infer", *arguments, parts, cwd=tmp_path)
    for _ in range(3):
        json.loads(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = lines(parts / RESULTS)
    assert 3 <= len(before) < 300
    assert before == expected[: len(before)]
    with (parts / RESULTS).open("a", encoding="utf-8") as file:
        file.write('{"input": "ha')  # as a line that was being written
    resumed = run_tool("infer", *arguments, parts, "--resume", cwd=tmp_path)
    assert [json.loads(line) for line in resumed.stdout.splitlines()] == expected[len(before) :]
    assert lines(parts / RESULTS) == expected
    assert {path.name for path in parts.glob("*.png")} == {path.name for path in whole.glob("*.png")}
    again = run_tool("infer", *arguments, parts, "--resume", cwd=tmp_path)
    assert (again.stdout, lines(parts / RESULTS)) == ("", expected)


def test_resumed_with_nothing_before_it_begins(canvases, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "000.png").write_bytes(b"somebody's")
    results = list(infer(Predictor(str(MODEL)), [canvases / "000.png"], tmp_path / "new", resume=True))
    assert len(results) == 1
    assert (tmp_path / "new" / "earlier.1" / "000.png").read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"input": "elsewhere.png"}\n', "holds results of other inputs; choose another folder"),
        ("x\n", "does not hold results of infer"),
        ("[]\n", "does not hold results of infer"),
        ('{"input": "elsewhere.png"}\nwhat somebody else wrote', "holds results of other inputs"),
    ],
)
def test_results_that_can_not_be_gone_on_from(canvases, tmp_path, content, words):
    (tmp_path / RESULTS).write_text(content)
    with pytest.raises(UserError, match=words):
        list(infer(Predictor(str(MODEL)), [canvases], tmp_path, resume=True))
    assert (tmp_path / RESULTS).read_text() == content


@pytest.mark.parametrize("kind", ["deep", "folder", "pipe"])
def test_results_before_that_are_none(canvases, tmp_path, kind):
    path = tmp_path / RESULTS
    {"deep": lambda: path.write_text("[" * 100_000 + "\n"), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}[
        kind
    ]()
    with pytest.raises(UserError, match="does not hold results of infer|is a folder, not a file|is a pipe or a device"):
        list(infer(Predictor(str(MODEL)), [canvases / "000.png"], tmp_path, resume=True))


def write_much(folder):
    """Without drawings, the files that grow are the results."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    infer_module._draw = lambda form, item, row, result, picture: result
    try:
        predictor = Predictor(str(ROOT / "docs" / "trained" / "classification"))
        list(infer(predictor, [folder / "points.txt"], folder / "out"))
    except UserError as error:
        print(error)


def test_a_disk_that_is_full_while_results_are_written(tmp_path):
    (tmp_path / "points.txt").write_text("40,17\n" * 400)
    done = Forked(write_much, tmp_path).finish()
    assert "can't be written: File too large" in done.stdout
    assert "Traceback" not in done.stderr


def test_results_that_cannot_be_printed_are_said(canvases, tmp_path):
    command = [sys.executable, str(ROOT / "tools" / "infer.py"), "--model_dir", str(MODEL), "--input", str(canvases)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "infer.py: stdout can't be written: No space left on device"
    assert "Traceback" not in done.stderr


def test_resume_needs_the_folder(canvases, tmp_path):
    result = run_tool("infer", "--model_dir", MODEL, "--input", canvases, "--resume", cwd=tmp_path)
    assert (result.status, len(result.stderr.splitlines())) == (2, 1)
    assert "--resume needs the output folder" in result.stderr


def test_a_folder_that_can_not_be_written(canvases, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be written"):
        list(infer(Predictor(str(MODEL)), [canvases], tmp_path / "file" / "results"))


def a_link_to_itself(folder):
    (folder / "loop.png").symlink_to(folder / "loop.png")
    return folder / "loop.png"


def a_link_to_nothing(folder):
    (folder / "broken.png").symlink_to(folder / "nothing.png")
    return folder / "broken.png"


def a_pipe(folder):
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def a_folder_inside(folder):
    (folder / "folder").mkdir()
    return folder / "folder"


BAD = {
    "loop": (a_link_to_itself, "can't be read: "),
    "broken": (a_link_to_nothing, "there is no file"),
    "pipe": (a_pipe, "is a pipe or a device, not a file"),
    "device": (lambda folder: Path("/dev/zero"), "is a pipe or a device, not a file"),
    "long": (lambda folder: folder / f"{'x' * 300}.png", "can't be read: File name too long"),
    "NUL": (lambda folder: folder / "a\0b.png", "is no path: embedded null"),
    "empty folder": (a_folder_inside, "with recursive, those in its folders count, too"),
}


@pytest.mark.parametrize("output", [None, "results"])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_input_is_a_line_and_the_rest_goes_on(canvases, tmp_path, kind, output):
    make, words = BAD[kind]
    inputs = [canvases / "000.png", make(tmp_path), canvases / "001.png"]
    good, bad, last = infer(Predictor(str(MODEL)), inputs, tmp_path / output if output else None)
    assert words in bad["error"]
    assert "error" not in {**good, **last}


@pytest.mark.parametrize(("bad", "good"), [(1, 0), (32, 1), (1, 32), (33, 0)])
def test_nothing_but_bad_inputs_in_a_batch(canvases, tmp_path, bad, good):
    """The good ones before or after it, where they fill a batch of 32."""
    missing, there = [tmp_path / f"{number}.png" for number in range(bad)], [canvases / "000.png"] * good
    inputs = [*there, *missing] if good == 32 else [*missing, *there]
    results = list(infer(Predictor(str(MODEL)), inputs))
    assert [result["input"] for result in results] == list(map(str, inputs))
    assert sum("error" in result for result in results) == bad


def test_a_picture_that_an_earlier_call_drew_is_no_longer_moved_if_it_is_an_input(canvases, tmp_path):
    list(infer(Predictor(str(MODEL)), [canvases / "000.png"], tmp_path / "out"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out" / "000.png")
    with pytest.raises(UserError, match="output would replace the input .*000.png"):
        list(infer(Predictor(str(MODEL)), [tmp_path / "in"], tmp_path / "out"))
    assert (tmp_path / "in" / "link.png").exists()


def test_bad_inputs_in_a_folder(canvases, tmp_path):
    for make in (a_link_to_itself, a_link_to_nothing, a_pipe):
        make(tmp_path)
    Image.open(canvases / "000.png").save(tmp_path / "good.png")
    results = list(infer(Predictor(str(MODEL)), [tmp_path]))
    assert [Path(result["input"]).stem for result in results if "error" in result] == ["broken", "loop", "pipe"]
    assert len(results) == 4


def test_a_form_that_draws_nothing_has_no_pictures(canvases, tmp_path, monkeypatch):
    with Predictor(str(MODEL)) as predictor:
        monkeypatch.setattr(CoordinateRegression, "draw", ServedForm.draw)
        with pytest.raises(UserError, match="output gets a picture of each result, and the served form .* draws none"):
            next(infer(predictor, [canvases], tmp_path / "out"))
        assert "error" not in next(infer(predictor, [canvases]))
    assert not (tmp_path / "out").exists()


def test_a_name_of_another_encoding(canvases, tmp_path):
    """As it comes out of an archive that was made on a Chinese Windows."""
    name = os.fsdecode("数字.png".encode("gbk"))
    (tmp_path / name).write_bytes((canvases / "007.png").read_bytes())
    whole = run_tool("infer", "--model_dir", MODEL, "--input", tmp_path, "--output", tmp_path / "out", cwd=tmp_path)
    (result,) = (json.loads(line) for line in whole.stdout.splitlines())
    assert result["input"] == str(tmp_path / name)
    assert [round(result["x"]), round(result["y"])] == CENTRES[7].tolist()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {RESULTS, name}
    again = list(infer(Predictor(str(MODEL)), [tmp_path / name], tmp_path / "out", resume=True))
    assert again == []


def test_a_stdout_that_lacks_a_letter(canvases, tmp_path):
    (tmp_path / "zwölf 十二.png").write_bytes((canvases / "012.png").read_bytes())
    command = [sys.executable, ROOT / "tools" / "infer.py", "--model_dir", MODEL, "--input", tmp_path]
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["input"] == str(tmp_path / "zwölf 十二.png")


def test_pictures_in_folders_of_folders(canvases, tmp_path):
    for name in ("b/0.png", "a/0.png", "a/c/0.png", "0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((canvases / "000.png").read_bytes())
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    predictor = Predictor(str(MODEL))
    assert [result["input"] for result in infer(predictor, [tmp_path])] == [str(tmp_path / "0.png")]
    found = [result["input"] for result in infer(predictor, [tmp_path], tmp_path / "out", recursive=True)]
    assert found == [str(tmp_path / name) for name in ("0.png", "a/0.png", "a/c/0.png", "b/0.png")]
    drawn = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [result["picture"] for result in lines(tmp_path / "out" / RESULTS)] == drawn[:-1]
    assert drawn == ["0.png", "0_2.png", "0_3.png", "0_4.png", RESULTS]


def test_names_of_results_are_distinct_and_not_too_long():
    names = _distinct_names(["a", "a_2", "a", "x" + "é" * 124, *["b"] * 20_000])
    assert names[:3] == ["a.png", "a_2.png", "a_3.png"]
    assert len(set(names)) == len(names)
    assert names[3] == "x" + "é" * 99 + ".png"


def test_an_input_is_never_replaced(tmp_path):
    """A file of points that is called as the results are."""
    model = ROOT / "docs" / "trained" / "rendering"
    (tmp_path / RESULTS).write_text("40,17\n")
    with pytest.raises(UserError, match=r"output would replace the input .*results\.jsonl; choose another folder"):
        list(infer(Predictor(str(model)), [tmp_path / RESULTS], tmp_path))
    assert (tmp_path / RESULTS).read_text() == "40,17\n"


def test_what_is_in_the_way_is_moved_aside(canvases, tmp_path):
    (tmp_path / "000.png").write_bytes(b"a drawing of mine")
    (tmp_path / RESULTS).write_text("results of mine")
    (tmp_path / "001.png").write_bytes(b"another")
    list(infer(Predictor(str(MODEL)), [canvases / "000.png"], tmp_path))
    assert (tmp_path / "earlier.1" / "000.png").read_bytes() == b"a drawing of mine"
    assert (tmp_path / "earlier.1" / RESULTS).read_text() == "results of mine"
    assert (tmp_path / "001.png").read_bytes() == b"another"
    first = lines(tmp_path / RESULTS)
    list(infer(Predictor(str(MODEL)), [canvases / "002.png"], tmp_path))
    assert lines(tmp_path / "earlier.2" / RESULTS) == first != lines(tmp_path / RESULTS)
    # With the pictures that its results name, and nothing else.
    assert (tmp_path / "earlier.2" / "000.png").exists()
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["001.png", "002.png"]


def test_the_results_of_one_call_are_no_inputs_of_the_next(canvases, tmp_path):
    (tmp_path / "a.png").write_bytes((canvases / "000.png").read_bytes())
    first, again, resumed = (
        list(infer(Predictor(str(MODEL)), [tmp_path], tmp_path / "out", resume=resume, recursive=True))
        for resume in (False, False, True)
    )
    assert len(first) == 1
    assert again == first
    assert resumed == []


def test_ended_by_a_signal_it_takes_no_picture_for_damaged(canvases, monkeypatch):
    def stop(*_, **__):
        raise Stopped("ended by SIGTERM", 143)

    monkeypatch.setattr(Image, "open", stop)
    with pytest.raises(Stopped):
        list(infer(Predictor(str(MODEL)), [canvases / "000.png"]))


@pytest.mark.parametrize("stem", ["?", "*", "[a-z]", "000"])
def test_only_what_infer_left_half_written_is_removed(canvases, tmp_path, stem):
    """A picture's name may hold what a glob reads as a pattern."""
    kept = [tmp_path / name for name in (".12345678x.png", ".writing-12345678x.png", ".writing-123456789.png")]
    kept += [tmp_path / f".12345678{stem}.png"]
    for path in kept:
        path.write_bytes(b"mine")
    abandoned = tmp_path / f".writing-abcdefgh{stem}.png"
    abandoned.touch()
    picture = tmp_path / "pictures" / f"{stem}.png"
    picture.parent.mkdir()
    picture.write_bytes((canvases / "000.png").read_bytes())
    list(infer(Predictor(str(MODEL)), [picture], tmp_path, resume=True))
    assert not abandoned.exists()
    assert [path.read_bytes() for path in kept] == [b"mine"] * 4


SIDE = 3000


def memory_over(model_dir, folder):
    """Prints by how many MiB a run over a folder lets the process grow, at most."""
    predictor = Predictor(model_dir, cpu_threads=1)
    list(infer(predictor, [folder / "small.png"]))
    results = []
    grown = grown_by(lambda: results.extend(infer(predictor, [folder])))
    print(json.dumps({"grown": grown, "failed": [result for result in results if "error" in result]}))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16"])
def test_no_more_than_three_pictures_a_reader_are_in_memory(canvases, tmp_path, mode):
    """Of black pictures, which are tiny as files."""
    Image.new(mode, (SIDE, SIDE)).save(tmp_path / "00.png")
    for number in range(1, 8):
        os.link(tmp_path / "00.png", tmp_path / f"{number:02}.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "small.png")
    ended = Forked(memory_over, str(MODEL), tmp_path).finish()
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["failed"] == []
    # With transparency, Pillow keeps four bytes a pixel.
    assert found["grown"] < 3 * READERS * (4 if "A" in mode else 3) * SIDE**2 / 2**20


def test_threshold_and_format_are_for_objects(canvases, tmp_path):
    for words, said in {
        ("--threshold", "0.5"): "--threshold is for models that find objects, and this one's served form is coordinate",
        ("--format", "coco"): "annotations in COCO's format are for models that find objects; take --format jsonl",
    }.items():
        result = run_tool("infer", "--model_dir", MODEL, "--input", canvases, *words, cwd=tmp_path)
        assert (result.status, result.stdout) == (2, "")
        assert said in result.stderr


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    made = run_tool("fields", "--output", folder / "fields", "--train", 6, "--test", 6, cwd=folder)
    assert made.status == 0, made.stderr
    changes = ["model.pretrained=true", f"data.path={folder / 'fields'}"]
    config = load_config(ROOT / "configs" / "detection" / "digits_coordconv.yml", changes)
    export_task(build_task(config), folder / "model")
    return folder


def test_the_threshold(detector):
    predictor = Predictor(str(detector / "model"))
    counts = []
    for threshold in (0, 0.3, None, 0.9, 1):
        results = list(infer(predictor, [detector / "fields" / "train"], threshold=threshold))
        scores = [found["score"] for result in results for found in result["objects"]]
        assert min(scores, default=1) >= (0.3 if threshold is None else threshold) - 1e-6
        counts.append(len(scores))
    assert counts[0] > counts[1] == counts[2] > counts[3] > counts[4]
    with pytest.raises(UserError, match="threshold takes a score from 0 to 1, got 30"):
        list(infer(predictor, [detector / "fields" / "train"], threshold=30))


def test_annotations_in_the_format_of_coco(detector, tmp_path):
    from pycocotools.coco import COCO

    (tmp_path / "bad.png").write_bytes(b"no picture")
    arguments = ["--model_dir", detector / "model", "--input", tmp_path, detector / "fields" / "train"]
    done = run_tool("infer", *arguments, "--format", "coco", cwd=tmp_path)
    assert done.status == 1
    assert f"{tmp_path / 'bad.png'} is not a readable picture" in done.stderr
    (tmp_path / "found.json").write_text(done.stdout)
    coco = COCO(str(tmp_path / "found.json"))
    results = list(infer(Predictor(str(detector / "model")), [detector / "fields" / "train"]))
    assert [coco.imgs[key]["file_name"] for key in sorted(coco.imgs)] == [result["input"] for result in results]
    for key, result in zip(sorted(coco.imgs), results):
        assert (coco.imgs[key]["width"], coco.imgs[key]["height"]) == (64, 64)
        found = coco.loadAnns(coco.getAnnIds(key))
        assert [coco.cats[one["category_id"]]["name"] for one in found] == [o["label"] for o in result["objects"]]
        for one, wanted in zip(found, result["objects"]):
            left, top, width, height = one["bbox"]
            assert [left, top, left + width, top + height] == pytest.approx(wanted["box"], abs=0.011)
            assert one["score"] == wanted["score"]
    assert len(coco.anns) > 6
