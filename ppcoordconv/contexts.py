"""What a ``with`` block gives to the layers that are called in it."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import Any, Generic, Iterator, Tuple, TypeVar

from .compat import is_eager

T = TypeVar("T")


class _Entry(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value
        self.is_used = False
        self.is_of_eager_mode = is_eager()


class Context(Generic[T]):
    """One kind of value; the innermost that is open holds, in this thread, or this asyncio task.

    Parameters:
        name: of the function that opens it, for messages.
        as_input: what has to be an input of a graph that opens it, for messages.
    """

    def __init__(self, name: str, as_input: str) -> None:
        self._name, self._as_input = name, as_input
        # The outermost first.
        self._entries: ContextVar[Tuple[_Entry[T], ...]] = ContextVar(name, default=())

    @contextlib.contextmanager
    def opened(self, value: T, unused: str = "") -> Iterator[None]:
        """In here, ``current`` gives the value.

        Parameters:
            unused: what the ValueError says that is raised where nobody asked for it; "": nobody has to.
        """
        entry, outer = _Entry(value), self._entries.get()
        if outer:
            outer[-1].is_used = True
        self._entries.set((*outer, entry))
        try:
            yield
        finally:
            # Not what was there before: generators may leave theirs in another order.
            self._entries.set(tuple(other for other in self._entries.get() if other is not entry))
        if unused and not entry.is_used:
            raise ValueError(f"{self._name}: {unused}")

    def current(self) -> Any:
        """The value that holds here, or None; it counts as used.

        Raises:
            ValueError: it was opened in eager mode, and a graph is being traced.
        """
        entries = self._entries.get()
        if not entries:
            return None
        entry = entries[-1]
        if entry.is_of_eager_mode and not is_eager():
            raise ValueError(
                f"{self._name}: it was opened outside of what is being traced, and the graph would keep it for ever; "
                f"open it inside, with {self._as_input}"
            )
        entry.is_used = True
        return entry.value
