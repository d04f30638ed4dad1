"""The commands of docs/segmentation.md, one after the other, with a few steps of training."""

import pytest
from conftest import run_page
from PIL import Image
from segmentation_pictures import write_coco, write_masks

SHORT = ["epochs=1", "max_steps=2", "batch_size=4"]


@pytest.mark.any_paddle
@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path):
    write_masks(tmp_path / "shapes", (8, 10))
    write_masks(tmp_path / "listed", (10, 1))
    lines = [f"images/train/{number}.png masks/train/{number}.png" for number in range(10)]
    (tmp_path / "listed" / "train.txt").write_text("\n".join(lines))
    write_coco(tmp_path / "outlined", (8, 2))
    (tmp_path / "photographs").mkdir()
    for number in range(3):
        Image.new("RGB", (30, 40)).save(tmp_path / "photographs" / f"{number}.png")
    Image.new("RGB", (300, 200)).save(tmp_path / "large.png")
    said = run_page("segmentation.md", tmp_path, SHORT)
    assert "2 of 10 pictures are held out as the test set" in said
    assert len(list((tmp_path / "output" / "found" / "masks").glob("*.png"))) == 3
    assert Image.open(tmp_path / "output" / "found_in_tiles" / "masks" / "large.png").size == (300, 200)
    assert {"check.json", "samples.png"} <= {path.name for path in (tmp_path / "output" / "checked").iterdir()}
    for name in ("custom", "listed", "outlined"):
        assert (tmp_path / "output" / name / "best.pdparams").exists()
