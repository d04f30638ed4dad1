"""Configs: YAML files that may build on others (``_BASE_``), overrides from the command line, and their schema."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Literal, Optional, Tuple, Union, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from typing_extensions import Annotated

from .utils.errors import MissingFileError, UserError, shortened_repr
from .utils.files import open_regular
from .utils.registry import did_you_mean
from .utils.yaml_files import parse_yaml

# The configs that come with the package: inside it where it is installed, beside it in a checkout.
_HERE = Path(__file__).resolve().parent
CONFIGS = _HERE / "configs" if (_HERE / "configs").exists() else _HERE.parent / "configs"


# Of ``export``, what is no option of the task.
EXPORT_OPTIONS = ("window", "int8")
# Counts beyond this are mistakes, and overflow what computes with them.
_MOST = 10**9
# In float32, 1 - 0.9999999 has one digit left.
_LARGEST_DECAY = 0.999999


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class NamedConfig(BaseModel):
    """The name of a registered builder; every other key is an option of its."""

    model_config = ConfigDict(extra="allow")
    name: str

    def options(self) -> Dict[str, Any]:
        return dict(self.model_extra or {})


class _OptimizerConfig(_Section):
    """``weight_decay`` is L2 added to the gradients, ``w * weight_decay``; AdamW takes it off the weights themselves.

    ``no_decay_bias_norm``: parameters with one axis, as biases and the scales of norms, are not decayed.
    ``rates``: by pattern, what the learning rate of the parameters is multiplied by that it fits, or of the layers; of
    several that fit, the last counts.
    """

    learning_rate: float = Field(2e-3, gt=0, le=10)
    weight_decay: float = Field(0.0, ge=0, le=1)
    no_decay_bias_norm: bool = Field(False, strict=True)
    rates: Dict[str, Annotated[float, Field(gt=0, le=1000)]] = {}


class SGDConfig(_OptimizerConfig):
    name: Literal["sgd"]


class MomentumConfig(_OptimizerConfig):
    name: Literal["momentum"]
    momentum: float = Field(0.9, ge=0, le=_LARGEST_DECAY)


class AdamConfig(_OptimizerConfig):
    name: Literal["adam"]
    beta1: float = Field(0.9, ge=0, le=_LARGEST_DECAY)
    beta2: float = Field(0.999, ge=0, le=_LARGEST_DECAY)


class AdamWConfig(_OptimizerConfig):
    name: Literal["adamw"] = "adamw"
    weight_decay: float = Field(0.01, ge=0, le=1)
    beta1: float = Field(0.9, ge=0, le=_LARGEST_DECAY)
    beta2: float = Field(0.999, ge=0, le=_LARGEST_DECAY)


class _ScheduleConfig(_Section):
    """``warmup_steps``: the rate rises from 0 over so many steps first."""

    warmup_steps: int = Field(0, ge=0, le=_MOST, strict=True)


class ConstantConfig(_ScheduleConfig):
    name: Literal["constant"]


class StepConfig(_ScheduleConfig):
    """At each of ``milestones``, in epochs, the rate is multiplied by ``factor``."""

    name: Literal["step"]
    milestones: List[int] = Field(min_length=1)
    factor: float = Field(0.1, gt=0, lt=1)

    @field_validator("milestones")
    @classmethod
    def _rise(cls, milestones: List[int]) -> List[int]:
        if milestones != sorted(set(milestones)) or milestones[0] < 1:
            raise ValueError("takes rising epochs, the first at least 1")
        return milestones


class CosineConfig(_ScheduleConfig):
    """Half a cosine, from the rate down to 0."""

    name: Literal["cosine"]


class OneCycleConfig(_Section):
    """From a 25th of the rate up to it in the first ``pct_start`` part of the steps, then down to 0."""

    name: Literal["one_cycle"] = "one_cycle"
    pct_start: float = Field(0.25, gt=0, lt=1)


Optimizer = Annotated[Union[SGDConfig, MomentumConfig, AdamConfig, AdamWConfig], Field(discriminator="name")]
Schedule = Annotated[Union[ConstantConfig, StepConfig, CosineConfig, OneCycleConfig], Field(discriminator="name")]


class Config(_Section):
    """A training run, whole.

    ``task`` decides what ``model`` and ``data`` must provide. ``output_dir`` is by default ``output/<config name>``.

    - ``export``: ``window``: true: an exported model takes the place of each input in a whole image, too; ``int8``: N:
      it is computed in 8-bit numbers, whose ranges are measured on N training samples; and options of the task that
      concern its exported form alone.
    - ``batch_size``: samples of one step, over all processes; ``accumulate_steps``: computed in so many parts.
    - ``seed``: one, or a list, for which training runs are made one after another.
    - ``epochs``, ``max_steps``, ``max_minutes``: training ends at the first that is reached; minutes are those of the
      steps, without evaluation. ``patience``: or after so many epochs in which the task's metric did not improve.
    - ``gradient_clip``: the most that the norm of all gradients together may be.
    - ``ema``: the decay of a moving average of the weights, which is then what is evaluated and served.
    - ``amp``: mixed precision on GPUs, in float16: "O1" by operator, "O2" throughout.
    - ``workers``: who prepares the next batches; 1: a thread, which starts at once; more: so many processes.
    - ``max_checkpoints``: how many states a resume may choose from. ``save_steps``: a state is written after so many
      steps too, not at the end of an epoch alone.
    """

    task: NamedConfig
    model: NamedConfig
    data: NamedConfig
    export: Dict[str, Any] = {}
    optimizer: Optimizer = AdamWConfig()
    schedule: Schedule = OneCycleConfig()
    epochs: int = Field(12, ge=1, le=_MOST, strict=True)
    max_steps: Optional[int] = Field(None, ge=1, le=_MOST, strict=True)
    max_minutes: Optional[float] = Field(None, gt=0)
    patience: Optional[int] = Field(None, ge=1, le=_MOST, strict=True)
    batch_size: int = Field(32, ge=1, le=_MOST, strict=True)
    accumulate_steps: int = Field(1, ge=1, le=_MOST, strict=True)
    gradient_clip: Optional[float] = Field(None, gt=0)
    ema: Optional[float] = Field(None, gt=0, lt=1)
    amp: Literal["O0", "O1", "O2"] = "O0"
    workers: int = Field(1, ge=1, le=64, strict=True)
    max_checkpoints: int = Field(2, ge=1, le=100, strict=True)
    save_steps: Optional[int] = Field(None, ge=1, le=_MOST, strict=True)
    seed: Union[int, List[int]] = 0
    output_dir: Optional[str] = None

    @field_validator("accumulate_steps")
    @classmethod
    def _at_most_the_batch(cls, parts: int, info: ValidationInfo) -> int:
        if parts > info.data.get("batch_size", parts):
            raise ValueError(f"takes at most batch_size={info.data['batch_size']}, a sample a part")
        return parts

    @field_validator("seed", mode="plain")
    @classmethod
    def _check_seed(cls, seed: Any) -> Union[int, List[int]]:
        seeds = seed if isinstance(seed, list) else [seed]
        if not seeds or not all(type(n) is int and 0 <= n < 2**31 for n in seeds) or len(set(seeds)) < len(seeds):
            raise ValueError("takes a whole number from 0 to 2^31 - 1, or a list of different ones")
        return seed

    @property
    def output(self) -> Path:
        """Where the run writes."""
        return Path(self.output_dir or "output")

    def without_weights(self) -> Config:
        """For a network that is to get weights of its own: the file of ``model.weights`` need not be there any more."""
        options = {key: value for key, value in self.model.options().items() if key != "weights"}
        return self.model_copy(update={"model": NamedConfig(name=self.model.name, **options)})

    def dump(self) -> str:
        """The config as YAML text that ``load_config`` reads back to the same config."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)


