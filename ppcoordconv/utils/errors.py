"""The one error for what a user can put right: what was given, what is wrong, what would be right."""

from __future__ import annotations

import contextlib
from typing import Any, Container, Iterator, Optional, Sequence


class UserError(ValueError):
    """A mistake in a config, a path, a file or an argument; its message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class MissingFileError(UserError):
    """There is no file of a name."""


class UnreadableImageError(UserError):
    """A file is not a picture, or damaged."""


class ArgumentError(UserError):
    """An argument of a function has a wrong value; ``argument`` is its name there.

    Where it was given, as a key of a config or a flag, is known to the caller, who says so by ``argument_prefix``.
    """

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(f"{argument} {message}")
        self.argument = argument


@contextlib.contextmanager
def argument_prefix(prefix: str, arguments: Optional[Container[str]] = None) -> Iterator[None]:
    """Names wrong arguments in here as a user gave them, "task.flip" or "--resume".

    Parameters:
        arguments: only these; None: all.
    """
    try:
        yield
    except ArgumentError as error:
        if arguments is not None and error.argument not in arguments:
            raise
        raise UserError(f"{prefix}{error}") from error


def shortened(items: Sequence[Any], limit: int, separator: str = ", ") -> str:
    """The first of the items, and how many more there are."""
    rest = [f"and {len(items) - limit} more"] if len(items) > limit else []
    return separator.join([*map(str, items[:limit]), *rest])


def shortened_repr(value: Any, limit: int = 80) -> str:
    """What was given, as far as it fits into a sentence."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or a list that is nested as deeply
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= limit else f"{text[:limit]}..."


class Stopped(BaseException):
    """A signal ends the work, as KeyboardInterrupt does; ``status`` is what the process should exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
