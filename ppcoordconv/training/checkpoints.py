"""Weights and training states on disk, written whole or not at all; ``weights.py`` reads them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional

import paddle
from paddle import nn

from ..utils.errors import UserError
from ..utils.files import atomic_write
from ..utils.progress import log_info
from ..utils.weights import load_state, write_pdparams


def save_state(state: Dict[str, Any], path: Path, keep: int = 1, metadata: Optional[Dict[str, Any]] = None) -> None:
    """Writes a (nested) dict of tensors, arrays and plain values, whole or not at all, with metadata of plain values.

    Of the files that were there before, the newest ``keep - 1`` become ``name.1.ending``, ``name.2.ending``, ...
    """
    with atomic_write(path) as temporary:
        write_pdparams(_as_arrays(state), temporary, metadata)
        for number in range(keep - 1, 0, -1):
            newer = rotated_path(path, number - 1)
            if newer.exists():
                with atomic_write(rotated_path(path, number)) as copy:
                    shutil.copyfile(newer, copy)


def rotated_path(path: Path, number: int) -> Path:
    """Where the state is that was the newest ``number`` states ago."""
    return path.with_suffix(f".{number}{path.suffix}") if number else path


def rotated_paths(path: Path) -> List[Path]:
    """Where states may be, from the newest."""
    return [rotated_path(path, number) for number in range(100)]


def latest_valid(path: Path) -> Optional[Path]:
    """The newest of the states that ``save_state`` kept at ``path`` that is whole; None where there is none at all.

    Raises:
        UserError: all there are are damaged; it names them.
    """
    damaged = []
    for candidate in rotated_paths(path):
        if not candidate.exists():
            continue
        try:
            load_state(candidate)
        except UserError as error:
            damaged.append(str(error))
            continue
        for message in damaged:
            log_info(f"{message}; taking {candidate}")
        return candidate
    if damaged:
        raise UserError("all saved states are damaged: " + "; ".join(damaged))
    return None


def optimizer_state(optimizer: Any, network: nn.Layer) -> Dict[str, Any]:
    """An optimizer's state by the network's own names for its parameters, which every process gives alike."""
    return _renamed(optimizer.state_dict(), {p.name: key for key, p in network.named_parameters()})


def set_optimizer_state(optimizer: Any, network: nn.Layer, state: Dict[str, Any]) -> None:
    """Puts back what ``optimizer_state`` gave."""
    optimizer.set_state_dict(_renamed(state, {key: p.name for key, p in network.named_parameters()}))


def _renamed(state: Dict[str, Any], names: Dict[str, str]) -> Dict[str, Any]:
    """Replaces a parameter's name at the start of a key; the longest that fits is the right one."""
    state = dict(state)
    master = state.pop("master_weights", {})
    longest_first = sorted(names, key=len, reverse=True)
    renamed = {}
    for key, value in state.items():
        old = next((name for name in longest_first if key.startswith(name + "_")), "")
        renamed[names.get(old, "") + key[len(old) :]] = value
    if master:
        renamed["master_weights"] = {names[name]: value for name, value in master.items()}
    return renamed


def _as_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_arrays(item) for key, item in value.items()}
    return value.numpy() if isinstance(value, paddle.Tensor) else value
