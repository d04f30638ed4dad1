"""Training, whatever the task: the loop, weights on disk, logs."""

from .own_network import fit

__all__ = ["fit"]
