"""Reads what ``paddle.save`` writes, without Python's unpickler: nothing but plain values and arrays of numbers.

A pickle is a program for a small machine. Python's runs any of them; even kept to a few functions it can be talked into
arrays whose bytes are taken for pointers. This machine knows the instructions that a file of weights needs, and calls
nothing of numpy but ``frombuffer`` for a known dtype, once the sizes agree.
"""

from __future__ import annotations

import math
import pickletools
import re
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Tuple

import numpy as np

# Instructions, for a file of any size, and one more for so many bytes. An array takes some thirty, so that this is
# enough for the largest networks, and bounds what a file that holds nothing but empty dicts takes.
LIMIT, BYTES_AN_INSTRUCTION = 100_000, 16
DEPTH, VALUES = 100, 10_000_000
# Axes and lengths of an array, as numpy has them.
MAX_AXES, MAX_LENGTH = 32, 2**63
# The instructions that push their argument, as it stands in the file.
PUSHED = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
PROTOCOLS = (2, 3, 4, 5)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY: Dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PLAIN = (dict, list, tuple, str, bytes, bytearray, bool, int, float, type(None), np.ndarray, np.generic)
DTYPE = re.compile("f[248]|[iu][1248]|b1|c8|c16")


class _Unbuilt:
    """An array or a dtype before its state has come; what refers to it gets ``value``."""

    value: Any = None

    def __init__(self, code: str = "") -> None:
        self.code = code


class _Bounded:
    """A file that is never asked for more than it holds: memory is taken before it is read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.tell, self.readline = file.tell, file.readline

    def read(self, count: int) -> bytes:
        if count > self._size - self._file.tell():
            raise ValueError("it ends in the middle of a value")
        return self._file.read(count)


def read_pickle(file: BinaryIO, size: int) -> Any:
    """Reads one pickle, of protocol 2 to 5, from an open file of that size, and leaves the file at its end.

    Returns:
        Dicts, lists, tuples, text, bytes, numbers, None, and numpy arrays and scalars.

    Raises:
        ValueError, or what else a damaged file makes Python raise: it is no pickle, or holds something else.
    """
    stack: List[Any] = []
    marks: List[int] = []
    memo: Dict[int, Any] = {}

    def since_mark() -> List[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    # Twice what protocol 2 needs, where bytes are texts first; and some for small files.
    left = 4 * size + 2**18
    limit = LIMIT + size // BYTES_AN_INSTRUCTION
    instructions: Iterator[Any] = pickletools.genops(_Bounded(file, size))  # type: ignore[arg-type]
    for count, (instruction, argument, _) in enumerate(instructions):
        name = instruction.name
        if count == limit:
            raise ValueError(f"its {size:,} bytes take more than {limit:,} instructions")
        if name in PUSHED:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in TUPLES:
            stack.append(tuple([stack.pop() for _ in range(TUPLES[name])][::-1]))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            _of_kind(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else since_mark()
            _of_kind(stack[-1], dict).update(zip(map(_key, items[::2]), items[1::2]))
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            known = memo[argument]
            stack.append(known.value if isinstance(known, _Unbuilt) and known.value is not None else known)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = argument.split(" ") if name == "GLOBAL" else [stack.pop(), stack.pop()][::-1]
            stack.append(_function(*words))
        elif name == "REDUCE":
            arguments, function = _of_kind(stack.pop(), tuple), stack.pop()
            if function not in FUNCTIONS.values():
                raise ValueError("it calls what is no function")
            stack.append(function(*arguments))
            left -= _bytes_of(stack[-1])
        elif name == "BUILD":
            state, unbuilt = _of_kind(stack.pop(), tuple), _of_kind(stack[-1], _Unbuilt)
            unbuilt.value = stack[-1] = _dtype(unbuilt.code, state) if unbuilt.code else _array(*state)
            left -= _bytes_of(unbuilt.value)
        elif name == "PROTO" and argument in PROTOCOLS:
            continue
        elif name not in ("FRAME", "STOP"):
            raise ValueError(f"it asks for {name}, which no file of weights needs")
        if left < 0:
            raise ValueError(f"its {size:,} bytes are made into values of more than four times that")
    (value,) = stack
    _check_values(value)
    return value


def _check_values(value: Any) -> None:
    """That it holds what ``read_pickle`` returns, and whoever walks through it, as ``repr``, comes to an end.

    Raises:
        ValueError: it holds something else, is nested deeper than ``DEPTH``, or has more than ``VALUES`` values with
            its references written out.
    """
    counts: Dict[int, float] = {}
    open_values: List[Tuple[Any, bool]] = [(value, False)]
    depth = 0
    while open_values:
        current, is_done = open_values.pop()
        items = list(current.values()) if isinstance(current, dict) else current
        if is_done:
            depth -= 1
            counts[id(current)] = 1 + sum(counts.get(id(item), 1) for item in items)
            if counts[id(current)] > VALUES:
                raise ValueError(f"with its references written out, it has more than {VALUES:,} values")
        elif isinstance(current, (dict, list, tuple)) and id(current) not in counts:
            counts[id(current)] = math.inf  # as long as it is open: one that holds itself
            depth += 1
            if depth > DEPTH:
                raise ValueError(f"it is nested deeper than {DEPTH}")
            open_values.append((current, True))
            open_values.extend((item, False) for item in items)
        elif not isinstance(current, PLAIN):
            raise ValueError("it holds an array or a function that was begun and not finished")


def _key(value: Any) -> str:
    """Of a dict. Others than texts might be compared, or hashed, without end."""
    return _of_kind(value, str)


def _bytes_of(value: Any) -> int:
    """The memory of a value built from others: one text in the file may be referred to many times."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.nbytes
    return 100 * len(value) if isinstance(value, dict) else len(value) if isinstance(value, bytes) else 0


