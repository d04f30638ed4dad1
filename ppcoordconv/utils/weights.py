"""Weights from files. Loading one runs no code from the file, so that it may come from a stranger."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Dict, Optional, Tuple, Union

import numpy as np
import paddle
from paddle import nn

from .errors import UserError, shortened
from .files import atomic_write, open_regular, sha256, sha256_of
from .labels import are_labels
from .pickles import read_pickle
from .progress import log_info

SAFETENSORS = ".safetensors"
# Of the metadata in a file of safetensors.
KEY = "ppcoordconv"
# After the pickle's end, where its readers, Paddle's too, stop: what belongs to the weights, as JSON, and a checksum of
# all that comes before it.
METADATA = b"\nmetadata:"
CHECKSUM = b"\nsha256:"


def load_state(path: Path) -> Dict[str, Any]:
    """The dict of arrays and plain values of ``read_weights``."""
    return read_weights(path)[0]


def load_metadata(path: Path) -> Optional[Dict[str, Any]]:
    """The metadata of ``read_weights``."""
    return read_weights(path)[1]


def save_weights(network: nn.Layer, path: Path, metadata: Optional[Dict[str, Any]] = None) -> None:
    """Writes a network's weights as ``.safetensors``, which other frameworks read, whole or not at all.

    Parameters:
        metadata: what ``read_weights`` gives, plain values with a list of "labels".

    Raises:
        UserError: the path ends otherwise, or can't be written.
        ValueError: the metadata has no list of "labels".
    """
    from safetensors.numpy import save

    if path.suffix != SAFETENSORS:
        raise UserError(
            f"weights are written to a path that ends in {SAFETENSORS}, got {path}; for .pdparams use paddle.save"
        )
    text = json.dumps(metadata)
    if metadata is not None:
        _metadata(text)
    arrays = {key: np.ascontiguousarray(value.numpy()) for key, value in network.state_dict().items()}
    with atomic_write(path) as temporary:
        # Its own writer's errors are no OSError.
        temporary.write_bytes(save(arrays, None if metadata is None else {KEY: text}))


def read_weights(path: Path) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    """Reads what ``write_pdparams``, ``save_weights`` or ``paddle.save`` wrote.

    Returns:
        A dict of arrays and plain values, and the metadata that was written with it, what a task's ``export_metadata``
        gave; None where there is none.

    Raises:
        UserError: there is no such file, it is damaged, or it is something else.
    """
    try:
        with open_regular(path) as file:
            if path.suffix == SAFETENSORS:
                state, metadata = _read_safetensors(path)
            else:
                state, metadata = _read_pdparams(file, os.fstat(file.fileno()).st_size)
    except (UserError, ModuleNotFoundError):
        raise
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{path} is not a valid weights file: {str(error) or type(error).__name__}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} is not a valid weights file: it holds a {type(state).__name__}, not a dict")
    # Paddle's own table of names, beside the tensors.
    state.pop("StructuredToParameterName@@", None)
    return state, metadata


def write_pdparams(state: Dict[str, Any], path: Path, metadata: Optional[Dict[str, Any]] = None) -> None:
    """Writes a (nested) dict of arrays and plain values, as ``paddle.load`` reads it, with metadata and a checksum."""
    paddle.save(state, str(path))
    with path.open("ab") as file:
        if metadata is not None:
            file.write(METADATA + json.dumps(metadata).encode())
            file.flush()
        file.write(CHECKSUM + sha256(path).encode())


def _read_pdparams(file: BinaryIO, size: int) -> Tuple[Any, Optional[Dict[str, Any]]]:
    state = read_pickle(file, size)
    end = file.tell()
    rest = file.read()
    if not rest:  # others' files have nothing there
        return state, None
    marker = rest.rfind(CHECKSUM)
    file.seek(0)
    if marker < 0 or rest[marker + len(CHECKSUM) :] != sha256_of(file, end + marker).encode():
        raise ValueError("its checksum does not match")
    other, found, metadata = rest[:marker].partition(METADATA)
    if other:
        raise ValueError("something else than metadata comes after the weights")
    return state, _metadata(metadata) if found else None


def _read_safetensors(path: Path) -> Tuple[Dict[str, Any], Optional[Dict[str, Any]]]:
    from safetensors import safe_open

    with safe_open(str(path), "np") as opened:
        state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - it is no dict
        metadata = (opened.metadata() or {}).get(KEY)
    return state, None if metadata is None else _metadata(metadata)


def _metadata(text: Union[str, bytes]) -> Dict[str, Any]:
    metadata = json.loads(text)
    if not isinstance(metadata, dict) or not are_labels(metadata.get("labels")):
        raise ValueError("its metadata has no list of labels")
    return metadata


def load_weights(network: nn.Layer, path: Path) -> None:
    """Loads a ``.pdparams`` or ``.safetensors`` file into a network, all of it or nothing.

    Raises:
        UserError: the file can't be read, or its tensors don't fit the network; it names those that don't.
    """
    fit_weights(network, load_state(path), str(path))


def fit_weights(network: nn.Layer, weights: Dict[str, Any], source: str) -> None:
    """``load_weights`` for weights that are at hand; ``source`` names them in the error."""
    own = network.state_dict()
    others = [key for key, value in weights.items() if key not in own and not _is_array(value)]
    if others:
        log_info(f"{source} also holds {shortened(others, 5)}, which are no weights and are left out")
    weights = {key: value for key, value in weights.items() if key not in others}
    misfits = [f"{key} is missing" for key in own if key not in weights]
    misfits += [f"{key} is not the network's" for key in weights if key not in own]
    misfits += [f"{key} {reason}" for key in own if key in weights and (reason := _misfit(weights[key], own[key]))]
    if misfits:
        raise UserError(f"{source} does not fit the network: {shortened(misfits, 5, '; ')}")
    network.set_state_dict({key: _like(value, own[key]) for key, value in weights.items()})


def fit_part(network: nn.Layer, weights: Dict[str, Any]) -> Dict[str, str]:
    """Loads those arrays that fit; returns for each of the others by its name why it does not."""
    own = network.state_dict()
    reasons = {key: _misfit(value, own[key]) if key in own else "no such name" for key, value in weights.items()}
    fitting = {key: _like(value, own[key]) for key, value in weights.items() if not reasons[key]}
    network.set_state_dict({**own, **fitting})
    return {key: reason for key, reason in reasons.items() if reason}


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic, paddle.Tensor))


def _misfit(value: Any, tensor: paddle.Tensor) -> str:
    if not _is_array(value):
        return f"is a {type(value).__name__}, not an array"
    if list(value.shape) != list(tensor.shape):
        return f"has shape {list(value.shape)} instead of {list(tensor.shape)}"
    if _is_float(value) != paddle.is_floating_point(tensor):
        given, wanted = (str(dtype).rsplit(".", maxsplit=1)[-1] for dtype in (value.dtype, tensor.dtype))
        return f"holds {given} instead of {wanted}"
    return ""


def _is_float(value: Any) -> bool:
    if isinstance(value, paddle.Tensor):
        return paddle.is_floating_point(value)
    return value.dtype.kind == "f" or value.dtype == np.uint16  # in which Paddle keeps bfloat16


def _like(value: Any, tensor: paddle.Tensor) -> Any:
    """In the type of the network's own: weights of mixed precision are saved in float32."""
    given = value if isinstance(value, paddle.Tensor) else paddle.to_tensor(value)
    return value if given.dtype == tensor.dtype else given.astype(tensor.dtype)
