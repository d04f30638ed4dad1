"""Weights from files. Loading one runs no code from the file, so that it may come from a stranger."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import paddle
from paddle import nn

from .errors import UserError

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


# After the pickle's end, where its readers, Paddle's too, stop.
CHECKSUM = b"\nsha256:"


def load_state(path: Path) -> Dict[str, Any]:
    """Reads what ``save_state`` or ``paddle.save`` wrote: a dict of arrays and plain values.

    Raises:
        UserError: there is no such file, it is damaged, or it is something else.
    """
    try:
        stream = io.BytesIO(path.read_bytes())
        state = _ArraysOnly(stream).load()
        end = stream.tell()
        checksum = hashlib.sha256(stream.getbuffer()[:end]).hexdigest().encode()
        # Others' files have no checksum.
        if stream.getbuffer()[end:] not in (b"", CHECKSUM + checksum):
            raise ValueError("its checksum is another one")
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f"{path} is no file of weights, or a damaged one: {error}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is no file of weights: it holds a {type(state).__name__}, not a dict")
    # Paddle's own table of names, beside the tensors.
    state.pop("StructuredToParameterName@@", None)
    return state


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
        raise UserError(f"{source} does not fit the network: {_shortened(misfits)}")
    network.set_state_dict({key: _like(value, own[key]) for key, value in weights.items()})


def _like(value: Any, tensor: paddle.Tensor) -> Any:
    """In the type of the network's own: weights of mixed precision are saved in float32."""
    return value if paddle.to_tensor(value).dtype == tensor.dtype else paddle.to_tensor(value).astype(tensor.dtype)


def _shortened(sentences: List[str], most: int = 5) -> str:
    rest = len(sentences) - most
    return "; ".join(sentences[:most]) + (f"; and {rest} more" if rest > 0 else "")
