"""CIFAR-10, from its own archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..utils.errors import UserError
from . import DATASETS, ClassificationData, LabelledImages

LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@DATASETS.register
def cifar10(path: str) -> ClassificationData:
    """The 50,000 and 10,000 pictures, 32x32, of ``cifar-10-python.tar.gz``.

    The archive holds Python pickles: give one that comes from where you trust.

    Raises:
        UserError: there is no such file, or it is not that archive.
    """
    from paddle.vision.datasets import Cifar10

    if not Path(path).is_file():
        raise UserError(f"there is no file {path}; cifar10 takes the path of cifar-10-python.tar.gz")
    try:
        sets = [Cifar10(data_file=path, mode=mode, download=False, backend="pil") for mode in ("train", "test")]
    except Exception as error:  # tarfile, zlib and pickle each have errors of their own
        raise UserError(f"{path} is not cifar-10-python.tar.gz: {error}") from error
    if not all(len(samples) for samples in sets):
        raise UserError(f"{path} is not cifar-10-python.tar.gz: it holds no data_batch or no test_batch")
    train, test = (_in_memory(samples) for samples in sets)
    return ClassificationData(train, test, LABELS)


def _in_memory(samples: Any) -> LabelledImages:
    images, classes = zip(*(samples[i] for i in range(len(samples))))
    return LabelledImages([np.asarray(image) for image in images], np.array(classes, np.int64))
