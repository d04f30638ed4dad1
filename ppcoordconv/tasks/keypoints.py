"""Keypoints: a map for each point of an object, heatmaps or coordinates by soft-argmax, COCO's measure."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from ..config import NamedConfig
from ..data.boxes import Letterbox
from ..data.keypoint_regions import Region
from ..data.keypoints import KeypointData, KeypointObject
from ..metrics import Metric
from ..metrics.keypoints import COCO_SIGMAS, SIGMA, KeypointPrecision
from ..models.keypoint_net import METHODS, KeypointNet, MapsToPoints, pixel_grid
from ..postprocess import SERVED
from ..utils.arguments import check_choice, check_number
from ..utils.errors import ArgumentError, UserError
from ..viz.draw import contact_sheet
from . import TASKS, bind_data, build_network, check_window, letterbox_for
from .data_checks import DataCheck, check_keypoints


class _Samples:
    """Inputs, and as targets what ``KeypointPrecision`` takes: points ``[K, 3]`` in pixels of the input, its place
    ``[3]``, the sizes of the object ``[2]``, and the number of its picture.

    Parameters:
        flip_order: for each point the index of what it is in a mirror.
        window: whether the window in the whole picture's input, ``[6]``, is a further field.
    """

    def __init__(
        self,
        objects: Sequence[KeypointObject],
        letterbox: Letterbox,
        region: Region,
        flip_order: Optional[np.ndarray] = None,
        window: bool = False,
        seed: Optional[int] = None,
    ) -> None:
        self._objects = objects
        self._letterbox = letterbox
        self._region = region
        self._flip_order = flip_order
        self._window = window
        self._seed = seed
        numbers: Dict[str, int] = {}
        self._pictures = [numbers.setdefault(_key(one, index), len(numbers)) for index, one in enumerate(objects)]

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        one = self._objects[index]
        rng = None if self._seed is None else np.random.default_rng([self._seed, index])
        pixels, points, part = self._region(one, rng, self._flip_order)
        scale = self._letterbox.scale(pixels.shape[:2])
        points = points * np.array([scale, scale, 1], np.float32)
        place = np.array([part[0], part[1], scale], np.float32)
        left, top, right, bottom = one.box
        sizes = np.array([one.area, max(right - left, bottom - top)], np.float32)
        window = [self._letterbox.window(part, one.size, self._letterbox)] if self._window else []
        return (self._letterbox(pixels), points, place, sizes, np.int64(self._pictures[index]), *window)


def _key(one: KeypointObject, index: int) -> str:
    return str(one.image) if not isinstance(one.image, np.ndarray) else f"array {index}"


@TASKS.register
class KeypointTask:
    """The points of an object, in a part of a picture that is given, or in a picture of one object.

    Parameters:
        model: a model that takes ``num_keypoints`` and gives a map for each, ``keypoint_net``.
        data: a dataset that is a ``KeypointData``, ``coco_keypoints``.
        image_size: height and width of the network's input, into which the part is fitted, in pixels.
        region: what part of the picture is taken: "box", that of the object's box and ``margin``, or "whole".
        margin: how much of the box's longer side is added on each side, 0..1; what is served takes such parts, too.
        method: "heatmap", a Gaussian for each point is learnt, or "dsnt", its coordinates (``MapsToPoints``).
        sigma: of the Gaussian, in cells of the maps.
        flip: half of the training pictures are mirrored; points of the data's pairs, left and right, change places.
        jitter: the part is moved and enlarged or reduced by up to this part (0..0.5) of it, in training.
        colour: brightness, contrast and saturation each change by up to this part (0..1), in training.
        window: in training, CoordConv has the coordinates that a part, moved and enlarged by ``jitter``, has in the
            whole picture, not those in the part.
        sigmas: of each point, how far it may be away in COCO's measure; None: COCO's for its 17 points of a person,
            else 0.06 for all.
        mean, std: of the red, green and blue samples, on the scale 0..1, by which they are normalised.
    """

    name = "keypoints"
    metric = "ap"
    num_visualized = 12

    def __init__(
        self,
        model: NamedConfig,
        data: NamedConfig,
        metadata: Optional[Dict[str, Any]] = None,
        image_size: Sequence[int] = (64, 64),
        region: str = "box",
        margin: float = 0.15,
        method: str = "heatmap",
        sigma: float = 1.5,
        flip: bool = False,
        jitter: float = 0.0,
        colour: float = 0.0,
        window: bool = False,
        sigmas: Optional[Sequence[float]] = None,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        # What measures: it is missed now, rather than after the first epoch.
        import pycocotools  # noqa: F401

        check_choice("method", method, METHODS)
        check_number("sigma", sigma, 0.3, 20)
        self._method, self._sigma = method, sigma
        self._read_data = bind_data(data, KeypointData)
        self._metadata = metadata
        self._labels: List[str] = metadata["labels"] if metadata else self.data.skeleton.names
        self._sigmas = _sigmas(sigmas, len(self._labels))
        network = build_network(model, KeypointTask.name, num_keypoints=len(self._labels))
        if not isinstance(network, KeypointNet):
            raise UserError(f"task 'keypoints' takes the model keypoint_net, got {model.name!r}")
        self.network = network
        self.window = window
        check_window(window, network)
        if window and region != "whole":
            raise ArgumentError("window", "is for region=whole: a box's part is measured and served without its window")
        self._letterbox = letterbox_for(network, image_size, mean, std)
        self._region = Region(region, margin)
        self._training = Region(region, margin, flip, jitter, colour)
        self.head = MapsToPoints(method, network.stride)

    @cached_property
    def data(self) -> KeypointData:
        data: KeypointData = self._read_data()
        if self._metadata:
            data.names = self._metadata["labels"]
        return data

    def train_samples(self, seed: int) -> _Samples:
        flip_order = self.data.skeleton.flip_order()
        return _Samples(self.data.train, self._letterbox, self._training, flip_order, self.window, seed)

    def test_samples(self) -> _Samples:
        return _Samples(self.data.test, self._letterbox, self._region)

    def loss(self, outputs: Tensor, targets: Sequence[Tensor]) -> Tensor:
        maps = outputs.astype("float32")
        grid = pixel_grid(maps)
        labelled = (targets[0][:, :, 2] > 0).astype("float32")
        places = targets[0][:, :, :2] / self.network.stride - 0.5
        distance = ((grid.unsqueeze(1) - places.unsqueeze(3).unsqueeze(3)) ** 2).sum(2)
        gaussian = paddle.exp(-distance / (2 * self._sigma**2))
        wrong = LOSSES[self._method](maps, gaussian, places, grid)
        return (wrong * labelled).mean()

    def metrics(self) -> Metric:
        return KeypointPrecision(self._sigmas)

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        form = SERVED.build(self.name)
        form.edges = self.data.skeleton.edges
        pictures = []
        for one, result in zip(self.data.test, form.decode(outputs, self._labels)):
            pixels, *_ = self._region(one)
            pictures.append(form.draw(pixels, np.empty(0), form.to_image(result, self._letterbox, pixels.shape[:2])))
        return contact_sheet(pictures, columns=6)

    def check_data(self) -> DataCheck:
        return check_keypoints(self.data, self._region)

    @property
    def input_shape(self) -> List[int]:
        return self._letterbox.input_shape

    def export_metadata(self) -> Dict[str, Any]:
        edges = self._metadata["edges"] if self._metadata else self.data.skeleton.edges
        preprocess = self._letterbox.to_dict()
        return {"served_form": self.name, "preprocess": preprocess, "labels": self._labels, "edges": edges}


def _squared(maps: Tensor, gaussian: Tensor, places: Tensor, grid: Tensor) -> Tensor:
    """The squared difference of map and Gaussian, summed over the map."""
    return ((maps - gaussian) ** 2).sum([2, 3])


def _of_coordinates(maps: Tensor, gaussian: Tensor, places: Tensor, grid: Tensor) -> Tensor:
    """Nibali et al. 2018 (arXiv:1801.07372), eq. 5 to 7: how far the expected place is away, in parts of half the map,
    and the Jensen-Shannon divergence of the softmax from the Gaussian.
    """
    log_p = F.log_softmax(maps.flatten(2), axis=2)
    p = log_p.exp()
    q = gaussian.flatten(2) / (gaussian.sum([2, 3]).unsqueeze(2) + 1e-9)
    middle = (p + q) / 2
    log_middle = (middle + 1e-12).log()
    divergence = (p * (log_p - log_middle) + q * ((q + 1e-12).log() - log_middle)).sum(2) / 2
    found = paddle.matmul(p, grid.flatten(2)[0].t())
    away = (((found - places) ** 2).sum(2) + 1e-6).sqrt()
    return away * (2 / max(maps.shape[2:])) + divergence


LOSSES = {"heatmap": _squared, "dsnt": _of_coordinates}


def _sigmas(given: Optional[Sequence[float]], count: int) -> Sequence[float]:
    if given is None:
        return COCO_SIGMAS if count == len(COCO_SIGMAS) else [SIGMA] * count
    if not isinstance(given, (list, tuple)) or len(given) != count:
        raise ArgumentError("sigmas", f"takes a number for each of the {count} keypoints, got {given!r}")
    for number in given:
        check_number("sigmas", number, 1e-3, 1)
    return given
