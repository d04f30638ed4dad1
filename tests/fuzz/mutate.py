"""Good documents, made worse at random."""

from __future__ import annotations

import copy
import datetime
import random
from typing import Any, List, Tuple

NASTY: List[Any] = [
    None, True, False, 0, -1, 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, 10**400, 1e-400, 1e308, -0.0, 0.1,
    float("nan"), float("inf"), float("-inf"), "", " ", "x", "0", "é" * 50, "x" * 10_000, "\0", "\ud800", "../../x",
    "/dev/zero", "{}", "!!bool x", [], {}, [[]], [None], {"name": None}, {"": ""}, [1] * 1000, {"x": {"x": {"x": 1}}},
    datetime.date(2024, 1, 2), b"x",
]  # fmt: skip


def mutated_tree(rng: random.Random, tree: Any, values: List[Any] = NASTY) -> Any:
    """With some of its values replaced, left out, doubled or moved under another key."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        places = list(_places(tree))
        if not places:
            return rng.choice(values)
        holder, key = rng.choice(places)
        action = rng.randrange(5)
        if action == 0:
            del holder[key]
        elif action == 1 and isinstance(holder, dict):
            holder[rng.choice(["", "name", "x" * 300, str(key) + "s", "\0"])] = holder.pop(key)
        elif action == 2 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif action == 3:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place])
        else:
            holder[key] = copy.deepcopy(rng.choice(values))
    return tree


def _places(tree: Any) -> Any:
    items: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """With some bits flipped, and pieces left out, doubled, moved, or put in."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        start, length = _slice(rng, len(changed))
        action = rng.randrange(6)
        if action <= 1 and changed:
            changed[min(start, len(changed) - 1)] ^= 1 << rng.randrange(8)
        elif action == 2:
            del changed[start : start + length]
        elif action == 3:
            changed[start:start] = changed[start : start + length]
        elif action == 4:
            changed[start:start] = rng.randbytes(length)
        else:
            other, _ = _slice(rng, len(changed))
            changed[start : start + length] = changed[other : other + length]
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def _slice(rng: random.Random, size: int) -> Tuple[int, int]:
    return rng.randrange(size + 1), rng.choice([1, 1, 2, 4, 8, 64])
