"""The tables of ``docs/results.md`` and ``docs/model_zoo.md``, from what runs left behind: no figure is typed in."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import yaml

from ppcoordconv.config import CONFIGS, load_config
from ppcoordconv.deploy import Predictor
from ppcoordconv.deploy.evaluate import outputs_of
from ppcoordconv.models import MODELS, zoo
from ppcoordconv.tasks import build_task
from ppcoordconv.tasks.coordinates import CoordinateTask
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.files import with_section
from ppcoordconv.utils.registry import options_of
from ppcoordconv.utils.weights import load_state


@dataclass(frozen=True)
class Experiment:
    """A row of a table: a config, and how many seeds it was trained with.

    Attributes:
        folder: of configs/, in which the config is.
        splits: those that are measured.
    """

    config: str
    seeds: int
    title: str
    folder: str = "not_so_clevr"
    splits: Tuple[str, ...] = ("test", "train")


@dataclass(frozen=True)
class Table:
    """Experiments, and the metric they are compared by; errors are better the smaller they are."""

    metric: str
    rows: List[Experiment]

    @property
    def worst(self) -> Callable[[List[float]], float]:
        return max if self.metric.endswith("error") else min


# The paper's coordinate tasks and gnouhp's, by their place in the page.
TABLES: Dict[str, Table] = {
    "Classification": Table(
        "accuracy",
        [
            Experiment("classification_coordconv_uniform", 20, "CoordConv, uniform"),
            Experiment("classification_coordconv_quadrant", 20, "CoordConv, quadrant"),
            Experiment("classification_coordconv_quadrant_from_33", 3, "CoordConv, quadrant from 33"),
            Experiment("classification_conv_uniform", 3, "deconvolution, uniform"),
            Experiment("classification_conv_quadrant", 3, "deconvolution, quadrant"),
        ],
    ),
    "Regression": Table(
        "accuracy",
        [
            Experiment("regression_coordconv_uniform", 10, "CoordConv, uniform"),
            Experiment("regression_coordconv_quadrant", 10, "CoordConv, quadrant"),
            Experiment("regression_conv_uniform", 3, "convolution, uniform"),
            Experiment("regression_conv_quadrant", 3, "convolution, quadrant"),
        ],
    ),
    "Rendering": Table(
        "iou",
        [
            Experiment("rendering_coordconv_uniform", 5, "CoordConv, uniform"),
            Experiment("rendering_coordconv_quadrant", 5, "CoordConv, quadrant"),
            Experiment("rendering_conv_uniform", 1, "deconvolution, uniform"),
            Experiment("rendering_conv_quadrant", 1, "deconvolution, quadrant"),
        ],
    ),
    "Corner": Table(
        "mean_error",
        [
            Experiment("corner_coordconv_uniform", 3, "CoordConv, uniform"),
            Experiment("corner_conv_uniform", 3, "convolution, uniform"),
        ],
    ),
    "Causes": Table(
        "accuracy",
        [
            Experiment("classification_coordconv_quadrant_random", 3, "classification, random start"),
            Experiment("classification_coordconv_quadrant_pixels", 3, "classification, random start, points in pixels"),
            Experiment("regression_coordconv_quadrant_random", 3, "regression, random start"),
        ],
    ),
}
DETECTION = [
    Experiment(config, seeds, title, "detection", ("test",))
    for config, seeds, title in (
        ("digits_coordconv_short", 5, "CoordConv, digits"),
        ("digits_conv_short", 5, "convolution, digits"),
        ("digits_coordconv", 1, "CoordConv, digits, longer"),
        ("position_coordconv", 5, "CoordConv, left or right"),
        ("position_conv", 5, "convolution, left or right"),
        ("position_crops", 5, "CoordConv, left or right, from crops"),
        ("position_crops_window", 5, "CoordConv, left or right, from crops in windows"),
    )
]
# What the READMEs show of them: the metric, the configs of CoordConv and of the convolution, the title by language.
HEADLINES: List[Tuple[str, Tuple[str, str], Dict[str, str]]] = [
    (
        "accuracy",
        ("classification_coordconv_quadrant", "classification_conv_quadrant"),
        {"en": "which pixel is (x, y)? unseen quadrant, accuracy", "cn": "(x, y) 是哪个像素？未见过的象限，准确率"},
    ),
    (
        "accuracy",
        ("regression_coordconv_quadrant", "regression_conv_quadrant"),
        {"en": "where is the lit pixel? unseen quadrant, accuracy", "cn": "亮点在哪里？未见过的象限，准确率"},
    ),
    (
        "iou",
        ("rendering_coordconv_quadrant", "rendering_conv_quadrant"),
        {"en": "draw the square at (x, y), unseen quadrant, IoU", "cn": "画出 (x, y) 处的方块，未见过的象限，IoU"},
    ),
    (
        "ap50",
        ("position_coordconv", "position_conv"),
        {"en": "is the digit on the left or on the right? AP50", "cn": "数字在左半边还是右半边？AP50"},
    ),
    (
        "ap",
        ("digits_coordconv_short", "digits_conv_short"),
        {"en": "which digits are there, wherever they are? AP", "cn": "有哪些数字，不论在哪里？AP"},
    ),
]
HEADS = {
    "en": "| what | CoordConv | convolution | seeds | configs |",
    "cn": "| 任务 | CoordConv | 普通卷积 | 种子数 | 配置 |",
}
EXPERIMENTS = {
    experiment.config: experiment
    for rows in (*(table.rows for table in TABLES.values()), DETECTION)
    for experiment in rows
}


def record_of(run: Path, exported: Dict[str, Dict[str, float]]) -> Dict[str, Any]:
    """What a table needs of a finished run.

    Parameters:
        run: its ``output_dir``.
        exported: by split, "test" and "train", the metrics of the exported model.

    Returns:
        "exported", "last", "epochs", "seconds", "parameters", "history" (by epoch), and the "paddle" and "device".
    """
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    made_with = json.loads((run / "run.json").read_text(encoding="utf-8"))
    history = load_state(run / "last.pdopt")["history"]
    names = yaml.safe_load((run / "config.yml").read_text(encoding="utf-8"))
    return {
        "seed": names["seed"],
        "exported": exported,
        "last": metrics["last"],
        "epochs": metrics["epochs"],
        "seconds": metrics["seconds"],
        "history": [{key: round(value, 6) for key, value in entry.items()} for entry in history],
        "parameters": sum(
            value.size
            for name, value in load_state(run / "last.pdparams").items()
            if not name.endswith(("._mean", "._variance"))
        ),
        "made_with": {key: made_with[key] for key in ("paddle", "python", "numpy", "ppcoordconv", "device", "git")},
    }


def errors_by_place(config: Path, model_dir: Path, part: str) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What an exported network of a coordinate task does with the samples of "train" or "test".

    Returns:
        The centres ``[N, 2]``, the errors ``[N]`` as the task measures them, and the outputs ``[N, ...]``.
    """
    task = build_task(load_config(config, []))
    if not isinstance(task, CoordinateTask):
        raise UserError(f"{config} is of no coordinate task")
    samples = task.test_samples() if part == "test" else task.train_samples(0)
    batches = list(outputs_of(Predictor(str(model_dir)), samples, 32))
    errors = [task.errors(outputs, targets[0]) for outputs, targets in batches]
    return samples.centres, np.concatenate(errors), np.concatenate([outputs for outputs, _ in batches])


