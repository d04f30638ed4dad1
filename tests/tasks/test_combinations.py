"""Every task with every model and every data set gives samples and a loss, or a sentence."""

import numpy as np
import pytest
from conftest import package_names
from instance_pictures import write_instances
from keypoint_pictures import write_faces
from PIL import Image
from segmentation_pictures import write_coco, write_masks

from ppcoordconv.config import Config
from ppcoordconv.data import DATASETS
from ppcoordconv.data.digits import digits
from ppcoordconv.data.scattered_digits import write_fields
from ppcoordconv.models import list_models
from ppcoordconv.models.vision import NAMES
from ppcoordconv.tasks import TASKS, build_task
from ppcoordconv.training.prefetch import Batch
from ppcoordconv.utils.errors import UserError

pytestmark = pytest.mark.any_paddle
SIZES = {"classification": [32, 32], "detection": [64, 64], "segmentation": [64, 64]}


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """By data set; of cifar10 there is no file."""
    folder = tmp_path_factory.mktemp("data")
    names = ("a/0", "a/1", "b/0", "b/1")
    for name in names:
        path = folder / "pictures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(path)
    (folder / "pictures" / "train_list.txt").write_text("".join(f"{name}.png {name[0]}\n" for name in names))
    write_fields(folder / "fields", digits(), counts=(4, 2))
    write_faces(folder / "faces", (4, 2))
    write_masks(folder / "masks", (4, 2))
    write_coco(folder / "outlines", (4, 2))
    write_instances(folder / "instances", (4, 2))
    lines = [f"images/train/{number}.png masks/train/{number}.png\n" for number in range(4)]
    (folder / "masks" / "train.txt").write_text("".join(lines))
    return {
        "cifar10": {"path": str(folder / "none")},
        "coco": {"path": str(folder / "fields")},
        "coco_instances": {"path": str(folder / "instances")},
        "coco_keypoints": {"path": str(folder / "faces")},
        "image_folder": {"path": str(folder / "pictures")},
        "image_list": {"path": str(folder / "pictures")},
        "coco_masks": {"path": str(folder / "outlines")},
        "mask_folder": {"path": str(folder / "masks")},
        "mask_list": {"path": str(folder / "masks")},
    }


@pytest.mark.parametrize("task", package_names(TASKS))
def test_a_loss_or_a_sentence(task, options):
    losses, sentences = [], []
    for model in [*filter(lambda name: name not in NAMES, list_models()), "shufflenet_v2_x0_25"]:
        for data in DATASETS.names():
            given = {"name": task, **({"image_size": SIZES[task]} if task in SIZES else {})}
            config = Config(task=given, model={"name": model}, data={"name": data, **options.get(data, {})})
            try:
                built = build_task(config)
                built.test_samples()
                inputs, *targets = Batch.collate(built.train_samples(0), np.arange(2)).tensors()
                losses.append(built.loss(built.network(inputs), targets).item())
            except UserError as error:
                sentences.append(str(error))
    assert losses
    assert np.isfinite(losses).all()
    assert all(0 < len(sentence) < 300 for sentence in sentences)
