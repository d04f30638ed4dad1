"""The training loop, in plain functions: train, one epoch of it, evaluate."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
import paddle
from tqdm import tqdm
from visualdl import LogWriter

from ..config import Config
from ..errors import UserError
from ..files import move_aside, replacing
from ..progress import bar, say
from . import checkpoints

if TYPE_CHECKING:
    from ..tasks import Samples, Task


# What a run writes below its output_dir.
PRODUCTS = ("config.yml", "best.pdparams", "last.pdparams", "last.pdopt", "metrics.json", "vdl")


def train(task: Task, config: Config, resume: Optional[Path] = None) -> Dict[str, Any]:
    """Trains a task's network and writes ``config.output_dir``.

    Below it: ``config.yml``, ``best.pdparams``, ``last.pdparams``, ``last.pdopt`` (all that a resume needs),
    ``metrics.json``, and VisualDL's log in ``vdl/``. Those of an earlier run are moved into ``earlier.1/`` first.

    Parameters:
        resume: a ``last.pdopt``; training goes on after the epoch that wrote it.

    Returns:
        What ``metrics.json`` holds: "best" and "last" (the metrics and "epoch", from 1), "epochs", "seconds".

    Raises:
        UserError: the directory can't be written, the state to resume from doesn't fit, or the loss is not finite.
    """
    output = Path(config.output_dir or "output")
    started = time.monotonic()
    steps = math.ceil(len(task.train_samples(config.seed)) / config.batch_size)
    schedule = paddle.optimizer.lr.OneCycleLR(
        config.optimizer.learning_rate, max(2, config.epochs * steps), end_learning_rate=0.0, phase_pct=0.25
    )
    optimizer = paddle.optimizer.AdamW(
        schedule, parameters=task.network.parameters(), weight_decay=config.optimizer.weight_decay
    )
    history: List[Dict[str, Any]] = []
    if resume is not None:
        history = _restore(resume, task, optimizer)
        say(f"going on after epoch {len(history)} of {resume}")
    elif any((output / name).exists() for name in PRODUCTS):
        say(f"{output} holds an earlier run; it is now in {move_aside(output, PRODUCTS)}")
    before = history[-1]["seconds"] if history else 0.0
    with replacing(output / "config.yml") as path:
        path.write_text(config.dump(), encoding="utf-8")

    with LogWriter(logdir=str(output / "vdl")) as log, bar(config.epochs * steps, len(history) * steps) as progress:
        for epoch in range(len(history) + 1, config.epochs + 1):
            loss = _train_epoch(task, optimizer, schedule, config, epoch, progress)
            metrics, outputs = evaluate(task, config.batch_size)
            seconds = round(before + time.monotonic() - started, 3)
            history.append({"epoch": epoch, "train_loss": loss, **metrics, "seconds": seconds})
            say(f"epoch {epoch}/{config.epochs}: train_loss {loss:.4f}, {_in_words(metrics)}, {seconds:.0f} s")
            log.add_scalar(tag="train_loss", step=epoch, value=loss)
            log.add_scalar(tag="learning_rate", step=epoch, value=optimizer.get_lr())
            for key, value in metrics.items():
                log.add_scalar(tag=f"test_{key}", step=epoch, value=value)
            log.add_image(tag="held out", step=epoch, img=task.draw(outputs))
            _save(task, optimizer, history, output)
    return _summary(history, task.metric)


def find_resume(resume: Optional[str], config: Config) -> Optional[Path]:
    """The state that ``--resume`` names: a path, or for "auto" the output_dir's own, None where there is none yet."""
    if resume != "auto":
        return Path(resume) if resume else None
    path = Path(config.output_dir or "output") / "last.pdopt"
    return path if path.exists() else None


def evaluate(task: Task, batch_size: int) -> Tuple[Dict[str, float], np.ndarray]:
    """The metrics of a task's network on its held-out samples, and the outputs ``[N, ...]`` they come from."""
    task.network.eval()
    samples = task.test_samples()
    outputs, targets, losses = [], [], []
    with paddle.no_grad():
        for inputs, *batch_targets in _batches(samples, np.arange(len(samples)), batch_size):
            output = task.network(inputs)
            losses.append(task.loss(output, batch_targets).item() * len(inputs))
            outputs.append(output.numpy())
            targets.append([target.numpy() for target in batch_targets])
    all_outputs = np.concatenate(outputs)
    all_targets = [np.concatenate(parts) for parts in zip(*targets)]
    return {"loss": sum(losses) / len(samples), **task.measure(all_outputs, all_targets)}, all_outputs


def _train_epoch(task: Task, optimizer: Any, schedule: Any, config: Config, epoch: int, progress: tqdm) -> float:
    """One pass over the training set; its mean loss.

    All that is random depends on the seed and the epoch alone, so that a resumed run draws what it would have drawn.
    """
    rng = np.random.default_rng([config.seed, epoch])
    paddle.seed(int(rng.integers(2**31)))
    samples = task.train_samples(seed=int(rng.integers(2**31)))
    task.network.train()
    total = 0.0
    for inputs, *targets in _batches(samples, rng.permutation(len(samples)), config.batch_size):
        loss = task.loss(task.network(inputs), targets)
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(
                f"the loss became {value} in epoch {epoch} at learning rate {optimizer.get_lr():.3g}; a lower "
                "optimizer.learning_rate may help. The weights of the epochs before are as they were saved"
            )
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        schedule.step()
        total += value * len(inputs)
        progress.set_description(f"epoch {epoch}/{config.epochs}, loss {value:.3f}", refresh=False)
        progress.update()
    return total / len(samples)


def _batches(samples: Samples, order: np.ndarray, batch_size: int) -> Iterator[List[paddle.Tensor]]:
    for start in range(0, len(order), batch_size):
        fields = zip(*(samples[int(i)] for i in order[start : start + batch_size]))
        yield [paddle.to_tensor(np.stack(field)) for field in fields]


def _save(task: Task, optimizer: Any, history: List[Dict[str, Any]], output: Path) -> None:
    weights = task.network.state_dict()
    summary = _summary(history, task.metric)
    if summary["best"] == summary["last"]:
        checkpoints.save_state(weights, output / "best.pdparams")
    checkpoints.save_state(weights, output / "last.pdparams")
    # One file, with the weights once more, so that what a resume reads is of one moment.
    optimizer_state = checkpoints.optimizer_state(optimizer, task.network)
    state = {"network": weights, "optimizer": optimizer_state, "history": history}
    checkpoints.save_state(state, output / "last.pdopt")
    with replacing(output / "metrics.json") as path:
        path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _restore(path: Path, task: Task, optimizer: Any) -> List[Dict[str, Any]]:
    state = checkpoints.load_state(path)
    missing = {"network", "optimizer", "history"} - set(state)
    if missing:
        raise UserError(f"{path} is no state to resume from: it lacks {', '.join(sorted(missing))}; take a last.pdopt")
    checkpoints.fit_weights(task.network, state["network"], str(path))
    checkpoints.set_optimizer_state(optimizer, task.network, state["optimizer"])
    return state["history"]


def _summary(history: List[Dict[str, Any]], metric: str) -> Dict[str, Any]:
    def without_seconds(entry: Dict[str, Any]) -> Dict[str, Any]:
        return {key: value for key, value in entry.items() if key != "seconds"}

    best = max(history, key=lambda entry: entry[metric])
    last = history[-1]
    return {
        "best": without_seconds(best),
        "last": without_seconds(last),
        "epochs": last["epoch"],
        "seconds": last["seconds"],
    }


def _in_words(metrics: Dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())
