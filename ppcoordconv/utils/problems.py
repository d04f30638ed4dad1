"""Mistakes in data: the first is raised, or, where someone asks for all of them, they are collected."""

from __future__ import annotations

import contextlib
import re
from contextvars import ContextVar
from typing import Any, Dict, Iterator, List, Optional

from .errors import UserError

_COLLECTED: ContextVar[Optional[List[UserError]]] = ContextVar("collected", default=None)


@contextlib.contextmanager
def collect_problems() -> Iterator[List[UserError]]:
    """In here, what ``entry`` finds wrong is put into this list, and reading goes on without it."""
    problems: List[UserError] = []
    token = _COLLECTED.set(problems)
    try:
        yield problems
    finally:
        _COLLECTED.reset(token)


@contextlib.contextmanager
def entry() -> Iterator[None]:
    """Around the reading of one entry of a file: a UserError in here leaves it out, where problems are collected."""
    try:
        yield
    except UserError as error:
        problems = _COLLECTED.get()
        if problems is None:
            raise
        problems.append(error)


def by_kind(problems: List[UserError], limit: int = 3) -> List[Dict[str, Any]]:
    """Those that say the same of different entries, with their "count" and the "first" few; the most frequent first."""
    kinds: Dict[str, List[str]] = {}
    for problem in problems:
        # What is given differs, and so do names, numbers and paths.
        said = re.sub(r", got .*", "", str(problem))
        kind = re.sub(r"""'[^']*'|"[^"]*"|\S*[/\\]\S*|\S*\.\w{2,4}\b|[-+]?\d[\d.,e+-]*""", "…", said)
        kinds.setdefault(kind, []).append(str(problem))
    found = [{"count": len(messages), "first": messages[:limit]} for messages in kinds.values()]
    return sorted(found, key=lambda kind: -int(kind["count"]))  # type: ignore[call-overload]
