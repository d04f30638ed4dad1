"""``python -m ppcoordconv`` is the command ``ppcoordconv``."""

from .commands import main

if __name__ == "__main__":
    main()
