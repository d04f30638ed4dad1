"""YAML as configs take it: plain values only, each key once, and no small text that stands for a huge tree."""

from __future__ import annotations

import math
from typing import Any, Dict, Set

import yaml

# Values, when what aliases stand for is written out.
LIMIT = 100_000


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of equal keys and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Dict[Any, Any]:
        seen: Set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ValueError(f"the key {key.value!r} is there twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, KeyError) as error:  # as of `!!bool x`
            kind = node.tag.rpartition(":")[2]
            raise ValueError(f"{str(node.value)[:40]!r} is not a {kind}, line {node.start_mark.line + 1}") from error


def parse_yaml(text: str) -> Any:
    """Dicts with texts as keys, lists, texts, numbers, flags and None.

    Raises:
        ValueError: with a sentence on what is wrong.
    """
    try:
        tree = yaml.load(text, _Loader)
        if _checked_size(tree, {}) > LIMIT:
            raise ValueError(f"with its aliases written out, it has more than {LIMIT:,} values")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return tree


def _checked_size(value: Any, sizes: Dict[int, float]) -> float:
    """How many values it has, with aliases written out; raises ValueError for one that is not plain."""
    if not isinstance(value, (dict, list)):
        if value is None or isinstance(value, (str, bool, int, float)):
            return 1
        raise ValueError(f"{str(value)[:40]!r} is a {type(value).__name__}; put it into quotes if it is a text")
    if id(value) not in sizes:
        sizes[id(value)] = math.inf  # as long as it is not known: of one that holds itself
        if isinstance(value, dict):
            wrong = [key for key in value if not isinstance(key, str)]
            if wrong:
                raise ValueError(f"the key {wrong[0]!r} is a {type(wrong[0]).__name__}; put it into quotes")
        items = value.values() if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_checked_size(item, sizes) for item in items)
    return sizes[id(value)]
