"""The training loop, in plain functions: train, one epoch of it, one step."""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ContextManager, Dict, List, Optional

import numpy as np
import paddle
from tqdm import tqdm

from ..config import Config
from ..utils.errors import ArgumentError, UnreadableImageError, UserError, shortened
from ..utils.files import remove_abandoned, write_text
from ..utils.progress import bar
from ..windows import window
from . import checkpoints, dist
from .evaluation import evaluate, inputs_and_targets
from .log import RunLog, log_info
from .prefetch import Batch, prefetch
from .report import BestReport
from .run import Run
from .run_info import environment
from .stopping import Stopping
from .worker_processes import can_fork
from .writer import RUN_FILES, files_of_run, move_run_aside, only_writer

if TYPE_CHECKING:
    from ..metrics import Metric
    from ..tasks import Samples, Task


def train(task: Task, config: Config, resume: Optional[Path] = None, resume_anyway: bool = False) -> Dict[str, Any]:
    """Trains a task's network and writes ``config.output_dir``.

    Below it: ``config.yml``, ``run.json`` (versions, device, commit, command), ``best.pdparams``, ``last.pdparams``,
    ``last.pdopt`` (all that a resume needs; ``last.1.pdopt``, ... are the ones before), ``metrics.json``, at the
    end what the metric reports of the best evaluation, as ``report.json`` and pictures, and VisualDL's log in ``vdl/``.
    Those of an earlier run, if this does not go on from it, are moved into ``earlier.1/``.

    Parameters:
        resume: a ``last.pdopt``; training goes on where it was written, bit for bit as if it had not been interrupted.
            With other settings, each is followed from there on: epochs, limits, the optimizer's and the schedule's
            values (the schedule at the part of the run that is done), batch_size, and so on.
        resume_anyway: also where task, model, data, seed or the optimizer's kind are others, which is refused else.

    Returns:
        What ``metrics.json`` holds: "best" and "last" (the metrics and "epoch", from 1), "epochs", "seconds".

    Raises:
        UserError: the directory can't be written, or another training writes it; the state to resume from doesn't fit;
            the loss is not finite.
        Stopped: by SIGINT or SIGTERM, after the step was finished and the state saved.
    """
    with only_writer(config.output):
        try:
            return _train(task, config, resume, resume_anyway)
        except UnreadableImageError as error:
            raise UserError(f"{error}; remove it, or leave out all such with data.on_error=skip") from error


