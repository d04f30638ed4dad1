"""Where the bright pixel is: a task of a user's own, with its data, model and served form, outside the package."""

from types import SimpleNamespace

import numpy as np
import paddle.nn.functional as F
from paddle import nn

from ppcoordconv.data import DATASETS
from ppcoordconv.data.images import Preprocess
from ppcoordconv.metrics import Means
from ppcoordconv.models import MODELS
from ppcoordconv.postprocess import SERVED, ServedForm
from ppcoordconv.tasks import TASKS, bind_data, build_network
from ppcoordconv.utils.arguments import check_int
from ppcoordconv.utils.errors import UserError
from ppcoordconv.viz.draw import captioned, contact_sheet

SIDE = 8


def picture(x, y):
    pixels = np.zeros([SIDE, SIDE, 3], np.uint8)
    pixels[y, x] = 255
    return pixels


@DATASETS.register
def spots(path: str, limit: int = 64):
    """The places in a text file, one a line; every fifth is to test on."""
    check_int("limit", limit, 10, 64)
    try:
        places = np.loadtxt(path, int)[:limit]
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    is_test = np.arange(len(places)) % 5 == 0
    return SimpleNamespace(train=places[~is_test], test=places[is_test])


@MODELS.register
def spot_net(width: int = 16):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, width), nn.Linear(width, 2))


@SERVED.register
class Spot(ServedForm):
    """From ``[N, 2]``, x and y as parts of the picture, to pixels."""

    name = "spot"
    without_onnx = "spots are for Paddle alone"

    def decode(self, outputs, labels):
        return [{"x": float(SIDE * x), "y": float(SIDE * y)} for x, y in outputs]

    def to_image(self, result, preprocess, size):
        height, width = size[:2]
        return {"x": result["x"] * width / SIDE, "y": result["y"] * height / SIDE}

    def draw(self, pixels, output, result):
        return captioned(pixels, f"{result['x']:.1f}, {result['y']:.1f}")


@TASKS.register
class SpotTask:
    name, metric, head, num_visualized = "spot", "near", None, 4

    def __init__(self, model, data, metadata=None, tolerance: int = 1):
        check_int("tolerance", tolerance, 1, 3)
        self._tolerance = tolerance
        self._preprocess = Preprocess((SIDE, SIDE))
        self._read_data = bind_data(data, SimpleNamespace)
        self.network = build_network(model)

    @property
    def input_shape(self):
        return self._preprocess.input_shape

    def _samples(self, places):
        return [(self._preprocess(picture(*place)), np.float32(place / SIDE)) for place in places]

    def train_samples(self, seed):
        return self._samples(self._read_data().train)

    def test_samples(self):
        return self._samples(self._read_data().test)

    def loss(self, outputs, targets):
        return F.mse_loss(outputs, targets[0])

    def metrics(self):
        return Means(
            lambda outputs, targets: {"near": (np.abs(outputs - targets[0]) < self._tolerance / SIDE).all(axis=1)}
        )

    def visualize(self, outputs):
        assert len(outputs) == self.num_visualized
        shown = zip(self._read_data().test, outputs, Spot().decode(outputs, []))
        return contact_sheet([Spot().draw(picture(*place), output, result) for place, output, result in shown], 2)

    def export_metadata(self):
        return {"served_form": "spot", "preprocess": self._preprocess.to_dict(), "labels": ["spot"]}
