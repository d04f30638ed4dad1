"""``python -m ppcoordconv`` is the command ``ppcoordconv``."""

from typing import NoReturn

from .commands import leave, main


def script() -> NoReturn:
    leave(main())


if __name__ == "__main__":
    script()
