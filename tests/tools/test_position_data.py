"""The sets of docs/placement.md: drawn ones are what they are said to be, real ones are read from their packages."""

import gzip
import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from conftest import ROOT, run_tool
from PIL import Image

from ppcoordconv.config import load_config
from ppcoordconv.data import DATASETS
from ppcoordconv.tasks import build_task

CONFIGS = {"pairs": "keypoints", "faces": "keypoints", "bands": "segmentation", "brain": "segmentation"}


def make(tmp_path, name, *words):
    done = run_tool("position_data", name, "--output", tmp_path / name, *words, cwd=tmp_path)
    assert done.status == 0, done.stderr
    config = load_config(ROOT / "configs" / CONFIGS[name] / f"{name}.yml", [f"data.path={tmp_path / name}"])
    return build_task(config)


def test_of_a_pair_one_dot_lies_in_each_half(tmp_path):
    data = make(tmp_path, "pairs").data
    assert (len(data.train), len(data.test)) == (160, 60)
    for one in data.test[:20]:
        (left, _, _), (right, _, _) = one.points
        assert left < 48 < right
        pixels = one.pixels()
        for x, y, _ in one.points:
            assert pixels[int(y), int(x)].min() >= 150
            assert pixels[int(y), int(x) - 6].max() < 150


