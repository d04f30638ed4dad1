"""What a layer keeps between two calls: the last result of one computation, never more than the output's size."""

from __future__ import annotations

import hashlib
from typing import Any, Callable, List, Optional, Tuple

import numpy as np
from paddle import Tensor


class LastResult:
    """Keeps the last result of a computation, for as long as it is asked for with the same inputs.

    It may be used from several threads: an entry is replaced as a whole and never changed. Copies and pickles of it are
    empty.
    """

    def __init__(self) -> None:
        self._entry: Optional[Tuple[Tuple[Any, ...], bytes, Tensor]] = None

    def __call__(
        self, key: Tuple[Any, ...], values: List[np.ndarray], compute: Callable[[], Tensor], max_size: int
    ) -> Tensor:
        """The kept result, or a new one, which is kept if it has at most ``max_size`` elements.

        Parameters:
            key: what the result depends on; Tensors in it are compared by identity, and taken to be constants.
            values: what it depends on besides, compared by value; they are not kept themselves.
        """
        digest = hashlib.blake2b(b"".join(array.tobytes() for array in values)).digest()
        entry = self._entry
        if entry is not None and entry[1] == digest and _same(entry[0], key):
            return entry[2]
        result = compute()
        self._entry = (key, digest, result) if result.size <= max_size else None
        return result

    def __deepcopy__(self, memo: Any) -> LastResult:
        return LastResult()

    def __reduce__(self) -> Tuple[Any, ...]:
        return LastResult, ()


def _same(a: Tuple[Any, ...], b: Tuple[Any, ...]) -> bool:
    # Tensors are not compared by ==, which computes elementwise.
    return len(a) == len(b) and all(
        x is y or (not isinstance(x, Tensor) and not isinstance(y, Tensor) and x == y) for x, y in zip(a, b)
    )
