"""Configs: YAML files that may build on others (``_BASE_``), overrides from the command line, and their schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import UserError
from .registry import did_you_mean


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class NamedConfig(BaseModel):
    """The name of a registered builder; every other key is an option of its."""

    model_config = ConfigDict(extra="allow")
    name: str

    def options(self) -> Dict[str, Any]:
        return dict(self.model_extra or {})


class OptimizerConfig(_Section):
    """AdamW with a one-cycle learning rate: from a 25th up to the given rate in a quarter of the steps, then to 0."""

    learning_rate: float = Field(2e-3, gt=0, le=10)
    weight_decay: float = Field(0.01, ge=0, le=1)


class Config(_Section):
    """A training run, whole.

    ``task`` decides what ``model`` and ``data`` must provide. ``output_dir`` is by default ``output/<config name>``.
    """

    task: NamedConfig
    model: NamedConfig
    data: NamedConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    epochs: int = Field(12, ge=1, strict=True)
    batch_size: int = Field(32, ge=1, strict=True)
    seed: int = Field(0, ge=0, lt=2**31, strict=True)
    output_dir: Optional[str] = None

    def dump(self) -> str:
        """The config as YAML text that ``load_config`` reads back to the same config."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


def load_config(path: Path, overrides: List[str]) -> Config:
    """The config in a file, with ``key.sub=value`` overrides on top.

    Raises:
        UserError: a file that is missing or no YAML, an unknown key, a value of the wrong type or out of range.
    """
    tree = _read_with_bases(path, ())
    for override in overrides:
        _override(tree, override)
    tree["output_dir"] = tree.get("output_dir") or str(Path("output") / path.stem)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(_explain(item) for item in error.errors())) from error


def _read_with_bases(path: Path, below: Tuple[Path, ...]) -> Dict[str, Any]:
    path = path.resolve() if below else path
    if path in below:
        raise UserError(f"{path}: _BASE_ leads back to the file itself")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no config file {path}") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} takes 'key: value' lines, got {type(tree).__name__}")
    base = tree.pop("_BASE_", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise UserError(f"{path}: _BASE_ takes the path of a config, got {base!r}")
    return _merged(_read_with_bases(path.parent / base, (*below, path.resolve())), tree)


def _merged(base: Any, above: Dict[str, Any]) -> Dict[str, Any]:
    merged = dict(base)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if _extends(old, value) else value
    return merged


def _extends(old: Any, value: Any) -> bool:
    """Whether both are sections, and of the same builder: another one has other options, and keeps none of these."""
    both = isinstance(old, dict) and isinstance(value, dict)
    return both and value.get("name", old.get("name")) == old.get("name")


def _override(tree: Dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"an override takes the form key.sub=value, got {override!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"the value of the override {override!r} is no YAML: {error}") from error
    *sections, last = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UserError(f"the override {override!r} goes into {section!r}, which is a value, not a section")
    tree[last] = value


def _explain(error: Any) -> str:
    """One pydantic error, in the words of a config's author."""
    *sections, key = [str(part) for part in error["loc"]]
    where = ".".join([*sections, key])
    if error["type"] == "missing":
        return f"the key {where!r} is missing"
    if error["type"] == "extra_forbidden":
        schema: Any = Config
        for section in sections:
            schema = schema.model_fields[section].annotation
        known = list(schema.model_fields)
        return f"there is no key {where!r}{did_you_mean(key, known)} The keys here are {', '.join(known)}"
    return f"{where}: {error['msg']}, got {error['input']!r}"
