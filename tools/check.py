"""`ppcoordconv check`, for a checkout that is not installed."""

from __future__ import annotations

from typing import Sequence

from _tool import leave, run_alone


def main(argv: Sequence[str] | None = None) -> int:
    return run_alone("check", argv)


if __name__ == "__main__":
    leave(main())
