"""A training run at one moment, and the state that brings it back."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List

import paddle

from ..config import Config
from ..utils.errors import UserError
from ..utils.weights import fit_weights, load_state
from . import checkpoints, dist
from .optimizers import MovingAverage, build_optimizer, build_schedule

if TYPE_CHECKING:
    from ..tasks import Task


class Run:
    """What is trained, and how far it has come. Its state is all that a resume needs.

    All that is random is drawn from the seed, the epoch and the position in it, so that the state holds no generator.
    """

    def __init__(self, task: Task, config: Config) -> None:
        if not isinstance(config.seed, int):
            raise UserError(f"a run takes one seed, got seed={config.seed}; train_seeds takes several")
        self.task = task
        self.config = config
        self.seed = config.seed
        self.size = len(task.train_samples(0))
        epoch_steps = math.ceil(self.size / config.batch_size)
        self.total_steps = min(config.epochs * epoch_steps, config.max_steps or math.inf)
        self.schedule = build_schedule(config, epoch_steps, int(self.total_steps))
        self.optimizer = build_optimizer(config, task.network, self.schedule)
        on_gpu = paddle.device.get_device().startswith("gpu")
        self.amp = config.amp if on_gpu else "O0"
        network = task.network
        if on_gpu and dist.count() > 1:
            network = paddle.nn.SyncBatchNorm.convert_sync_batchnorm(network)
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
        self.seconds = 0.0
        self.rate = 0.0  # of the last step

    def precision(self) -> ContextManager[Any]:
        """What the network is called in, in training and in evaluation."""
        on = self.amp != "O0"
        return paddle.amp.auto_cast(on, level=self.amp if on else "O1", dtype="float16")

    def state(self) -> Dict[str, Any]:
        return {
            "network": self.task.network.state_dict(),
            "average": self.average.state() if self.average else {},
            "optimizer": checkpoints.optimizer_state(self.optimizer, self.task.network),
            "scaler": self.scaler.state_dict(),
            **{name: getattr(self, name) for name in self._PLAIN},
        }

    _PLAIN = ("history", "epoch", "position", "step", "loss_total", "seconds", "rate")

    def restore(self, path: Path) -> None:
        state = load_state(path)
        missing = {"network", "average", "optimizer", "scaler", *self._PLAIN} - set(state)
        if missing:
            lacks = ", ".join(sorted(missing))
            raise UserError(f"{path} is not a state to resume from: it lacks {lacks}; take a last.pdopt")
        fit_weights(self.task.network, state["network"], str(path))
        checkpoints.set_optimizer_state(self.optimizer, self.task.network, state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.set_state(state["average"] or {k: v.numpy() for k, v in self.task.network.named_parameters()})
        for name in self._PLAIN:
            setattr(self, name, state[name])

    def averaged_weights(self) -> ContextManager[None]:
        """In here the network has the weights that are evaluated and served."""
        return self.average.average_parameters() if self.average else contextlib.nullcontext()
