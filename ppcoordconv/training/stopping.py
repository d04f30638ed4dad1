"""When a training run ends before its last epoch: limits, patience, and signals."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Dict, List, Optional, Type

from ..config import Config
from ..utils.errors import Stopped
from .run import Run


class Stopping:
    """Listens for SIGINT and SIGTERM while it is entered, and knows the limits of a config.

    Attributes:
        received: the signal that this process got.
        signal: the one that all processes agreed on.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._handlers: Dict[int, Any] = {}
        self.received: Optional[int] = None
        self.signal: Optional[int] = None

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # A shell's background jobs ignore SIGINT: Ctrl-C is meant for another.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: Optional[FrameType]) -> None:
        self.received = number
        # Who asks twice doesn't want to wait for the step.
        signal.signal(number, self._handlers[number])

    def stopped(self, where: str) -> Stopped:
        assert self.signal is not None
        return Stopped(f"stopped by {signal.Signals(self.signal).name} in {where}", 128 + self.signal)

    def agree(self, somebody_heard: bool) -> None:
        """After a step: all processes stop where one received a signal."""
        if somebody_heard:
            self.signal = self.received or signal.SIGTERM

    def reason(self, run: Run) -> Optional[str]:
        """Why no further step is to be taken; None as long as there is no reason."""
        config = self._config
        if self.signal is not None:
            return signal.Signals(self.signal).name
        if config.max_steps is not None and run.step >= config.max_steps:
            return f"max_steps={config.max_steps}"
        if config.max_minutes is not None and run.seconds >= 60 * config.max_minutes:
            return f"max_minutes={config.max_minutes}"
        if config.patience is not None and _epochs_without_progress(run.history, run.task.metric) >= config.patience:
            return f"patience={config.patience}: {run.task.metric} did not improve"
        return None


def _epochs_without_progress(history: List[Dict[str, Any]], metric: str) -> int:
    values = [entry[metric] for entry in history]
    return len(values) - 1 - values.index(max(values)) if values else 0
