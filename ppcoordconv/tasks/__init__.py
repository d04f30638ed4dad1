"""Tasks: each joins a network to data, with a loss, a metric, a served form and pictures.

A class decorated with ``TASKS.register`` in a module of this package is a task of the name in its attribute ``name``.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Protocol, Sequence, Tuple

import numpy as np
from paddle import Tensor, nn

from ..config import EXPORT_OPTIONS, Config, NamedConfig, load_config
from ..data import DATASETS
from ..data.boxes import Letterbox
from ..data.images import check_normalisation
from ..layers import has_coords, needs_points
from ..metrics import Metric
from ..models import MODELS, create
from ..models.fine_tuning import begin_with, freeze
from ..utils.arguments import check_bool, is_size
from ..utils.errors import ArgumentError, UserError, argument_prefix, shortened_repr
from ..utils.progress import log_info
from ..utils.registry import Registry, options_of
from ..utils.weights import fit_weights, read_weights

TASKS = Registry("task", __name__)
# The fewest of weights for each class that a network tells apart.
BYTES_A_LABEL = 128


class Samples(Protocol):
    """A sequence of samples, each a tuple of arrays: the network's input first, then the targets."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]: ...


class Task(Protocol):
    """What training, evaluation and export know of a task.

    It is built of ``model`` and ``data``, ``NamedConfig``s; of ``metadata``, what ``export_metadata`` gave when the
    weights were trained that the network is for, None before; and of options of its own. What follows from the data it
    takes from the metadata where there are some, and reads no data before samples are asked for.

    Attributes:
        network: takes a batch of inputs, gives a batch of outputs, or what ``loss`` and ``head`` take.
        head: makes of the network's outputs the batch that is measured, shown and served; None: they are it.
        metric: the key of the metrics by which the best weights are chosen; more is better.
        input_shape: the shape of one input, without the batch.
        num_visualized: how many samples ``visualize`` shows at most; 0: there are no pictures.
        num_inputs: where there is such an attribute, how many of a sample's fields are inputs of the network; else one.
        check_data: where there is such a method, it reads all data and gives a ``data_checks.DataCheck``.
        window: where there is such an attribute and it is True, the last field of a training sample is its window, as
            ``pcc.window`` takes it: the box's numbers and then the whole's, float32 ``[6]`` for maps.
    """

    network: nn.Layer
    head: Optional[nn.Layer]
    metric: str
    num_visualized: int

    @property
    def input_shape(self) -> List[int]: ...

    def train_samples(self, seed: int) -> Samples:
        """The training set as one epoch sees it; ``seed`` decides all that is random."""

    def test_samples(self) -> Samples:
        """The held-out set."""

    def loss(self, outputs: Any, targets: Sequence[Tensor]) -> Tensor:
        """The mean loss of a batch, a scalar."""

    def metrics(self) -> Metric:
        """What measures one test set, from outputs and targets, batch by batch."""

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        """A picture of the first held-out samples with what the network makes of them: uint8 ``[H, W, 3]``."""

    def export_metadata(self) -> Dict[str, Any]:
        """What goes with the weights, and into ``inference.yml``: "served_form", "preprocess", "labels", plain values.

        "served_form" is the name of one of ``ppcoordconv.postprocess``.
        """


def build_task(config: Config, metadata: Optional[Dict[str, Any]] = None) -> Task:
    """The task of a config, with its network.

    Parameters:
        metadata: those of weights that the network is for.

    Raises:
        UserError: a name or an option that there isn't, a wrong value, data that can't be read, a model that doesn't
            fit them.
    """
    own = {key: value for key, value in config.export.items() if key not in EXPORT_OPTIONS}
    options = {**config.task.options(), **own}
    given = {"model": config.model, "data": config.data, "metadata": metadata}
    for name in given:
        if name in options:
            raise UserError(f"task {config.task.name!r} has no option {name!r}")
    with argument_prefix("task."), argument_prefix("export.", own):
        return TASKS.build(config.task.name, **given, **options)


def trained_task(config: Config, weights: Path) -> Task:
    """The task of a config with the weights of a file, whose metadata, if it has some, spare reading data.

    What the training began with, ``model.weights``, is not read.

    Raises:
        UserError: as for ``build_task``; or the weights can't be read or don't fit.
    """
    config = config.without_weights()
    state, metadata = read_weights(weights)
    if metadata:
        _check_plausible(metadata["labels"], state, weights)
    task = build_task(config, metadata)
    fit_weights(task.network, state, str(weights))
    if metadata:
        _say_other(weights, metadata["preprocess"], task.export_metadata()["preprocess"])
    beside = weights.with_name("config.yml")
    if beside.is_file():
        with contextlib.suppress(UserError):  # it may be anybody's
            trained = load_config(beside, []).without_weights().model
            _say_other(weights, trained.options(), config.model.options(), "model.")
    return task


