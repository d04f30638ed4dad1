"""Weights from files. Loading one runs no code from the file, so that it may come from a stranger."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import numpy as np
import paddle
from paddle import nn

from .errors import UserError, shortened
from .files import open_regular

# What a file of arrays needs. numpy 2 moved its core, and reads and writes both names.
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of weights needs")
        return super().find_class(module, name)


# After the pickle's end, where its readers, Paddle's too, stop: what belongs to the weights, as JSON, and a checksum of
# all that comes before it.
METADATA = b"\nmetadata:"
CHECKSUM = b"\nsha256:"


def load_state(path: Path) -> Dict[str, Any]:
    """Reads what ``save_state`` or ``paddle.save`` wrote: a dict of arrays and plain values.

    Raises:
        UserError: there is no such file, it is damaged, or it is something else.
    """
    return _read(path)[0]


def load_metadata(path: Path) -> Optional[Dict[str, Any]]:
    """What ``save_state`` wrote beside weights: what a task's ``export_metadata`` gave; None where there is nothing.

    Raises:
        UserError: there is no such file, it is damaged, or it is something else.
    """
    return _read(path)[1]


def _read(path: Path) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    try:
        with open_regular(path) as file:
            data = file.read()
        stream = io.BytesIO(data)
        state = _ArraysOnly(stream).load()
        end = stream.tell()
        metadata = None
        if len(data) > end:  # others' files have nothing there
            marker = data.rfind(CHECKSUM, end)
            checksum = hashlib.sha256(memoryview(data)[:marker]).hexdigest().encode()
            if marker < 0 or data[marker + len(CHECKSUM) :] != checksum:
                raise ValueError("its checksum is another one")
            metadata = _metadata(data[end:marker])
    except UserError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f"{path} is not a valid weights file: {error}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is not a valid weights file: it holds a {type(state).__name__}, not a dict")
    # Paddle's own table of names, beside the tensors.
    state.pop("StructuredToParameterName@@", None)
    return state, metadata


def _metadata(data: bytes) -> Optional[Dict[str, Any]]:
    if not data:
        return None
    metadata = json.loads(data[len(METADATA) :]) if data.startswith(METADATA) else None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("what comes after the weights is no metadata with labels")
    return metadata


def load_weights(network: nn.Layer, path: Path) -> None:
    """Loads a ``.pdparams`` file into a network, all of it or nothing.

    Raises:
        UserError: the file can't be read, or its tensors don't fit the network; it names those that don't.
    """
    fit_weights(network, load_state(path), str(path))


def fit_weights(network: nn.Layer, weights: Dict[str, Any], source: str) -> None:
    """``load_weights`` for weights that are at hand; ``source`` names them in the error."""
    own = network.state_dict()
    shapes = {key: list(np.shape(value)) for key, value in weights.items()}
    misfits = [f"{key} is missing" for key in own if key not in weights]
    misfits += [f"{key} is not the network's" for key in weights if key not in own]
    misfits += [
        f"{key} has shape {shapes[key]} instead of {list(value.shape)}"
        for key, value in own.items()
        if key in weights and shapes[key] != list(value.shape)
    ]
    if misfits:
        raise UserError(f"{source} does not fit the network: {shortened(misfits, 5, '; ')}")
    network.set_state_dict({key: _like(value, own[key]) for key, value in weights.items()})


def _like(value: Any, tensor: paddle.Tensor) -> Any:
    """In the type of the network's own: weights of mixed precision are saved in float32."""
    return value if paddle.to_tensor(value).dtype == tensor.dtype else paddle.to_tensor(value).astype(tensor.dtype)
