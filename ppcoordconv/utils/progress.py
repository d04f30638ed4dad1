"""What a person sees while something takes its time, on stderr: a bar on a terminal, lines anywhere."""

from __future__ import annotations

import contextlib
import sys
from types import TracebackType
from typing import List, Optional, Type, Union

try:
    from tqdm import tqdm
except ModuleNotFoundError:
    # Serving an exported folder does without.
    tqdm = None

_later: List[str] = []


def log_info(message: str) -> None:
    """One line, above a bar where there is one."""
    flush_deferred()
    _write(message)


def defer_info(message: str) -> None:
    """Before the next line, so that it is no news beside an error that comes first."""
    _later.append(message)


def flush_deferred() -> None:
    while _later:
        _write(_later.pop(0))


def drop_deferred() -> None:
    """After an error, which is all the news there is."""
    _later.clear()


def _write(message: str) -> None:
    # Whoever read the messages may be gone, or the disk that they go to full: the work goes on.
    with contextlib.suppress(OSError, ValueError):
        if tqdm is None:
            print(message, file=sys.stderr, flush=True)
        else:
            tqdm.write(message, file=sys.stderr)
            sys.stderr.flush()


class _NoBar:
    """What stands in for a bar without tqdm."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        pass

    def update(self, count: int = 1) -> None:
        pass


def bar(total: int, done: int = 0, unit: str = "step") -> Union[tqdm, _NoBar]:
    """A progress bar, drawn on a terminal only."""
    if tqdm is None:
        return _NoBar()
    return tqdm(total=total, initial=done, unit=unit, disable=None)