def read_records(path: Path) -> Dict[str, Dict[str, Any]]:
    """The records of a config's runs, by seed; none where there is no file."""
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} holds no records of runs: {error}") from error


def page(text: str, records: Dict[str, Dict[str, Dict[str, Any]]]) -> str:
    """A Markdown page with the tables between ``<!-- NAME -->`` and ``<!-- end -->`` made anew from the records."""
    made = {name: table_of(experiments, records) for name, experiments in TABLES.items()}
    for name, made_anew in {**made, "Cost": cost_table(records), "Detection": detection_table(records)}.items():
        text = with_section(text, name, made_anew)
    return text


def headline_table(records: Dict[str, Dict[str, Dict[str, Any]]], language: str) -> str:
    """A Markdown table of CoordConv beside the convolution on held-out data, means over the seeds; "en" or "cn"."""
    rows = [HEADS[language], "|---|---|---|---|---|"]
    for metric, configs, titles in HEADLINES:
        runs = [list(records.get(config, {}).values()) for config in configs]
        if all(runs):
            means = [statistics.fmean(run["exported"]["test"][metric] for run in of) for of in runs]
            links = ", ".join(f"[`{c}`](configs/{EXPERIMENTS[c].folder}/{c}.yml)" for c in configs)
            figures = " | ".join([*(f"{mean:.3f}" for mean in means), ", ".join(str(len(of)) for of in runs)])
            rows.append(f"| {titles[language]} | {figures} | {links} |")
    return "\n".join(rows)