def _say_other(weights: Path, trained: Dict[str, Any], now: Dict[str, Any], prefix: str = "") -> None:
    names = [name for name in {**trained, **now} if trained.get(name) != now.get(name)]
    if names:
        was, is_now = (
            ", ".join(f"{prefix}{name} {values.get(name, 'as it is by default')}" for name in names)
            for values in (trained, now)
        )
        log_info(f"{weights} were trained with {was}, not with {is_now}; the config.yml beside them has what they had")


def _check_plausible(labels: List[str], state: Dict[str, Any], weights: Path) -> None:
    """Before a network is built for so many classes: the file may be a stranger's."""
    size = sum(value.nbytes for value in state.values() if isinstance(value, np.ndarray))
    if size < BYTES_A_LABEL * len(labels):
        raise UserError(f"{weights} names {len(labels)} labels, and has {size:,} bytes of weights, too few for so many")


def build_network(model: NamedConfig, for_task: Optional[str] = None, **derived: Any) -> nn.Layer:
    """The network of a config's ``model``, with options that follow from the data.

    Parameters:
        for_task: the name of a task that takes, as do those derived from it, networks no other does: those that have it
            as ``for_task``.

    Raises:
        UserError: there is no such model, it is for another task, it has no such option, or a value is wrong.
    """
    options = model.options()
    # Of every model: what it begins with, and which of its layers are not trained.
    weights, frozen = options.pop("weights", None), options.pop("freeze", None)
    for name, value in derived.items():
        if name in options:
            raise UserError(f"model.{name} follows from the data, {value} here; leave it out")
    if missing := derived.keys() - options_of(MODELS.find(model.name)):
        raise UserError(f"the model {model.name!r} takes no {missing.pop()}, which the task has; take another model")
    with argument_prefix("model."):
        network = create(model.name, **derived, **options)
    if needs_points(network):
        raise UserError(
            "model.coords: 'relative' asks for points, which tasks don't give; call the network from Python"
        )
    if (only := getattr(network, "for_task", for_task)) != for_task:
        raise UserError(f"the model {model.name!r} is for the task {only!r} alone; take that task or another model")
    with argument_prefix("model."):
        if weights is not None:
            begin_with(network, weights)
        if frozen is not None:
            freeze(network, frozen)
    return network


def bind_data(data: NamedConfig, kind: type) -> Callable[[], Any]:
    """What reads the data of a config's ``data``; names are checked at once, values and files when it is called.

    Parameters:
        kind: the class of data that the task takes, as ``ClassificationData``; others are a UserError then, too.

    Raises:
        UserError: there is no such dataset, or it has no such option.
    """
    read = DATASETS.bind(data.name, **data.options())

    def read_data() -> Any:
        with argument_prefix("data."):
            found = read()
        if not isinstance(found, kind):
            given = type(found).__name__
            raise UserError(f"the task takes a dataset of {kind.__name__}, and {data.name!r} gives {given}")
        return found

    return read_data


def letterbox_for(network: nn.Layer, size: Any, mean: Any, std: Any, name: str = "image_size") -> Letterbox:
    """What fits pictures into a network's input of that height and width; its option is called ``name``."""
    coarsest = network.coarsest
    if not is_size(size) or any(side % coarsest for side in size):
        takes = f"takes a height and a width, multiples of {coarsest} pixels with this model"
        raise ArgumentError(name, f"{takes}, got {size!r}")
    check_normalisation(mean, std)
    return Letterbox((size[0], size[1]), tuple(mean), tuple(std))


def padded(values: np.ndarray, length: int, fill: Any) -> np.ndarray:
    """``[n, ...]`` as ``[length, ...]``, so that samples with other numbers of objects make one batch."""
    whole = np.full([length, *values.shape[1:]], fill, values.dtype)
    whole[: len(values)] = values
    return whole


def check_window(window: Any, network: nn.Layer) -> None:
    """That a task's option ``window`` is a flag, and not set for a network without coordinates."""
    check_bool("window", window)
    if window and not has_coords(network):
        raise ArgumentError("window", "is for networks with CoordConv, and this one has none")


def check_labels(labels: List[str], metadata: Optional[Dict[str, Any]]) -> None:
    """That data have the classes that weights were trained on.

    Raises:
        UserError: they have others.
    """
    if metadata and labels != metadata["labels"]:
        given, known = shortened_repr(labels), shortened_repr(metadata["labels"])
        raise UserError(
            f"the data's labels are {given}, the weights were trained on {known}; take the config.yml of their run"
        )
