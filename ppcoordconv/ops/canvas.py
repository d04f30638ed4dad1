"""The canvas of the coordinate tasks (Liu et al. 2018): 64x64 pixels, with squares of 9x9."""

SIZE = 64
SQUARE = 9
