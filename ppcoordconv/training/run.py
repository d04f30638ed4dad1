"""A training run at one moment, and the state that brings it back."""

from __future__ import annotations

import contextlib
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, ClassVar, ContextManager, Dict, List

import numpy as np
import paddle

from ..config import Config
from ..utils.errors import UserError, shortened, shortened_repr
from ..utils.progress import log_info
from ..utils.weights import fit_weights, load_state
from . import checkpoints, dist
from .optimizers import MovingAverage, build_optimizer, build_schedule

if TYPE_CHECKING:
    from ..tasks import Samples, Task

# What a resume can't change, by the beginning of the key.
FIXED = ("task.", "model.", "data.", "optimizer.name", "seed")
# What an epoch of the history has beside its metrics.
BESIDE_METRICS = ("epoch", "train_loss", "loss", "seconds")
# A run has diverged once the loss, as a moving average over some ten steps, is so many times that of its first step,
# or the norm of its weights so many times what it was then.
DIVERGED, DIVERGED_NORM = 10, 1000


class Run:
    """What is trained, and how far it has come. Its state is all that a resume needs.

    All that is random is drawn from the seed, the epoch and the position in it, so that the state holds no generator.
    """

    # Of the state, what is plain values, and the test of each.
    _PLAIN: ClassVar[Dict[str, Callable[[Any], bool]]] = {
        "history": lambda value: isinstance(value, list) and all(isinstance(entry, dict) for entry in value),
        "epoch": lambda value: _is_count(value) and value > 0,
        "position": lambda value: _is_count(value),
        "step": lambda value: _is_count(value),
        "loss_total": lambda value: _is_number(value),
        "seconds": lambda value: _is_number(value),
        "rate": lambda value: _is_number(value),
        "first_loss": lambda value: _is_number(value),
        "first_norm": lambda value: _is_number(value),
        "recent_loss": lambda value: _is_number(value),
        "measured_step": lambda value: _is_count(value),
        "partial": lambda value: isinstance(value, dict),
        "best": lambda value: isinstance(value, dict),
    }

    def __init__(self, task: Task, config: Config) -> None:
        if not isinstance(config.seed, int):
            raise UserError(f"a run takes one seed, got seed={config.seed}; train_seeds takes several")
        self.task = task
        self.config = config
        self.seed = config.seed
        samples = task.train_samples(0)
        self.size = len(samples)
        self.fingerprint = _fingerprint(samples)
        self.epoch_steps = math.ceil(self.size / config.batch_size)
        self.total_steps = min(config.epochs * self.epoch_steps, config.max_steps or math.inf)
        self.schedule = build_schedule(config, self.epoch_steps, int(self.total_steps))
        self.optimizer = build_optimizer(config, task.network, self.schedule)
        on_gpu = paddle.device.get_device().startswith("gpu")
        self.amp = config.amp if on_gpu else "O0"
        network = task.network
        if on_gpu and dist.count() > 1:
            network = dist.with_synchronised_norms(network)
        if self.amp == "O2":
            network, self.optimizer = paddle.amp.decorate(
                network, self.optimizer, level="O2", dtype="float16", save_dtype="float32"
            )
        self.scaler = paddle.amp.GradScaler(enable=self.amp != "O0", init_loss_scaling=2.0**16)
        self.network = paddle.DataParallel(network) if dist.count() > 1 else network
        self.average = MovingAverage(task.network, config.ema) if config.ema else None
        self.history: List[Dict[str, Any]] = []
        self.epoch = 1
        self.position = 0  # samples of the epoch that are done
        self.step = 0
        self.loss_total = 0.0  # of those samples
        self.seconds = 0.0  # of the steps; evaluation is not counted
        self.started = 0.0  # where a clock of those seconds is at 0
        self.rate = 0.0  # of the last step
        self.first_loss = 0.0  # of the first step
        self.first_norm = self.weights_norm()
        self.recent_loss = 0.0  # of the last ones, smoothed
        self.measured_step = 0  # after which the last evaluation was
        self.partial: Dict[str, Any] = {}  # what that found, if it was within an epoch
        self.best: Dict[str, Any] = {}  # of all evaluations, within epochs too

    def precision(self) -> ContextManager[Any]:
        """What the network is called in, in training and in evaluation."""
        on = self.amp != "O0"
        return paddle.amp.auto_cast(on, level=self.amp if on else "O1", dtype="float16")

    def note_loss(self, loss: float) -> None:
        if self.step == 0:
            self.first_loss = self.recent_loss = loss
        self.recent_loss = 0.9 * self.recent_loss + 0.1 * loss

    def why_diverged(self) -> str:
        """Why its weights are of no use; "" as long as they are."""
        norm = self.weights_norm()
        if not math.isfinite(norm) or not self.has_finite_weights():
            return "weights became infinite or nan"
        if norm > DIVERGED_NORM * max(1, self.first_norm):
            return f"the norm of the weights rose from {self.first_norm:.3g} to {norm:.3g}"
        if 0 < DIVERGED * self.first_loss < self.recent_loss:
            return f"the loss rose from {self.first_loss:.3g} to {self.recent_loss:.3g}"
        return ""

    def weights_norm(self) -> float:
        trained = [p for p in self.task.network.parameters() if not p.stop_gradient]
        # Not ** 2, which is a power of each number, and takes ten times as long.
        return math.sqrt(sum(float(paddle.square(p.detach().astype("float64")).sum()) for p in trained))

    def has_finite_weights(self) -> bool:
        return all(bool(paddle.isfinite(p).all()) for p in self.task.network.parameters())

    def state(self) -> Dict[str, Any]:
        return {
            "config": self.config.model_dump(),
            "fingerprint": self.fingerprint,
            "size": self.size,
            "network": self.task.network.state_dict(),
            "average": self.average.state() if self.average else {},
            "optimizer": checkpoints.optimizer_state(self.optimizer, self.task.network),
            "scaler": self.scaler.state_dict(),
            **{name: getattr(self, name) for name in self._PLAIN},
        }

    def restore(self, path: Path, anyway: bool = False) -> None:
        """Goes on from a state, with the config of this run.

        Parameters:
            anyway: also where it was written with settings that a resume can't change.
        """
        state = load_state(path)
        try:
            self._check_state(state)
            self._restore(state, path, anyway)
        except UserError:
            raise
        except Exception as error:  # a damaged state can raise anything
            raise UserError(f"{path} is not a state to resume from: {error}; take a last.pdopt") from error

    def _check_state(self, state: Dict[str, Any]) -> None:
        """Raises ValueError where it lacks something, or a plain value is none that a run has."""
        if missing := set(self.state()) - set(state):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        for name, is_right in self._PLAIN.items():
            if not is_right(state[name]):
                raise ValueError(f"{name} is {shortened_repr(state[name])}")
        if not _is_count(state["size"]) or state["position"] > state["size"]:
            raise ValueError(f"position is {state['position']} of {shortened_repr(state['size'])} samples")
        for entry in (*state["history"], *filter(None, [state["partial"], state["best"]])):
            metrics = [name for name in entry if name not in BESIDE_METRICS]
            if metrics and "epoch" in entry and self.task.metric not in metrics:
                raise UserError(
                    f"the run to go on from has measured {shortened(metrics, 5)}, and not {self.task.metric!r}, by "
                    "which the best weights are to be chosen; resume with the metrics that it had"
                )
            if not _is_number(entry.get(self.task.metric)) or not _is_count(entry.get("epoch")):
                raise ValueError(f"an epoch of its history is {shortened_repr(entry)}")

    def _restore(self, state: Dict[str, Any], path: Path, anyway: bool) -> None:
        before, now = _flat(state["config"]), _flat(self.config.model_dump())
        changed = [key for key in sorted({*before, *now}) if key.startswith(FIXED) and before.get(key) != now.get(key)]
        if changed and not anyway:
            differences = [
                f"{key} was {shortened_repr(before.get(key))} and is {shortened_repr(now.get(key))}" for key in changed
            ]
            raise UserError(
                f"{path} was written with other settings: {shortened(differences, 5, '; ')}; resume with those, or "
                "with resume_anyway"
            )
        others = [key for key in sorted({*before, *now}) if key not in changed and before.get(key) != now.get(key)]
        if others:
            log_info(f"with other settings than before: {shortened(others, 8)}")
        fit_weights(self.task.network, state["network"], str(path))
        for name in self._PLAIN:
            setattr(self, name, state[name])
        if state["fingerprint"] != self.fingerprint:
            words = f"{state['size']} samples then, {self.size} now" if state["size"] != self.size else "other content"
            log_info(
                f"the training data are not those that {path} was written with: {words}; if they were split anew, some "
                "that are held out now have been trained on"
            )
            part = min(1.0, self.size / max(1, self.position))
            self.position, self.loss_total = int(self.position * part), self.loss_total * part
        # The schedule is the config's, at the place that the run has come to.
        steps = (self.epoch - 1) * self.epoch_steps + math.ceil(self.position / self.config.batch_size)
        if self.total_steps == self.config.max_steps:
            steps = self.step
        for _ in range(min(steps, int(self.total_steps))):
            self.schedule.step()
        if "optimizer.name" not in changed:
            optimizer = {**state["optimizer"], "LR_Scheduler": self.schedule.state_dict()}
            checkpoints.set_optimizer_state(self.optimizer, self.task.network, optimizer)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.set_state(state["average"] or {k: v.numpy() for k, v in self.task.network.named_parameters()})

    def step_schedule(self) -> None:
        # After a resume with another batch size there may be a step more than the schedule has.
        if self.schedule.last_epoch < self.total_steps:
            self.schedule.step()

    def averaged_weights(self) -> ContextManager[None]:
        """In here the network has the weights that are evaluated and served."""
        return self.average.average_parameters() if self.average else contextlib.nullcontext()


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < math.inf


def _flat(tree: Dict[str, Any], above: str = "") -> Dict[str, Any]:
    """The values of a tree by their keys, as "optimizer.name"."""
    values: Dict[str, Any] = {}
    for key, value in tree.items():
        values.update(_flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value})
    return values


def _fingerprint(samples: Samples) -> str:
    """Of how many samples there are, and of some of them."""
    found = hashlib.sha256(str(len(samples)).encode())
    for index in np.linspace(0, len(samples) - 1, min(16, len(samples))).astype(int):
        for part in samples[int(index)]:
            found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()
