"""What a web service takes: for its command line, which must not wait for a web framework, and for the service."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from .arguments import check_int, check_number


def _limit(default: float, minimum: float, maximum: float, meaning: str) -> Any:
    return field(default=default, metadata={"help": f"{meaning}; default: {default}", "bounds": (minimum, maximum)})


@dataclass(frozen=True)
class Limits:
    """What a service takes; each field says what it means in its ``metadata["help"]``, which is ``serve --help``.

    Raises:
        UserError: one is of another type or out of its bounds.
    """

    max_batch: int = _limit(32, 1, 10_000, "inputs that go through the model together")
    max_wait_ms: float = _limit(2.0, 0, 60_000, "milliseconds that an input waits for others once the model is free")
    max_waiting: int = _limit(512, 1, 1_000_000, "inputs that are taken at once; a request beyond is answered 429")
    max_body_mb: float = _limit(32.0, 0.001, 100_000, "MiB of a request; a larger one is answered 413")
    # Pillow decodes no more.
    max_megapixels: float = _limit(64.0, 0.001, 178, "million pixels of a picture; a larger one is answered 413")
    timeout: float = _limit(30.0, 0.001, 86_400, "seconds for a request to arrive (408), and to be answered (503)")

    def __post_init__(self) -> None:
        for limit in fields(self):
            check = check_int if isinstance(limit.default, int) else check_number
            check(limit.name, getattr(self, limit.name), *limit.metadata["bounds"])
