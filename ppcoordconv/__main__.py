"""``python -m ppcoordconv`` is the command ``ppcoordconv``."""

from .commands import entry_point

if __name__ == "__main__":
    entry_point()
