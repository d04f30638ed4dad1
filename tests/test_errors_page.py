"""Every message of docs/errors.md is one that a user can meet, in those words."""

import ast
import re
from pathlib import Path

import numpy as np
import paddle
import pytest

import ppcoordconv as pcc
from ppcoordconv.config import load_config
from ppcoordconv.data.coco import read_coco
from ppcoordconv.data.points import read_point
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.infer import infer
from ppcoordconv.tasks import build_task
from ppcoordconv.utils.errors import argument_prefix
from ppcoordconv.utils.weights import fit_weights, load_state

pytestmark = pytest.mark.any_paddle

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^- `(.+)`$", PAGE, re.MULTILINE)
CONFIG = ROOT / "configs" / "digits" / "coordconv.yml"
TRAINED, CANVASES = (str(ROOT / "docs" / "trained" / name) for name in ("classification", "regression"))


def templates():
    """The strings in the package, with … for what is filled in."""
    for path in (ROOT / "ppcoordconv").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def pattern(message):
    return ".*".join(re.escape(part) for part in message.split("…"))


def config(*overrides):
    return load_config(CONFIG, list(overrides))


def folder_of_pictures(tmp_path, count):
    from PIL import Image

    for label in ("a", "b")[:count]:
        (tmp_path / label).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / label / "0.png")
    return build_task(config("data.name=image_folder", f"data.path={tmp_path}"))


def picture(path):
    from ppcoordconv.data.images import read_image

    path.write_bytes(b"")
    return read_image(path)


def neck_of_uneven_maps():
    return pcc.models.necks.FPN([2, 2], 2)([paddle.zeros([1, 2, 5, 5]), paddle.zeros([1, 2, 3, 3])])


def reparameterised():
    return pcc.convert_to_coordconv(paddle.nn.utils.weight_norm(paddle.nn.Conv2D(2, 2, 1)))


def legacy(**options):
    return pcc.paddledet_legacy_to_paddle(pcc.CoordConv(2, 2, 3, coords="paddledet_legacy", **options))


def as_a_command(action):
    with argument_prefix("--"):
        action()


def canvas(folder):
    from PIL import Image

    Image.new("L", (64, 64)).save(folder / "x.png")
    return folder / "x.png"


# By the beginning of a message: what brings it about, given a folder.
CAUSES = {
    "…: in_channels=…, but": lambda _: pcc.CoordConv(4, 4, 1)(paddle.zeros([1, 6, 3, 3])),
    "coords=… names": lambda _: pcc.coord_grid([3], "padle"),
    "coords takes": lambda _: pcc.coord_grid([3], 7),
    "…: padding takes an int or": lambda _: pcc.CoordConv(2, 2, 1, padding=[1, 2, 3]),
    "…: padding takes an int, each": lambda _: pcc.CoordConv(2, 2, 3, padding=[1, 1], padding_mode="reflect"),
    "…: in_channels takes a multiple": lambda _: pcc.CoordConv(3, 2, 1, groups=2),
    "…: weight_attr takes": lambda _: pcc.CoordConv(2, 2, 1, weight_attr=False),
    "…: the input must have 4": lambda _: pcc.CoordConv(2, 2, 1)(paddle.zeros([2, 3, 3])),
    "…: the input must be floating": lambda _: pcc.CoordConv(2, 2, 1)(paddle.zeros([1, 2, 3, 3], "int32")),
    "…: the input is …, the weights": lambda _: pcc.CoordConv(2, 2, 1)(paddle.zeros([1, 2, 3, 3], "float64")),
    "spatial_shape takes one": lambda _: pcc.coord_grid([1, 2, 3, 4]),
    "…: each map": lambda _: neck_of_uneven_maps(),
    "match=… fits": lambda _: pcc.convert_to_coordconv(paddle.nn.Conv2D(2, 2, 1), match="x"),
    "… is reparameterised": lambda _: reparameterised(),
    "the layer has no bias": lambda _: legacy(bias_attr=False),
    "the zeros beside": lambda _: legacy(padding=1),
    "there is no config": lambda folder: load_config(folder / "nowhere.yml", []),
    "an override takes": lambda _: config("epochs"),
    "the override …": lambda _: config("epochs.max=5"),
    "there is no model": lambda _: pcc.models.create("resnet"),
    "model … has no": lambda _: pcc.models.create("aistudio_conv", classes=3),
    "model.num_classes": lambda _: build_task(config("model.num_classes=3")),
    "… is not a valid weights file": lambda _: load_state(CONFIG),
    "… does not fit": lambda _: fit_weights(paddle.nn.Linear(2, 2), {}, "weights"),
    "there is no folder …; image_folder": lambda folder: folder_of_pictures(folder / "nowhere", 0),
    "… holds … class folders": lambda folder: folder_of_pictures(folder, 1),
    "the class folder": lambda folder: folder_of_pictures(folder, 2),
    "… is not a readable picture": lambda folder: picture(folder / "x.png"),
    "there is no file": lambda folder: read_coco(folder / "train.json", folder),
    "a point is": lambda _: read_point("40;17"),
    "--model_dir takes": lambda folder: as_a_command(lambda: Predictor(str(folder / "nowhere"))),
    "--output would": lambda folder: as_a_command(lambda: list(infer(Predictor(CANVASES), [canvas(folder)], folder))),
    "the model takes a batch": lambda _: Predictor(TRAINED)(np.zeros([1, 3], np.float32)),
    "fp16 is for GPUs": lambda _: Predictor(TRAINED, precision="fp16"),
    "trt_int8": lambda _: Predictor(TRAINED, device="gpu", trt="int8"),
}


def test_there_are_messages_and_each_has_a_cure():
    assert len(MESSAGES) > 40
    assert len(set(MESSAGES)) == len(MESSAGES)
    assert len(re.findall(r"^- `.+`\n\n    \S", PAGE, re.MULTILINE)) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_message_is_the_programs_own(message, tmp_path):
    causes = [cause for beginning, cause in CAUSES.items() if message.startswith(beginning)]
    if causes:
        (cause,) = causes
        with pytest.raises((TypeError, ValueError)) as caught:
            cause(tmp_path)
        assert re.match(pattern(message), str(caught.value), re.DOTALL), caught.value
    else:
        fixed = "".join(message.split("…"))
        assert len(fixed) > 15
        assert any(re.search(pattern(message), template) for template in templates())


def test_every_cause_is_one_of_a_message():
    for beginning in CAUSES:
        assert sum(message.startswith(beginning) for message in MESSAGES) == 1, beginning
