"""What a web service takes: for its command line, which must not wait for a web framework, and for the service."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from .errors import ArgumentError


def _limit(default: float, meaning: str) -> Any:
    return field(default=default, metadata={"help": f"{meaning}; default: {default}"})


@dataclass(frozen=True)
class Limits:
    """What a service takes; each field says what it means in its ``metadata["help"]``, which is ``serve --help``.

    Raises:
        UserError: one is not a finite number above 0.
    """

    max_batch: int = _limit(32, "inputs that go through the model together")
    max_wait_ms: float = _limit(2.0, "milliseconds that an input waits for others")
    max_waiting: int = _limit(512, "inputs that may wait; a request beyond is answered 429")
    max_body_mb: float = _limit(32.0, "MiB of a request; a larger one is answered 413")
    max_megapixels: float = _limit(64.0, "million pixels of a picture; a larger one is answered 413")
    timeout: float = _limit(30.0, "seconds for a request to arrive (else 408), and again to be answered (else 503)")

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            lowest = 0 if name == "max_wait_ms" else 1e-6
            if not lowest <= value < math.inf:
                raise ArgumentError(name, f"takes a finite number above 0, got {value!r}")