def _of_kind(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it holds a {type(value).__name__} in the place of a {kind.__name__.strip('_').lower()}")
    return value


def _dtype(code: str, state: Tuple[Any, ...]) -> np.dtype:
    _, order, subdtype, names, fields, *_ = state
    if (subdtype, names, fields) != (None, None, None) or order not in ("<", ">", "=", "|"):
        raise ValueError("it holds arrays of something else than numbers")
    return np.dtype(order + code)


def _begin_dtype(code: Any, *_: Any) -> _Unbuilt:
    if not DTYPE.fullmatch(_of_kind(code, str)):
        raise ValueError(f"it holds arrays of {code[:20]!r}, which are not numbers of up to 8 bytes")
    return _Unbuilt(code)


def _array(_: Any, shape: Any, dtype: Any, is_fortran: Any, data: Any) -> np.ndarray:
    return _from_buffer(data, dtype, shape, "F" if is_fortran is True else "C")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    _of_kind(dtype, np.dtype)
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError("it holds an array without its bytes")
    if len(_of_kind(shape, tuple)) > MAX_AXES or not all(type(n) is int and 0 <= n < MAX_LENGTH for n in shape):
        raise ValueError("it holds an array of no shape")
    if _of_kind(order, str) not in ("C", "F"):
        raise ValueError(f"it holds an array in the order {order[:20]!r}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"it holds {len(data)} bytes for an array of shape {list(shape)[:8]} and {dtype}")
    array = np.frombuffer(data, dtype) if data else np.zeros(0, dtype)
    return array.reshape(shape, order=order).astype(dtype.newbyteorder("="), copy=False)


def _scalar(dtype: Any, data: Any) -> Any:
    return _from_buffer(data, dtype, (), "C")[()]


def _no_bytes() -> bytes:
    """As protocol 2 writes them."""
    return b""


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes, as protocol 2 writes them."""
    if _of_kind(encoding, str) != "latin1":
        raise ValueError(f"it holds bytes as {encoding[:20]!r}")
    return _of_kind(text, str).encode("latin1")


def _ordered_dict(pairs: Any = ()) -> Dict[Any, Any]:
    return {_key(key): value for key, value in pairs}


def _tensor(named: Any) -> np.ndarray:
    """A tensor below the first level of a dict: its name and its array."""
    name, array = named
    _of_kind(name, str)
    return _of_kind(array, np.ndarray)


def _ndarray(*_: Any) -> None:
    """Only ever an argument."""
    raise ValueError("it makes arrays in another way than numpy writes them")


FUNCTIONS: Dict[Tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("builtins", "tuple"): _tensor,
    ("builtins", "bytes"): _no_bytes,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _begin_dtype,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Unbuilt(),
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
}


def _function(module: Any, name: Any) -> Callable[..., Any]:
    # numpy 2 moved its core, Python 3 its builtins.
    _of_kind(module, str), _of_kind(name, str)
    key = (module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins"), name)
    if key not in FUNCTIONS:
        raise ValueError(f"it asks for {module[:40]}.{name[:40]}, which no file of weights needs")
    return FUNCTIONS[key]