def load_config(path: Path, overrides: List[str]) -> Config:
    """The config in a file, with ``key.sub=value`` overrides on top.

    Where there is no file ``configs/...``, it is looked up among those that come with the package.

    Raises:
        UserError: a file that is missing or no YAML, an unknown key, a value of the wrong type or out of range.
    """
    tree = _read_with_bases(path, ())
    for override in overrides:
        _override(tree, override)
    tree["output_dir"] = tree.get("output_dir") or str(Path("output") / path.stem)
    return config_of(tree, f"{path}: ")


def config_of(tree: Dict[str, Any], source: str = "") -> Config:
    """The config of such keys; a UserError, which begins with ``source``, tells what is wrong with them."""
    for section in ("optimizer", "schedule"):
        if isinstance(values := tree.setdefault(section, {}), dict):
            tree[section] = {"name": Config.model_fields[section].default.name, **values}
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(source + "; ".join(_explain(item) for item in error.errors())) from error


def _read_with_bases(path: Path, below: Tuple[Path, ...]) -> Dict[str, Any]:
    path = Path(os.path.realpath(path)) if below else path
    if path in below:
        raise UserError(f"{path}: _BASE_ leads back to the file itself")
    try:
        with open_regular(path) as file:
            tree = parse_yaml(file.read().decode("utf-8"))
    except MissingFileError:
        own = CONFIGS.parent / path
        if not below and own != path and own.is_relative_to(CONFIGS) and own.exists():
            return _read_with_bases(own, ())
        names = sorted(str(file.relative_to(CONFIGS.parent)) for file in CONFIGS.glob("*/[!_]*.yml"))
        near = did_you_mean(str(path), names)
        all_names = f" With the package come {', '.join(names)}" if near == "." else ""
        raise UserError(f"there is no config file {path}{near}{all_names}") from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} takes 'key: value' lines, got {type(tree).__name__}")
    base = tree.pop("_BASE_", None)
    if base is None:
        return tree
    if not isinstance(base, str) or not base or "\0" in base:
        raise UserError(f"{path}: _BASE_ takes the path of a config, got {shortened_repr(base)}")
    return _merged(_read_with_bases(path.parent / base, (*below, Path(os.path.realpath(path)))), tree)


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
        value = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"the value of the override {override!r} is not valid YAML: {error}") from error
    *sections, last = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise UserError(f"the override {override!r} goes into {section!r}, which is a value, not a section")
    tree[last] = value


