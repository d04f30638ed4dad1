"""Reads all of a config's data, and reports every problem, statistics, and what to change."""

import argparse
import json
from pathlib import Path
from typing import Any, Dict

from . import Parser, add_config_options, stop_on_sigterm


def add_arguments(parser: Parser) -> None:
    add_config_options(parser)
    help_text = "a folder for check.json, and samples.png, pictures of the training set with their annotations"
    parser.add_argument("--output", type=Path, help=help_text)


def main(arguments: argparse.Namespace) -> int:
    from ..config import load_config
    from ..tasks import build_task
    from ..tasks.data_checks import write_check
    from ..utils.errors import UserError
    from ..utils.problems import by_kind, collect_problems
    from ..utils.progress import log_info

    stop_on_sigterm()
    config = load_config(arguments.config, arguments.override)
    found = None
    with collect_problems() as problems:
        try:
            task = build_task(config)
            if not hasattr(task, "check_data"):
                raise UserError(
                    f"the task {config.task.name!r} has no data to check; one of your own that reads files has "
                    "a method check_data for it"
                )
            found = task.check_data()
        except UserError as error:
            if not problems:  # a mistake in the config, or a set that is not there
                raise
            problems.append(error)
    kinds = by_kind(problems)
    result: Dict[str, Any] = {"problems": len(problems), "kinds": kinds}
    if found is not None:
        result.update(statistics=found.statistics, suggestions=found.suggestions)
    for kind in kinds:
        log_info(f"{kind['count']} times: {kind['first'][0]}")
    for suggestion in result.get("suggestions", []):
        log_info(suggestion)
    found_none = "no problem was found" + (", but for what is said above" if result.get("suggestions") else "")
    log_info(f"{len(problems)} problems of {len(kinds)} kinds" if problems else found_none)
    print(json.dumps(result, ensure_ascii=False))
    if arguments.output:
        write_check(arguments.output, result, found)
    return int(bool(problems))
