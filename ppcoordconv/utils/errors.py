"""The one error for what a user can put right: what was given, what is wrong, what would be right."""


class UserError(ValueError):
    """A mistake in a config, a path, a file or an argument; its message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Stopped(Exception):  # noqa: N818 - as KeyboardInterrupt, it is no error
    """A signal ended the work, after what was done was saved; ``status`` is what the process should exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
