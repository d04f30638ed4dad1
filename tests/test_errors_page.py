"""Every message of docs/errors.md is one that a user can meet, in those words."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest

import ppcoordconv as pcc
from ppcoordconv.config import load_config
from ppcoordconv.data.boxes import DetectionData
from ppcoordconv.data.coco import read_coco
from ppcoordconv.data.points import read_point
from ppcoordconv.deploy import Predictor, formats, verification
from ppcoordconv.deploy.export_task import export_task
from ppcoordconv.deploy.infer import infer
from ppcoordconv.deploy.runtimes import PaddleEngine, Settings
from ppcoordconv.tasks import build_task
from ppcoordconv.training.writer import only_writer
from ppcoordconv.utils.device import select_device
from ppcoordconv.utils.errors import argument_prefix
from ppcoordconv.utils.files import write_text
from ppcoordconv.utils.weights import fit_weights, load_state

pytestmark = pytest.mark.any_paddle

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^- `(.+)`$", PAGE, re.MULTILINE)
CONFIG = ROOT / "configs" / "digits" / "coordconv.yml"
TRAINED, CANVASES = (str(ROOT / "docs" / "trained" / name) for name in ("classification", "regression"))


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


def of_another_network(folder):
    paddle.save({"other.weight": paddle.zeros([2])}, str(folder / "a.pdparams"))
    build_task(config(f"model.weights={folder / 'a.pdparams'}"))


def as_a_command(action):
    with argument_prefix("--"):
        action()


def canvas(folder):
    from PIL import Image

    folder.mkdir(exist_ok=True)
    Image.new("L", (64, 64)).save(folder / "x.png")
    return folder / "x.png"


def written_below_a_file(folder):
    (folder / "file").touch()
    write_text(folder / "file" / "a.txt", "")


def coco(folder, **changes):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], **changes}
    tree = {
        "images": [{"id": 1, "file_name": "x.png", "width": 4, "height": 4}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "a"}],
    }
    (folder / "train.json").write_text(json.dumps(tree))
    return read_coco(folder / "train.json", folder)


def written_by_two(folder):
    with only_writer(folder), only_writer(folder):
        pass


def on_no_gpu(action):
    if paddle.device.cuda.device_count():
        pytest.skip("a GPU is here")
    action()


def differing_export(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "_error_of", lambda *_: 0.5)
        export_task(build_task(config()), folder)


def onnx_that_is_not_installed(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats.importlib.util, "find_spec", lambda name: None)
        formats.FORMATS["onnx"](None, None, folder)


def damaged_model(folder):
    shutil.copytree(TRAINED, folder / "model")
    with (folder / "model" / "inference.pdiparams").open("ab") as file:
        file.write(b"x")
    Predictor(str(folder / "model"))


def model_of_paddle_3(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paddle, "__version__", "2.6.2")
        PaddleEngine(folder, {"model_file": "inference.json"}, Settings())


def in_window(model, count=1):
    with pcc.window([[0, 0, 3, 3]] * count, (3, 3)):
        model(paddle.zeros([2, 2, 3, 3]))


# By the beginning of a message: what brings it about, given a folder.
CAUSES = {
    "…: in_channels=…, but": lambda _: pcc.CoordConv(4, 4, 1)(paddle.zeros([1, 6, 3, 3])),
    "coords=… names": lambda _: pcc.coord_grid([3], "padle"),
    "coords takes": lambda _: pcc.coord_grid([3], 7),
    "window: no": lambda _: in_window(lambda x: x),
    "boxes: expected one": lambda _: in_window(pcc.CoordConv(2, 2, 1), count=3),
    "…: coords=Given": lambda _: pcc.CoordConv(2, 2, 1, coords=pcc.Given(1))(paddle.zeros([1, 2, 3, 3])),
    "…: padding: expected an int of at least 0 or": lambda _: pcc.CoordConv(2, 2, 1, padding=[1, 2, 3]),
    "…: padding: expected an int of at least 0, got": lambda _: pcc.CoordConv(
        2, 2, 3, padding=[1, 1], padding_mode="reflect"
    ),
    "…: in_channels: expected a multiple": lambda _: pcc.CoordConv(3, 2, 1, groups=2),
    "…: weight_attr: expected": lambda _: pcc.CoordConv(2, 2, 1, weight_attr=False),
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
    "model.weights takes a file": of_another_network,
    "model.freeze has": lambda _: build_task(config("model.freeze=layer1")),
    "… is not a valid weights file": lambda _: load_state(CONFIG),
    "… does not fit": lambda _: fit_weights(paddle.nn.Linear(2, 2), {}, "weights"),
    "there is no folder …; image_folder": lambda folder: folder_of_pictures(folder / "nowhere", 0),
    "… holds … class folders": lambda folder: folder_of_pictures(folder, 1),
    "…: the class … has one": lambda folder: folder_of_pictures(folder, 2),
    "… is not a readable picture": lambda folder: picture(folder / "x.png"),
    "there is no file": lambda folder: read_coco(folder / "train.json", folder),
    "… is a pipe": lambda _: load_state(Path("/dev/null")),
    "the test set has the category": lambda _: DetectionData(lambda: ([], ["cat"]), lambda: ([], ["cow"])).test,
    "the training set has no box": lambda _: DetectionData(lambda: ([], []), lambda: ([], [])).train,
    "a point is": lambda _: read_point("40;17"),
    "--model_dir takes": lambda folder: as_a_command(lambda: Predictor(str(folder / "nowhere"))),
    "--output would replace the": lambda folder: as_a_command(
        lambda: list(infer(Predictor(CANVASES), [canvas(folder)], folder))
    ),
    "the model takes a batch": lambda _: Predictor(TRAINED)(np.zeros([1, 3], np.float32)),
    "fp16 is for GPUs": lambda _: Predictor(TRAINED, precision="fp16"),
    "trt_int8": lambda _: Predictor(TRAINED, device="gpu", trt="int8"),
    "the device 'gpu'": lambda _: on_no_gpu(lambda: select_device("gpu")),
    "… can't be written": written_below_a_file,
    "… is being written by another training": written_by_two,
    "…: there is no image of": lambda folder: coco(folder, image_id=7),
    "…: bbox takes": lambda folder: coco(folder, bbox=[0, 0, 2]),
    "the exported model is": differing_export,
    "the network takes inputs": lambda folder: export_task(build_task(config()), folder, dynamic_size=True),
    "the format onnx": onnx_that_is_not_installed,
    "a model in": lambda folder: on_no_gpu(lambda: export_task(build_task(config()), folder, precision="fp16")),
    "… is not the file": damaged_model,
    "… is a model of Paddle 3": model_of_paddle_3,
}
# Those that take a process or a training run, and the tests that cause them.
CAUSED_ELSEWHERE = {
    "ppcoordconv needs PaddlePaddle": "tests/test_structure.py",
    "needs …: pip install": "tests/test_package.py",
    "ppcoordconv.contrib.… is": "tests/contrib/test_not_installed.py",
    "the loss became": "tests/training/test_trainer.py",
    "… was written with other": "tests/training/test_trouble.py",
}


def test_there_are_messages_and_each_has_a_cure():
    assert len(MESSAGES) > 40
    assert len(set(MESSAGES)) == len(MESSAGES)
    assert len(re.findall(r"^- `.+`\n\n    \S", PAGE, re.MULTILINE)) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_message_is_the_programs_own(message, tmp_path):
    if message.startswith(tuple(CAUSED_ELSEWHERE)):
        (where,) = (where for beginning, where in CAUSED_ELSEWHERE.items() if message.startswith(beginning))
        assert max(message.split("…"), key=len).strip(" :'") in (ROOT / where).read_text(encoding="utf-8")
        return
    (cause,) = (cause for beginning, cause in CAUSES.items() if message.startswith(beginning))
    with pytest.raises((TypeError, ValueError)) as caught:
        cause(tmp_path)
    assert re.match(pattern(message), str(caught.value), re.DOTALL), caught.value


def test_every_cause_is_one_of_a_message():
    for beginning in [*CAUSES, *CAUSED_ELSEWHERE]:
        assert sum(message.startswith(beginning) for message in MESSAGES) == 1, beginning
