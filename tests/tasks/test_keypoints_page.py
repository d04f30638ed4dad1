"""The commands of docs/keypoints.md, one after the other, with a few steps of training."""

import pytest
from conftest import run_page
from keypoint_pictures import write_faces
from PIL import Image

SHORT = ["epochs=1", "max_steps=2", "batch_size=4"]


@pytest.mark.any_paddle
@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path):
    write_faces(tmp_path / "poses", (8, 10))
    write_faces(tmp_path / "written", (10, 1))
    (tmp_path / "annotated" / "annotations").mkdir(parents=True)
    (tmp_path / "annotated" / "images").mkdir()
    (tmp_path / "written" / "train").rename(tmp_path / "annotated" / "images" / "default")
    file = tmp_path / "annotated" / "annotations" / "person_keypoints_default.json"
    (tmp_path / "written" / "train.json").rename(file)
    (tmp_path / "crops").mkdir()
    for number in range(3):
        Image.new("RGB", (30, 40)).save(tmp_path / "crops" / f"{number}.png")
    said = run_page("keypoints.md", tmp_path, SHORT)
    assert "2 of 10 pictures are held out as the test set" in said
    assert len(list((tmp_path / "output" / "found").glob("*.png"))) == 3
    assert {"check.json", "samples.png"} <= {path.name for path in (tmp_path / "output" / "checked").iterdir()}
    assert (tmp_path / "output" / "split" / "best.pdparams").exists()
