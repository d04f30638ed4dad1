"""The training loop for any network and data, from Python: ``ppcoordconv.training.fit``."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Mapping, Sequence, Tuple, Union, get_args

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.io import Dataset, IterableDataset

from ..compat import to_numpy
from ..config import Config, config_of
from ..metrics import Means, Metric
from ..utils.arguments import check_int, check_path
from ..utils.errors import ArgumentError, UserError, shortened_repr
from ..utils.registry import did_you_mean
from .first_batch import try_first_batch
from .run import BESIDE_METRICS
from .trainer import find_resume
from .trainer import train as train_task

Data = Union[Dataset, Sequence[Any]]
Measure = Callable[..., np.ndarray]

# What fit takes by name: keys of a config, and two of its own; and the keys of the sections among them.
_OPTIONS = [
    *(key for key in Config.model_fields if key not in ("task", "model", "data", "export")),
    "num_inputs",
    "resume",
]
_SECTIONS = {
    section: {key for kind in get_args(Config.model_fields[section].annotation) for key in kind.model_fields} - {"name"}
    for section in ("optimizer", "schedule")
}


def fit(
    network: nn.Layer,
    train: Data,
    test: Data,
    loss: Callable[..., Tensor],
    metrics: Mapping[str, Measure],
    *,
    num_inputs: int = 1,
    output_dir: Union[str, os.PathLike[str]] = "output/fit",
    resume: Union[str, os.PathLike[str], None] = None,
    **options: Any,
) -> Dict[str, Any]:
    """Trains any network as the command ``train`` does: the same loop, files, log and resume.

    Parameters:
        network: gives a Tensor, or a tuple or list of Tensors, each ``[N, ...]``. Afterwards it has the weights of the
            last evaluation; the best are in ``best.pdparams``.
        train, test: a ``paddle.io.Dataset`` of samples ``(input, target, ...)``, or a tuple of arrays ``[N, ...]`` of
            the inputs and the targets; both have the same number of fields. Floating-point numbers are made float32,
            whole ones stay what they are, and convolutions don't take those. A sample is read by its index alone,
            beside the training: what is random about it is repeatable where it is drawn by a generator of that index,
            ``np.random.default_rng(index)``.
        loss: from the network's outputs and the targets to the mean of a batch, a scalar: ``nn.CrossEntropyLoss()``, or
            ``loss(outputs, target, ...)``. Of several outputs it gets the tuple that the network gives.
        metrics: by name a function of arrays, ``(outputs, target, ...) -> [N]``, a number for each sample, of which the
            mean over the test set is taken: ``{"accuracy": lambda y, label: y.argmax(1) == label}``. More is better;
            the first decides which weights are the best. Of several outputs it gets a tuple of arrays.
        num_inputs: how many of a sample's fields are inputs of the network.
        output_dir: what is written, as by the command; an earlier run there is moved into ``earlier.1``.
        resume: "auto" to go on from the newest state in ``output_dir``, if there is one, or the path of a state.
        options: the keys of a config, without task, model, data and export, as ``epochs=20, batch_size=16, seed=1,
            optimizer={"learning_rate": 1e-3}, schedule={"name": "cosine"}, ema=0.99, patience=5, workers=2``. ``seed``
            is one whole number.

    Returns:
        What ``metrics.json`` holds: "best" and "last" (losses and metrics), "epochs", "seconds".

    Raises:
        UserError: an argument or an option is wrong, as a batch of the test set shows before the first step; or as the
            command.
        Stopped: by Ctrl-C (SIGINT) or SIGTERM, once the step is finished and the state saved; the same call with
            ``resume="auto"`` goes on from there. It is in ``ppcoordconv.utils.errors``, and no ``Exception``.

    Examples:
        >>> import numpy as np, tempfile
        >>> import ppcoordconv as pcc
        >>> from paddle import nn
        >>> from ppcoordconv.training import fit
        >>> x = np.random.default_rng(0).random([64, 1, 8, 8])
        >>> left = x[..., :4].sum((1, 2, 3)) > x[..., 4:].sum((1, 2, 3))
        >>> net = nn.Sequential(pcc.CoordConv(1, 4, 8), nn.Flatten(), nn.Linear(4, 2))
        >>> found = fit(net, (x[:48], left[:48].astype(int)), (x[48:], left[48:].astype(int)), nn.CrossEntropyLoss(),
        ...             {"accuracy": lambda y, label: y.argmax(1) == label}, epochs=2, output_dir=tempfile.mkdtemp())
        >>> found["epochs"]
        2
    """
    if not isinstance(network, nn.Layer):
        raise ArgumentError("network", f"takes a paddle.nn.Layer, got {type(network).__name__}")
    if not isinstance(metrics, Mapping):
        raise ArgumentError("metrics", f"takes functions by name, as {{'accuracy': ...}}, got {type(metrics).__name__}")
    for name, value in (("loss", loss), *metrics.items()):
        if not callable(value):
            raise ArgumentError(name, f"takes a function, got {type(value).__name__}")
    for name in metrics:
        if not isinstance(name, str) or name in BESIDE_METRICS:
            taken = f"takes names other than {', '.join(BESIDE_METRICS)}, which a run has"
            raise ArgumentError("metrics", f"{taken}, got {name!r}")
    if not metrics:
        raise ArgumentError("metrics", "takes one function at least, by which the best weights are chosen, got none")
    if all(parameter.stop_gradient for parameter in network.parameters()):
        raise ArgumentError("network", "takes one with weights to train; it has none, or all of them are frozen")
    check_int("num_inputs", num_inputs, 1, 100)
    output_dir = os.fspath(output_dir) if isinstance(output_dir, os.PathLike) else output_dir
    check_path("output_dir", output_dir)
    if resume is not None and not isinstance(resume, (str, os.PathLike)):
        raise ArgumentError("resume", f"takes 'auto', the path of a last.pdopt, or None, got {resume!r}")
    config = _config(type(network).__name__, options).model_copy(update={"output_dir": output_dir})
    samples = _Samples("train", train, num_inputs), _Samples("test", test, num_inputs)
    if samples[0].num_fields != samples[1].num_fields:
        wanted = f"takes samples of {samples[0].num_fields} fields, as train has"
        raise ArgumentError("test", f"{wanted}, got {samples[1].num_fields}")
    task = _OwnTask(network, *samples, loss, metrics, num_inputs)
    try_first_batch(task, config.batch_size)
    paddle.seed(config.seed)
    return train_task(task, config, find_resume(None if resume is None else os.fspath(resume), config))


def _config(network: str, options: Dict[str, Any]) -> Config:
    """The config of a run, from the options of ``fit``."""
    for key, value in options.items():
        if key not in _OPTIONS:
            inner = [section for section in _SECTIONS if key in _SECTIONS[section]]
            near = f": did you mean {inner[0]}={{'{key}': ...}}?" if inner else did_you_mean(key, _OPTIONS)
            raise UserError(f"there is no key {key!r}{near} The keys here are {', '.join(_OPTIONS)}")
        if key in _SECTIONS and not isinstance(value, dict):
            name = Config.model_fields[key].default.name
            raise ArgumentError(key, f"takes options, as {key}={{'name': {name!r}}}, got {type(value).__name__}")
    config = config_of({"task": {"name": "fit"}, "model": {"name": network}, "data": {"name": "own"}, **options})
    if isinstance(config.seed, list):
        raise ArgumentError("seed", f"takes one whole number, got {config.seed}")
    return config


class _Samples:
    """Samples of a dataset, or of arrays, as tuples of arrays."""

    def __init__(self, name: str, data: Data, num_inputs: int) -> None:
        arrays = None
        if isinstance(data, (tuple, list)):
            self._length = _length_of(name, data)
            # Of pandas, whose Series finds a row by its label, and not by its place.
            arrays = [array.to_numpy() if hasattr(array, "to_numpy") else array for array in data]
        elif isinstance(data, (IterableDataset, Mapping)) or not (
            hasattr(data, "__len__") and hasattr(data, "__getitem__")
        ):
            raise ArgumentError(name, f"takes a paddle.io.Dataset with a length, or arrays, got {type(data).__name__}")
        else:
            self._length = len(data)
        self._data, self._arrays = data, arrays
        if not self._length:
            raise ArgumentError(name, "takes one sample at least, got none")
        first = self[0]
        if len(first) <= num_inputs:
            raise ArgumentError(
                name, f"takes samples of {num_inputs} input(s) and a target at least, got {len(first)} field(s)"
            )
        self.num_fields, self.input_shape = len(first), list(first[0].shape)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tuple[np.ndarray, ...]:
        fields = self._data[index] if self._arrays is None else [array[index] for array in self._arrays]
        return tuple(map(_as_array, fields if isinstance(fields, (tuple, list)) else [fields]))


def _length_of(name: str, arrays: Sequence[Any]) -> int:
    """That of each of the arrays."""
    takes = "takes arrays of the same length"
    if isinstance(arrays, list) and all(isinstance(array, tuple) for array in arrays):
        raise ArgumentError(name, f"{takes}, all inputs and all targets, got a list of tuples, each one sample")
    try:
        lengths = [len(array) for array in arrays]
    except TypeError as error:
        raise ArgumentError(name, f"{takes}, got one without a length: {error}") from error
    if len(set(lengths)) != 1:
        raise ArgumentError(name, f"{takes}, got {lengths}")
    return lengths[0]


def _as_array(value: Any) -> np.ndarray:
    array = to_numpy(value) if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise UserError(f"a sample takes numbers, got {shortened_repr(value)}")
    return array.astype(np.float32) if array.dtype.kind == "f" else array


class _OwnTask:
    """Joins a network and data that were given, as a ``Task``."""

    head = None
    num_visualized = 0

    def __init__(
        self,
        network: nn.Layer,
        train: _Samples,
        test: _Samples,
        loss: Callable[..., Tensor],
        metrics: Mapping[str, Measure],
        num_inputs: int,
    ) -> None:
        self.network, self.num_inputs = network, num_inputs
        self.metric = next(iter(metrics))
        self.input_shape = train.input_shape
        self._train, self._test, self._loss, self._metrics = train, test, loss, metrics

    def train_samples(self, seed: int) -> _Samples:
        return self._train

    def test_samples(self) -> _Samples:
        return self._test

    def loss(self, outputs: Any, targets: Sequence[Tensor]) -> Tensor:
        return self._loss(outputs, *targets)

    def metrics(self) -> Metric:
        def of_samples(outputs: Any, targets: Sequence[np.ndarray]) -> Dict[str, np.ndarray]:
            return {name: _each(name, of(outputs, *targets), len(targets[0])) for name, of in self._metrics.items()}

        return Means(of_samples)

    def visualize(self, outputs: np.ndarray) -> np.ndarray:
        raise NotImplementedError("there is nothing to show: num_visualized is 0")

    def export_metadata(self) -> Dict[str, Any]:
        return {"served_form": None, "preprocess": {}, "labels": []}


def _each(name: str, values: Any, count: int) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (count,):
        wanted = f"takes a function that gives a number for each sample, [{count}]"
        raise ArgumentError(name, f"{wanted}, got {list(values.shape)}")
    return values
