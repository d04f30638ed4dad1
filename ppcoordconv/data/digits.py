"""1,797 real handwritten digits that come with scikit-learn (UCI's optical recognition test set)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from . import DATASETS, ClassificationData, LabelledImages, stratified_split


@DATASETS.register
def digits() -> ClassificationData:
    """1,437 digits to train on, 360 to test on: 8x8 samples of 0..16, scaled to 32x32 RGB."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = (bunch.images * (255 / 16)).round().astype(np.uint8)
    images = [np.asarray(_enlarged(pixels)) for pixels in small]
    return stratified_split(LabelledImages(images, bunch.target.astype(np.int64)), [str(n) for n in range(10)])


def _enlarged(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR).convert("RGB")