def _explain(error: Any) -> str:
    """One pydantic error, in the words of a config's author."""
    # A section that has a name has it in the path of the error too, and one of several types that of the type.
    path = [str(part) for part in error["loc"]]
    has_name = path[0] in ("optimizer", "schedule") and len(path) > 1
    where = ".".join([path[0], *path[2:]] if has_name else path)
    if error["type"] == "missing":
        return f"the key {where!r} is missing"
    if error["type"] == "union_tag_not_found":
        return f"the key '{where}.name' is missing; it takes one of {error['ctx']['discriminator']}"
    if error["type"] == "union_tag_invalid":
        return f"{where}.name takes one of {error['ctx']['expected_tags']}, got {error['ctx']['tag']!r}"
    if error["type"] == "extra_forbidden":
        known = _keys_beside(path)
        return f"there is no key {where!r}{did_you_mean(path[-1], known)} The keys here are {', '.join(known)}"
    message = error["msg"].replace("Value error, ", "")
    return f"{where}: {message}, got {shortened_repr(error['input'])}"


def _keys_beside(path: List[str]) -> List[str]:
    if len(path) == 1:
        return list(Config.model_fields)
    kinds = {
        get_args(kind.model_fields["name"].annotation)[0]: kind
        for kind in get_args(Config.model_fields[path[0]].annotation)
    }
    return list(kinds[path[1]].model_fields)
