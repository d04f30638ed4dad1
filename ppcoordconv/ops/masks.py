"""Masks: of each pixel the index of its class, uint8 ``[H, W]``."""

# Of a pixel that belongs to no class that is known, and counts for nothing.
IGNORED = 255
MAX_CLASSES = 255