def _train(task: Task, config: Config, resume: Optional[Path], resume_anyway: bool) -> Dict[str, Any]:
    output = config.output
    run = Run(task, config)
    test_samples = task.test_samples()
    kept = [path.name for path in checkpoints.rotated_paths(output / "last.pdopt")]
    if dist.is_main_process():
        remove_abandoned(output, [*RUN_FILES, *kept])
    if resume is not None:
        run.restore(resume, resume_anyway)
        log_info(f"going on after epoch {len(run.history)} and {run.position} samples of {resume}")
    is_anew = resume is None or resume.resolve().parent != output.resolve()
    if is_anew and dist.is_main_process() and files_of_run(output):
        move_run_aside(output, [*RUN_FILES, *kept])
    if run.amp != config.amp:
        log_info(f"amp {config.amp} is for GPUs; training in float32")
    if config.workers > 1 and not can_fork():
        log_info(f"workers={config.workers} are threads: processes are forked in the main thread, on Linux")
    if dist.is_main_process():
        write_text(output / "config.yml", config.dump())
        write_text(output / "run.json", json.dumps(environment(), indent=2) + "\n")

    log_info(f"{run.size} samples to train on, {len(test_samples)} held out; {int(run.total_steps)} steps")
    done = run.step
    labels = task.export_metadata()["labels"]
    metric: Optional[Metric] = None
    with (
        RunLog(output / "vdl", config) as log,
        Stopping(config) as stopping,
        bar(int(run.total_steps), done) as progress,
        BestReport(output, labels, log.pictures) as report,
    ):
        last = run.partial or (run.history[-1] if run.history else {})
        summary = _summary(run.best, last) if last else {}
        while run.epoch <= config.epochs and (run.measured_step != run.step or not stopping.reason(run)):
            _train_epoch(run, stopping, log, progress)
            # Before anything that evaluation, or those who read its log, can do to the run.
            _save_state(run, output)
            if stopping.signal is not None:
                where = f"epoch {run.epoch} after {run.position} samples"
                left = _what_is_kept(output) if run.why_diverged() else f"the state is saved in {output}"
                raise stopping.stopped(f"{where}; {left}")
            loss = run.loss_total / run.position
            metric = task.metrics()
            with run.averaged_weights():
                with run.precision():
                    metrics, outputs = evaluate(task, test_samples, config.batch_size, metric=metric)
                is_finite = math.isfinite(metrics["loss"])
                if not is_finite or not run.has_finite_weights():
                    what = "weights" if is_finite else "the loss on the test set"
                    raise UserError(
                        f"{what} became infinite or nan in epoch {run.epoch}; a lower optimizer.learning_rate or a "
                        f"gradient_clip may help. {_what_is_kept(output)}"
                    )
                if not math.isfinite(value := metrics[task.metric]):
                    raise UserError(
                        f"the metric {task.metric} became {value} in epoch {run.epoch}; it takes a finite number, by "
                        f"which the best weights are chosen. {_what_is_kept(output)}"
                    )
                entry = {"epoch": run.epoch, "train_loss": loss, **metrics, "seconds": round(run.seconds, 3)}
                if not run.best or entry[task.metric] > run.best[task.metric]:
                    run.best = entry
                    report.take(metric, run.epoch)
                summary = _summary(run.best, entry)
                log.epoch(entry, run, outputs)
                if dist.is_main_process():
                    _save_weights(run, summary, output)
            run.measured_step, run.partial = run.step, entry
            if run.position == run.size:
                run.history.append(entry)
                run.epoch, run.position, run.loss_total, run.partial = run.epoch + 1, 0, 0.0, {}
            _save_state(run, output, replace=True)
        if reason := stopping.reason(run):
            log_info(f"training ends: {reason}; step {run.step} of {int(run.total_steps)} that the schedule has")
        elif run.step == done:
            log_info(f"nothing is left to do: all {config.epochs} epochs are done")
        if 0 < run.first_loss < run.recent_loss:
            log_info(
                f"the loss has risen, from {run.first_loss:.3g} to {run.recent_loss:.3g}; a lower "
                "optimizer.learning_rate may help"
            )
        if metric is not None and (advice := metric.advice(run.best, labels)):
            log_info(advice)
        if summary:
            log.result(summary, task.metric)
    return summary


def find_resume(resume: Optional[str], config: Config) -> Optional[Path]:
    """The state to resume from: the path given, or with "auto" the newest valid one in output_dir, None without any."""
    if resume != "auto":
        if resume and Path(resume).is_dir():
            raise ArgumentError("resume", f"takes a file, as {Path(resume) / 'last.pdopt'}, got the folder")
        return Path(resume) if resume else None
    found = checkpoints.latest_valid(config.output / "last.pdopt")
    if found is None:
        log_info(f"there is no state in {config.output} to resume from; beginning")
    return found


def _train_epoch(run: Run, stopping: Stopping, log: RunLog, progress: tqdm) -> None:
    """The rest of an epoch, or what of it there is before something stops the run."""
    config = run.config
    rng = np.random.default_rng([run.seed, run.epoch])
    samples = run.task.train_samples(seed=int(rng.integers(2**31)))
    order = rng.permutation(len(samples))[run.position :]
    batches = [order[start : start + config.batch_size] for start in range(0, len(order), config.batch_size)]
    if stopping.reason(run):
        return
    run.task.network.train()
    run.started = time.monotonic() - run.seconds
    read = prefetch(samples, batches, config.accumulate_steps, config.workers)
    with contextlib.closing(read) as found:
        for indices, parts in found:
            log.waited()
            _reseed(run.seed, run.epoch, run.position)
            loss = _step(run, samples, indices, parts, stopping)
            run.note_loss(loss)
            run.position += len(indices)
            run.step += 1
            run.loss_total += loss * len(indices)
            log.step(run, loss, len(indices), progress)
            if run.position < len(samples):
                if config.save_steps and run.step % config.save_steps == 0:
                    _save_state(run, config.output)
                if stopping.reason(run):
                    return