def test_the_class_of_a_dot_is_the_quarter_of_its_middle(tmp_path):
    data = make(tmp_path, "bands").data
    assert data.labels == ["background", "column 1", "column 2", "column 3", "column 4"]
    from scipy.ndimage import find_objects, label

    for one in data.test[:20]:
        mask, pixels = one.mask(), one.pixels()
        np.testing.assert_array_equal(mask > 0, pixels.min(axis=2) >= 150)
        numbered, count = label(mask)
        assert 3 <= count <= 5
        for number, (_, columns) in enumerate(find_objects(numbered), 1):
            (found,) = np.unique(mask[numbered == number])
            middle = (columns.start + columns.stop) / 2  # to half a pixel
            assert found in {1 + int(middle - 0.5) // 24, 1 + int(middle + 0.5) // 24}


def volume(values):
    header = bytearray(352)
    header[40:48] = struct.pack("<4h", 3, *values.shape)
    header[70:72] = struct.pack("<h", 2)
    header[108:112] = struct.pack("<f", 352)
    return gzip.compress(bytes(header) + values.astype("u1").tobytes(order="F"))


def test_slices_of_a_brain_have_both_halves_and_whole_blocks_are_held_out(tmp_path):
    t1 = np.random.default_rng(0).integers(1, 255, [20, 24, 160])
    grey, white = np.zeros_like(t1), np.zeros_like(t1)
    grey[2:18, 4:8], white[2:18, 12:16] = 200, 250
    path = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
    with zipfile.ZipFile(tmp_path / "nilearn.whl", "w") as archive:
        for name, values in {"t1": t1, "gm": grey, "wm": white}.items():
            archive.writestr(path.format(name), volume(values))
    data = make(tmp_path, "brain", "--package", tmp_path / "nilearn.whl").data
    numbers = [{int(one.image.stem) for one in part} for part in (data.train, data.test)]
    assert {n // 10 for n in numbers[0]} & {n // 10 for n in numbers[1]} == set()
    assert len(data.train) + len(data.test) == 60
    mask = data.test[0].mask()
    assert mask.shape == (12, 10)
    left, right = mask[:, :5], mask[:, 5:]
    assert set(np.unique(left)) == {0, 1, 3}
    assert set(np.unique(right)) == {0, 2, 4}
    # Upwards is the front of the head: the second axis goes there.
    assert np.nonzero(left == 3)[0].max() < np.nonzero(left == 1)[0].min()


def test_the_points_of_a_face_are_the_middles_of_dlibs(tmp_path):
    rng = np.random.default_rng(0)
    places = rng.uniform(20, 80, [4, 68, 2]).round(1)
    with tarfile.open(tmp_path / "dlib.tar.bz2", "w:bz2") as archive:

        def put(name, data):
            info = tarfile.TarInfo(f"dlib-19.24+dfsg/examples/faces/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        for number, part in enumerate(("training", "testing")):
            text = ""
            for picture in (2 * number, 2 * number + 1):
                file = io.BytesIO()
                Image.new("RGB", (100, 90), (picture, 0, 0)).save(file, format="PNG")
                put(f"{picture}.jpg", file.getvalue())
                points = "".join(
                    f"<part name='{n:02}' x='{x}' y='{y}'/>" for n, (x, y) in enumerate(places[picture].tolist())
                )
                box = f"<box top='10' left='15' width='70' height='60'>{points}</box>"
                text += f"<image file='{picture}.jpg'>{box}</image>"
            put(f"{part}_with_face_landmarks.xml", f"<dataset><images>{text}</images></dataset>".encode())
    data = make(tmp_path, "faces", "--package", tmp_path / "dlib.tar.bz2").data
    assert [one.image.stem for one in data.train] == ["1", "2"]
    assert [one.image.stem for one in data.test] == ["0", "3"]
    one = data.train[0]
    np.testing.assert_allclose(one.box, [15, 10, 85, 70])
    np.testing.assert_allclose(one.points[0, :2], places[1, 42:48].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(one.points[4, :2], places[1, 48], rtol=1e-5)
    assert data.skeleton.flip_order().tolist() == [1, 0, 2, 4, 3]


@pytest.mark.parametrize("name", ["faces", "brain"])
def test_another_file_is_refused_with_the_command_that_gets_the_right_one(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(b"no")
    done = run_tool("position_data", name, "--output", tmp_path / name, "--package", tmp_path / "a.zip", cwd=tmp_path)
    assert done.status == 2
    assert "--package takes the file that `" in done.stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    done = run_tool("position_data", "pairs", "--output", tmp_path / "full", cwd=tmp_path)
    assert done.status == 2
    assert "--output takes a folder that is new or empty" in done.stderr


def test_every_set_has_a_config_of_its_name():
    from placement import ROWS
    from position_data import SETS

    assert list(SETS) == list(ROWS)
    for name, row in ROWS.items():
        config = load_config(ROOT / "configs" / row.folder / f"{name}.yml", [])
        assert config.task.name == row.folder
        assert config.data.name in DATASETS.names()


def test_the_page_shows_what_is_recorded():
    from experiments import read_records
    from placement import PAGE, PLACES, RECORDS, SEEDS, WINDOWS, table, ways

    from ppcoordconv.utils.files import with_section

    records, text = read_records(RECORDS), PAGE.read_text(encoding="utf-8")
    shown = with_section(text, "Places", table(records, "", PLACES))
    assert with_section(shown, "Crops", table(records, "crops: ", ("none", *WINDOWS))) == text
    for name in CONFIGS:
        assert set(records[name]) == set(ways(name))
        assert all(len(runs) == len(SEEDS) for runs in records[name].values())


def test_a_row_that_lacks_runs_is_left_out(monkeypatch):
    from placement import table

    runs = {str(seed): {"last": {"pck": seed / 10, "miou": 1.0}} for seed in range(5)}
    made = table({"pairs": {"none": runs, "input": runs}, "bands": {"none": runs}}, "", ("none", "input"))
    assert made.splitlines()[2:] == [
        "| `pairs`: two equal dots, by the half they lie in | `pck` | 0.200 ± 0.158 | 0.200 ± 0.158 |"
    ]


def test_the_runs_that_are_missing_are_trained(tmp_path, monkeypatch):
    import placement

    ran = []

    def train(commands):
        ((name, words),) = commands.items()
        ran.append((name, words))
        return {name: ""}

    monkeypatch.setattr(placement, "RECORDS", tmp_path / "placement.json")
    monkeypatch.setattr(placement, "tools_side_by_side", train)
    monkeypatch.setattr("experiments.record_of", lambda output, exported: {"last": {}, "history": [], "exported": {}})
    (tmp_path / "placement.json").write_text(json.dumps({"bands": {"none": {}, "all": {}}}))
    placement.run_experiment(type("Arguments", (), {"rows": ["bands"], "data": tmp_path}))
    assert [words[-1 - 3] for _, words in ran] == ["model.coord=input", "model.coord=head"]
    assert set(json.loads((tmp_path / "placement.json").read_text())["bands"]) == {"none", "all", "input", "head"}
