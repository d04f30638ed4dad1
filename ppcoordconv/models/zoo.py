"""Weights that come with the package: a file for each model that has some, and their table, ``zoo.json``.

A row tells the config that a model was trained with, its options then, and the record of that run: seed, figures at the
last epoch, history, versions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict

from ..utils.errors import UserError
from ..utils.registry import options_of

TABLE = Path(__file__).with_name("zoo.json")


def rows() -> Dict[str, Dict[str, Any]]:
    """The table, by the models' names."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def weights_path(name: str) -> Path:
    """Where the weights of that model are."""
    return TABLE.parent / "weights" / f"{name}.pdparams"


def pretrained_options(name: str, builder: Callable[..., Any], given: Dict[str, Any]) -> Dict[str, Any]:
    """The options of the weights of a model, where those that are given are no others.

    Raises:
        UserError: there are no weights of that model, or they were trained with other options.
    """
    table = rows()
    if name not in table:
        raise UserError(f"there are no weights of the model {name!r}; there are those of {', '.join(table)}")
    options = table[name]["options"]
    defaults = {key: parameter.default for key, parameter in options_of(builder).items()}
    trained = {**defaults, **options}
    for key, value in given.items():
        if key in trained and _as_lists(value) != trained[key]:
            raise UserError(
                f"the weights of the model {name!r} are for {key}={trained[key]!r}, got {key}={value!r}; "
                "leave the option out, or pretrained"
            )
    return {**options, **given}


def _as_lists(value: Any) -> Any:
    """As JSON has it."""
    return [_as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value