def table_of(table: Table, records: Dict[str, Dict[str, Dict[str, Any]]]) -> str:
    """A Markdown table of the experiments that have records, at the last epoch, of the exported model, and versions.

    Parameters:
        records: by config, those of each seed.
    """
    metric = table.metric.replace("_", " ")
    rows = [
        f"| network, split, config | parameters | seeds | test {metric}, mean ± std (worst) | train {metric} (worst) "
        "| epochs | minutes a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for experiment in table.rows:
        runs = list(records.get(experiment.config, {}).values())
        if not runs:
            continue
        test, train = ([run["exported"][split][table.metric] for run in runs] for split in ("test", "train"))
        rows.append(
            f"| {experiment.title}<br>`{experiment.config}` | {runs[0]['parameters']:,} | {len(runs)} "
            f"| {_mean_and_spread(test)} ({table.worst(test):.4f}) "
            f"| {statistics.fmean(train):.4f} ({table.worst(train):.4f}) "
            f"| {max(run['epochs'] for run in runs)} | {_minutes(runs):.1f} |"
        )
    return "\n".join(rows) + _versions([run for row in table.rows for run in records.get(row.config, {}).values()])


def detection_table(records: Dict[str, Dict[str, Dict[str, Any]]]) -> str:
    """A Markdown table of the detectors that have records: what the exported model measures on the test pictures."""
    rows = [
        "| neck, data, config | parameters | seeds | AP, mean ± std (worst) | AP50 | mean IoU | epochs "
        "| minutes a run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    made = []
    for experiment in DETECTION:
        runs = list(records.get(experiment.config, {}).values())
        if not runs:
            continue
        made += runs
        test = [run["exported"]["test"] for run in runs]
        ap, ap50, iou = ([metrics[key] for metrics in test] for key in ("ap", "ap50", "mean_iou"))
        rows.append(
            f"| {experiment.title}<br>`{experiment.config}` | {runs[0]['parameters']:,} | {len(runs)} "
            f"| {_mean_and_spread(ap)} ({min(ap):.4f}) | {statistics.fmean(ap50):.4f} "
            f"| {statistics.fmean(iou):.4f} | {max(run['epochs'] for run in runs)} | {_minutes(runs):.1f} |"
        )
    return "\n".join(rows) + _versions(made)


def _mean_and_spread(values: List[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.4f} ± {spread:.4f}"


def _minutes(runs: List[Dict[str, Any]]) -> float:
    return statistics.fmean(run["seconds"] for run in runs) / 60


def _versions(runs: List[Dict[str, Any]]) -> str:
    made_with = {
        f"Paddle {m['paddle']}, numpy {m['numpy']}, Python {m['python']}, {m['device']}, commit {str(m['git'])[:7]}"
        for m in (run["made_with"] for run in runs)
    }
    return f"\n\nMade with {'; '.join(sorted(made_with))}." if made_with else ""


def cost_table(records: Dict[str, Dict[str, Dict[str, Any]]]) -> str:
    """A Markdown table: what each network of coordinate classification takes until its best test accuracy.

    That is the first epoch with a run's best accuracy; seconds are those of training and evaluation, means over the
    seeds. The last two columns compare a network with the CoordConv of its split.
    """
    rows = [
        "| network, split | parameters | best test accuracy | seconds until it | times the parameters "
        "| times the seconds |",
        "|---|---|---|---|---|---|",
    ]
    for split in ("uniform", "quadrant"):
        base: Tuple[float, float] = (0.0, 0.0)
        for experiment in TABLES["Classification"].rows:
            runs = list(records.get(experiment.config, {}).values())
            if not runs or not experiment.config.endswith(f"_{split}"):
                continue
            bests = [first_best(run["history"], "accuracy") for run in runs]
            accuracy, seconds = (statistics.fmean(values) for values in zip(*bests))
            parameters = runs[0]["parameters"]
            base = base if all(base) else (parameters, seconds)
            rows.append(
                f"| {experiment.title} | {parameters:,} | {accuracy:.4f} | {seconds:.0f} "
                f"| {parameters / base[0]:.1f} | {seconds / base[1]:.1f} |"
            )
    return "\n".join(rows)


def first_best(history: List[Dict[str, float]], metric: str) -> Tuple[float, float]:
    """The best value of a metric, and the seconds until a run had it first."""
    best = max(history, key=lambda entry: entry[metric])
    return best[metric], best["seconds"]


def zoo_row(config: str, record: Dict[str, Any]) -> Tuple[str, Dict[str, Any]]:
    """The model's name and its row in the table of weights, from the record of a run of a config of the package."""
    loaded = load_config(CONFIGS.parent / config, [])
    task = build_task(loaded)
    options = loaded.model.options()
    if labels := task.export_metadata()["labels"]:
        (count,) = {"num_classes", "num_keypoints"} & set(options_of(MODELS.find(loaded.model.name)))
        options[count] = len(labels)
    run = {key: value for key, value in record.items() if key != "exported"}
    return loaded.model.name, {"config": config, "options": options, "metric": task.metric, **run}


def zoo_table() -> str:
    """A Markdown table of the weights that come with the package, as measured at the end of their training."""
    lines = [
        "| model, its config | parameters, file | on what was held out | seed, epochs, minutes | Paddle, commit |",
        "|---|---|---|---|---|",
    ]
    for name, row in zoo.rows().items():
        made = row["made_with"]
        lines.append(
            f"| `{name}`<br>`{row['config']}` "
            f"| {row['parameters']:,}<br>{zoo.weights_path(name).stat().st_size / 1000:,.0f} kB "
            f"| {row['metric']} {row['last'][row['metric']]:.4f} "
            f"| {row['seed']}, {row['epochs']}, {row['seconds'] / 60:.1f} | {made['paddle']}, {made['git'][:7]} |"
        )
    return "\n".join(lines)