def _step(run: Run, samples: Samples, indices: np.ndarray, parts: List[Batch], stopping: Stopping) -> float:
    """One step of the optimizer, on the parts of a batch that are this process's; the mean loss of the whole batch."""
    # A process that has nothing of a small batch takes part with a weight of zero: the others wait for its gradients.
    weights = [len(part.indices) / len(indices) for part in parts]
    if not parts:
        parts, weights = [Batch.collate(samples, indices[:1])], [0.0]
    value = 0.0
    run.rate = run.optimizer.get_lr()
    for number, (part, weight) in enumerate(zip(parts, weights), 1):
        inputs, targets = inputs_and_targets(run.task, part.tensors())
        with _synchronised(run.network, number == len(parts)):
            with run.precision(), _windows_of(run.task, part):
                loss = run.task.loss(run.network(*inputs), targets)
            if loss.stop_gradient:
                raise UserError(
                    "the loss has no gradient, so that nothing is learnt: it takes Paddle's operations alone, without "
                    "numpy(), detach() and no_grad(), on a network with weights that are trained"
                )
            value += loss.item() * weight
            # DataParallel takes the mean over the processes.
            run.scaler.scale(loss * (weight * dist.count())).backward()
    # One clock for all, so that max_minutes ends all at the same step.
    seconds = time.monotonic() - run.started
    value, stop, seconds = dist.all_reduce_sum([value, float(stopping.received is not None), seconds])
    run.seconds = seconds / dist.count()
    stopping.agree(stop > 0)
    if not math.isfinite(value):
        raise UserError(
            f"the loss became {value} in step {run.step + 1}, epoch {run.epoch}, at learning rate "
            f"{run.rate:.3g}, on the samples {shortened(indices.tolist(), 8)}; a lower optimizer.learning_rate or "
            f"a gradient_clip may help. {_what_is_kept(run.config.output)}"
        )
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.clear_grad()
    run.step_schedule()
    if run.average:
        run.average.update()
    return value


def _synchronised(network: Any, is_last: bool) -> ContextManager[None]:
    """Processes exchange gradients once a step: with the last part."""
    return contextlib.nullcontext() if is_last or dist.count() == 1 else network.no_sync()


def _windows_of(task: Task, batch: Batch) -> ContextManager[None]:
    if not getattr(task, "window", False):
        return contextlib.nullcontext()
    windows = batch.fields[-1]
    axes = windows.shape[1] // 3
    return window(windows[:, : 2 * axes], windows[:, 2 * axes :])


def _reseed(*numbers: int) -> None:
    """Every generator there is, so that a step draws the same whenever, and wherever, it is taken."""
    seed = int(np.random.default_rng([*numbers, dist.rank()]).integers(2**31))
    paddle.seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def _save_weights(run: Run, summary: Dict[str, Any], output: Path) -> None:
    names = ["best.pdparams", "last.pdparams"] if summary["best"] == summary["last"] else ["last.pdparams"]
    for name in names:
        checkpoints.save_state(run.task.network.state_dict(), output / name, metadata=run.task.export_metadata())
    write_text(output / "metrics.json", json.dumps(summary, indent=2) + "\n")


def _save_state(run: Run, output: Path, replace: bool = False) -> None:
    """Not of a run that has diverged: the states before are what a resume needs then.

    Parameters:
        replace: the newest state, rather than keep it as one before.
    """
    if not dist.is_main_process():
        return
    if reason := run.why_diverged():
        log_info(f"no state is saved: {reason}")
        return
    checkpoints.save_state(run.state(), output / "last.pdopt", 1 if replace else run.config.max_checkpoints)


def _what_is_kept(output: Path) -> str:
    if (output / "last.pdopt").exists():
        return f"The state from before that is in {output}: --resume auto goes on from it"
    return "No state was saved before that; begin anew"


def _summary(best: Dict[str, Any], last: Dict[str, Any]) -> Dict[str, Any]:
    def without_seconds(entry: Dict[str, Any]) -> Dict[str, Any]:
        return {key: value for key, value in entry.items() if key != "seconds"}

    return {
        "best": without_seconds(best),
        "last": without_seconds(last),
        "epochs": last["epoch"],
        "seconds": last["seconds"],
    }
