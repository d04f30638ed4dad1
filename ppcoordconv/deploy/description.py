"""``inference.yml``: what serving a model needs to know. It is JSON, which is YAML too, so that it takes no package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Callable, Dict

from ..utils.errors import ArgumentError, MissingFileError, UserError, shortened_repr
from ..utils.files import open_regular, sha256
from ..utils.labels import are_labels

DESCRIPTION = "inference.yml"
# Of a model's inputs.
DTYPES = ("float32", "int32", "int64", "bool")


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_shape(value: Any) -> bool:
    sides = value if isinstance(value, list) else []
    return bool(sides) and all(side is None or (type(side) is int and 0 < side < 2**31) for side in sides)


def _is_input(value: Any) -> bool:
    keys = ("name", "shape", "dtype")
    name, shape, dtype = (value.get(key) for key in keys) if isinstance(value, dict) else (None,) * 3
    return isinstance(name, str) and dtype in DTYPES and (shape == [] or _is_shape(shape))


def _is_score(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_edge(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(n) is int and 0 <= n < 2**16 for n in value)


def _is_one_of(*choices: str) -> Callable[[Any], bool]:
    return lambda value: value in choices


# By key, the test of its value; those of "checked" follow.
_KEYS: Dict[str, Callable[[Any], bool]] = {
    "model_file": _is_one_of("inference.json", "inference.pdmodel", "inference.onnx"),
    "files": lambda value: isinstance(value, dict) and _is_list_of_texts([*value, *value.values()]),
    "input_shape": _is_shape,
    "precision": _is_one_of("fp32", "fp16", "bf16", "int8"),
    "window": lambda value: isinstance(value, bool),
    "inputs": lambda value: isinstance(value, list) and bool(value) and all(map(_is_input, value)),
    "outputs": lambda value: type(value) is int and 0 < value < 2**16,
    "served_form": lambda value: value is None or isinstance(value, str),
    "preprocess": lambda value: isinstance(value, dict),
    "labels": are_labels,
    "score_threshold": lambda value: value is None or _is_score(value),
    "edges": lambda value: isinstance(value, list) and all(map(_is_edge, value)),
    "checked": lambda value: isinstance(value, dict),
}
_CHECKED: Dict[str, type] = {"paddle": str, "onednn": bool, "bf16": bool}


def write_description(folder: Path, description: Dict[str, Any]) -> None:
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
    # In YAML 1.1, which PyYAML reads, 1e-05 is a text and 1.0e-05 a number.
    text = re.sub(r"^(.*[ :]-?\d)(e[-+]\d+,?)$", r"\1.0\2", text, flags=re.MULTILINE)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def read_description(folder: Path) -> Dict[str, Any]:
    """The description, after a look at the files it names.

    Raises:
        UserError: it or one of the files is missing or damaged.
    """
    if not folder.is_dir():
        raise ArgumentError("model_dir", f"takes a folder that export wrote; there is no folder {folder}")
    path = folder / DESCRIPTION
    try:
        with open_regular(path) as file:
            description = _parsed(file.read().decode("utf-8"), path)
        _check(description)
    except MissingFileError:
        raise UserError(f"{folder} lacks {DESCRIPTION}; it is not a folder that export wrote") from None
    except UserError:
        raise
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged, export again: {error}") from error
    for name, checksum in description["files"].items():
        if not (folder / name).is_file():
            raise UserError(f"{folder} lacks {name}; export again")
        if sha256(folder / name) != checksum:
            raise UserError(f"{folder / name} is not the file that was exported but damaged or replaced; export again")
    return description


def _parsed(text: str, path: Path) -> Any:
    if text.startswith("{") or not text:
        return json.loads(text)
    # Whoever edits a file of that name may well write YAML.
    try:
        from ..utils.yaml_files import parse_yaml
    except ModuleNotFoundError:
        raise UserError(
            f"{path} is YAML, and PyYAML is not installed: export again, which writes JSON, or pip install PyYAML"
        ) from None
    return parse_yaml(text)


def _check(description: Any) -> None:
    """Raises ValueError for what serving would stumble over."""
    if not isinstance(description, dict):
        raise ValueError(f"it holds a {type(description).__name__}")
    description.setdefault("precision", "fp32")  # which earlier exports did not say
    description.setdefault("window", False)
    description.setdefault("outputs", 1)
    description.setdefault("score_threshold", None)
    description.setdefault("edges", [])
    only = {"name": "x", "shape": description.get("input_shape"), "dtype": "float32"}
    description.setdefault("inputs", [only])
    for key, is_right in _KEYS.items():
        if key not in description or not is_right(description[key]):
            raise ValueError(f"{key} is {shortened_repr(description.get(key))}")
    for key, kind in _CHECKED.items():
        if not isinstance(description["checked"].get(key), kind):
            raise ValueError(f"checked.{key} is {shortened_repr(description['checked'].get(key))}")
    if description["inputs"][0]["shape"] != description["input_shape"]:
        raise ValueError("input_shape is not that of the first of inputs")
    if any(number >= len(description["labels"]) for edge in description["edges"] for number in edge):
        raise ValueError(f"edges name points beyond the {len(description['labels'])} labels")
    model = description["model_file"]
    needed = {model} if model.endswith(".onnx") else {model, "inference.pdiparams"}
    if set(description["files"]) != needed:
        raise ValueError(f"files names {sorted(description['files'])}, and {model} needs {sorted(needed)}")
