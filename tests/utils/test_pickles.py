"""Pickles of plain values and arrays, as Paddle and numpy write them, and forged ones, of which none does anything."""

import collections
import io
import pickle
import pickletools
import struct
import tracemalloc

import numpy as np
import paddle
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from ppcoordconv.utils.pickles import read_pickle
from ppcoordconv.utils.weights import load_state

pytestmark = pytest.mark.any_paddle

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16", ">f4", ">i8"]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda dtype: st_np.arrays(dtype, st_np.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
plain = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    plain | arrays,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=8,
)


def read(data):
    return read_pickle(io.BytesIO(data), len(data))


def assert_same(got, expected):
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        assert_same(list(got.values()), list(expected.values()))
    elif isinstance(expected, (list, tuple)):
        assert len(got) == len(expected)
        for one, other in zip(got, expected):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert got.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(got, expected)
    else:
        assert got == expected


@given(st.dictionaries(st.text(), values, max_size=5), st.integers(2, 5), st.booleans())
@settings(max_examples=examples(200))
def test_what_is_pickled_is_read(state, protocol, fortran):
    if fortran:
        state = {k: np.asfortranarray(v) if isinstance(v, np.ndarray) and v.ndim else v for k, v in state.items()}
    assert_same(read(pickle.dumps(state, protocol)), state)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_paddle_saves_is_read(tmp_path, protocol):
    tied = np.arange(6, dtype="float32").reshape(2, 3)
    state = {"a": paddle.ones([2, 3]), "nested": {"b": paddle.zeros([1]), "rate": 0.5}, "c": tied, "d": tied}
    paddle.save(state, str(tmp_path / "a"), protocol=protocol)
    got = load_state(tmp_path / "a")
    assert got["a"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert (got["nested"]["b"].tolist(), got["nested"]["rate"]) == ([0], 0.5)
    assert got["c"].tolist() == got["d"].tolist() == tied.tolist()
    assert_same(read(pickle.dumps(collections.OrderedDict(a=np.float64(2)), protocol)), {"a": np.float64(2)})


# In the words of pickletools.
def text(value):
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def name(module, function):
    return text(module) + text(function) + b"\x93"


def dtype(code, state=b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"):
    return name("numpy", "dtype") + text(code) + b"\x89\x88\x87R" + state + b"b"


EMPTY_ARRAY = name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
FIELDS = b"(K\x03" + text("|") + b"N" + text("x") + b"\x85}" + text("x") + text("O8") + b"K\x00\x86s"
FIELDS += b"K\x08K\x01K\x1bt"


def array(made_dtype, shape=b"K\x01\x85", data=b"C\x04\x00\x00\x80\x3f"):
    return EMPTY_ARRAY + b"(K\x01" + shape + made_dtype + b"\x89" + data + b"tb"


def state(value):
    return b"\x80\x04}" + text("w") + value + b"s."


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def memoized(value, again):
    """A list of what is made of one value, 300 times."""
    return b"\x80\x04](" + value + b"q\x00" + again * 300 + b"e."


text_of_100_000 = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
BIG_ENDIAN = b"(K\x03" + text(">") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"

# A tuple of itself twice, 60 times.
TWICE = b")" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(60))

FORGED = {
    "object fields by BUILD": state(array(dtype("V8", FIELDS), data=b"C\x08" + b"A" * 8)),
    "object fields of a plain dtype": state(array(dtype("f4", FIELDS))),
    "objects": state(array(dtype("O8"), data=b"C\x08" + b"A" * 8)),
    "text": state(array(dtype("S4"))),
    "unicode": state(array(dtype("U1"))),
    "long doubles": state(array(dtype("f16"), data=b"C\x10" + b"A" * 16)),
    "dates": state(array(dtype("M8"), data=b"C\x08" + b"A" * 8)),
    "a dtype of a dtype": state(array(name("numpy", "dtype") + dtype("f4") + b"\x89\x88\x87R")),
    "an unbuilt dtype": state(array(name("numpy", "dtype") + text("f4") + b"\x89\x88\x87R")),
    "no dtype": state(array(text("f4"))),
    "another byte order": state(array(dtype("f4", b"(K\x03" + text("?") + b"NNNK\x00K\x00K\x00t"))),
    "too few bytes": state(array(dtype("f4"), shape=b"K\x02\x85")),
    "too many bytes": state(array(dtype("f4"), shape=b"K\x00\x85")),
    "a large shape": state(array(dtype("f4"), shape=number(2**40) + b"\x85")),
    "a shape that wraps around": state(array(dtype("f4"), shape=number(2**62) + b"K\x04\x86")),
    "a negative shape": state(array(dtype("f4"), shape=number(-1) + b"\x85")),
    "a shape of floats": state(array(dtype("f4"), shape=b"G?\xf0\x00\x00\x00\x00\x00\x00\x85")),
    "a shape of flags": state(array(dtype("f4"), shape=b"\x88\x85")),
    "a list as shape": state(array(dtype("f4"), shape=b"]K\x01a")),
    "text as data": state(array(dtype("f4"), data=text("abcd"))),
    "a list as data": state(array(dtype("f4"), data=b"]")),
    "a state of nothing": state(EMPTY_ARRAY + b"Nb"),
    "a short state": state(EMPTY_ARRAY + b")b"),
    "attributes for a dict": state(b"}}" + text("x") + b"K\x01sb"),
    "an array called": state(name("numpy", "ndarray") + number(2**40) + b"\x85\x85R"),
    "an array as a function": state(array(dtype("f4")) + b")R"),
    "text as a function": state(text("print") + b")R"),
    "a scalar of many bytes": state(name("numpy.core.multiarray", "scalar") + dtype("f4") + b"C\x05AAAAA\x86R"),
    "bytes in another encoding": state(name("_codecs", "encode") + text("a") + text("rot13") + b"\x86R"),
    "a tuple of arguments": state(name("builtins", "tuple") + b"]K\x01a\x85R"),
    "system": b"cos\nsystem\n" + text("touch hacked") + b"\x85R.",
    "eval": b"cbuiltins\neval\n" + text("1") + b"\x85R.",
    "getattr": state(name("builtins", "getattr") + b")R"),
    "a name with dots": state(name("numpy", "dtype.__class__") + b")R"),
    "numpy.load": b"cnumpy\nload\n.",
    "a new object": state(name("collections", "OrderedDict") + b")\x81"),
    "an instance": b"(i__main__\nA\n.",
    "an object": b"(c__main__\nA\no.",
    "an extension": state(b"\x82\x01"),
    "a persistent id": b"Pid\n.",
    "a memo place that is empty": state(b"h\x07"),
    "a long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"abc.",
    "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc.",
    "a long bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc.",
    "a long number": b"\x80\x04\x8b" + struct.pack("<i", 2**30) + b"abc.",
    "a long frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"abc",
    "a number in 5,000 digits": b"I" + b"9" * 5000 + b"\n.",
    "empty dicts": b"\x80\x04" + b"}" * 2**20 + b".",
    "marks": b"\x80\x04" + b"(" * 2**20 + b".",
    "memoized again and again": b"\x80\x04N" + b"\x94" * 2**20 + b".",
    # What is in the file once, made into values again and again.
    "one text as bytes": memoized(text_of_100_000, name("_codecs", "encode") + b"h\0" + text("latin1") + b"\x86R"),
    "bytes as arrays of another order": memoized(
        b"B" + struct.pack("<I", 100_000) + bytes(100_000),
        array(dtype("f4", BIG_ENDIAN), shape=b"M\xa8\x61\x85", data=b"h\0"),
    ),
    "pairs as dicts": memoized(
        b"](" + b"".join(b"M" + struct.pack("<H", n) + b"N\x86" for n in range(3000)) + b"e",
        name("collections", "OrderedDict") + b"h\0\x85R",
    ),
    # Each of these took minutes, gigabytes or the process.
    "a nested tuple as a key": state(b"}" + b")" + b"\x85" * 10_000 + b"Ns"),
    "a tuple of itself as a key": state(b"}" + TWICE + b"Ns"),
    "a tuple of itself as a module": state(TWICE + text("x") + b"\x93"),
    "a tuple of itself as a function": state(text("x") + TWICE + b"\x93"),
    "a tuple of itself as a dtype": state(name("numpy", "dtype") + TWICE + b"\x85R"),
    "a tuple of itself as an encoding": state(name("_codecs", "encode") + text("a") + TWICE + b"\x86R"),
    "a tuple of itself as an order": state(
        name("numpy.core.numeric", "_frombuffer") + b"(C\x00" + dtype("f4") + b")" + TWICE + b"tR"
    ),
    "a tuple of itself": state(TWICE),
    "nested lists": state(b"]" * 10_000 + b"a" * 9_999),
    "a shape of many axes": state(
        array(dtype("f4"), shape=b"(\x8a\xff" + b"\x7f" * 255 + b"q\x00" + b"h\x00" * 20_000 + b"t")
    ),
    "numbers as keys": state(b"}K\x01Ns"),
    "no mark": b"\x80\x04t.",
    "an empty stack": b"\x80\x04a.",
    "nothing": b"\x80\x04.",
    "two values": b"\x80\x04NN.",
    "a list as a key": b"\x80\x04}]Ns.",
    "an odd number of items": b"\x80\x04}(" + text("a") + b"Nh\x07u.",
    "no end": b"\x80\x04}",
    "another protocol": b"\x80\x99}.",
}


# Each in both ways to name it.
FUNCTIONS = [
    "os.system", "posix.system", "nt.system", "os.execv", "subprocess.Popen", "subprocess.check_output", "pty.spawn",
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.getattr", "builtins.setattr",
    "builtins.__import__", "builtins.map", "builtins.print", "builtins.list", "builtins.bytearray", "builtins.tuple.x",
    "__builtin__.eval", "__main__.A", "sys.exit", "importlib.import_module", "runpy.run_path", "code.interact",
    "pickle.loads", "pickle._loads", "marshal.loads", "shutil.rmtree", "ctypes.CDLL", "ctypes.string_at",
    "types.CodeType", "operator.attrgetter", "operator.methodcaller", "functools.partial", "copyreg._reconstructor",
    "copyreg.__newobj__", "codecs.decode", "_codecs.decode", "_codecs.lookup", "collections.deque",
    "collections.defaultdict", "collections.OrderedDict.update", "numpy.load", "numpy.fromfile", "numpy.memmap",
    "numpy.frombuffer", "numpy.zeros", "numpy.save", "numpy.recarray", "numpy.matrix", "numpy.core.records.fromfile",
    "numpy.core.multiarray.fromfile", "numpy.core._multiarray_umath.zeros",
    "numpy.core.multiarray._reconstruct.__self__", "numpy.lib.npyio.load", "numpy.ctypeslib.as_array",
    "numpy.testing.rundocs", "numpy.random._pickle.__randomstate_ctor", "paddle.load", "paddle.to_tensor",
    "paddle.base.core.Tensor", "torch._utils._rebuild_tensor_v2", "torch.load", "joblib.load",
]  # fmt: skip
for function in FUNCTIONS:
    module, _, last = function.rpartition(".")
    FORGED[f"{function} in a line"] = f"c{module}\n{last}\n(tR.".encode()
    FORGED[f"{function} from the stack"] = state(name(module, last) + b")R")
for code in [
    "O", "S", "U", "V", "M8", "m8", "g", "f12", "f16", "c32", "i3", "i16", "u16", "b2", "a", "p", "f4,f4", "(2,)f4",
    "<f4", ">f4", "f4()", "f4\n",
]:  # fmt: skip
    FORGED[f"arrays of {code!r}"] = state(array(dtype(code)))
# The instructions that no file of weights has, each with an argument where it takes one.
for instruction in (
    b"I1\n", b"L1L\n", b"\x8b\x01\x00\x00\x00\x01", b"S'a'\n", b"T\x01\x00\x00\x00a", b"U\x01a", b"\x97", b"\x98",
    b"Va\n", b"F1.5\n", b"(l", b"(d", b"\x8f", b"\x8f(\x90", b"(\x91", b"N0", b"N2", b"(1", b"N\x940g0\n", b"Np0\n",
    b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00", b"(i__main__\nA\n", b"(c__main__\nA\no", b"N)\x81",
    b"N)}\x92", b"Pa\n", b"NQ",
):  # fmt: skip
    FORGED[f"the instruction {instruction!r}"] = state(instruction)
# Those with a length before their bytes, which are not there.
for instruction, size in (
    (b"X", 4),
    (b"\x8d", 8),
    (b"B", 4),
    (b"\x8e", 8),
    (b"\x96", 8),
    (b"\x8a", 1),
    (b"\x8c", 1),
    (b"C", 1),
):
    for length in (2**7 + 99, 2**31 - 1, 2**40, 2**63 - 1):
        if length < 2 ** (8 * size):
            FORGED[f"{instruction!r} of {length} bytes"] = (
                b"\x80\x05" + instruction + length.to_bytes(size, "little") + b"abc."
            )


def test_there_are_hundreds():
    assert len(FORGED) >= 250


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_file_raises_and_takes_no_memory(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = FORGED[kind]
    tracemalloc.start()
    try:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - load_state makes any of them a UserError
            read(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not isinstance(caught.value, (MemoryError, RecursionError))
    if kind.endswith(("in a line", "from the stack")) or kind.startswith("the instruction"):
        assert "no file of weights needs" in str(caught.value)
    assert peak < (2**25 if len(data) >= 2**20 else max(2**20, 6 * len(data)))
    assert not list(tmp_path.iterdir())


def test_a_good_file_of_the_same_words_is_read():
    """So that the forged ones are refused for what they are named after."""
    assert read(state(array(dtype("f4")))) == {"w": np.ones(1, "f4")}
    assert list(read(state(b"N" + b"r\xff\xff\xff\xff"))) == ["w"]
    pickletools.dis(state(array(dtype("f4"))), io.StringIO())
    many = {f"layer{i}.weight": np.ones(100, "f4") for i in range(20_000)}
    assert len(read(pickle.dumps(many))) == len(many)


def test_what_is_there_twice_is_read_once():
    shared = [1, 2]
    got = read(pickle.dumps({"a": shared, "b": [shared, shared]}))
    assert got == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
    assert got["a"] is got["b"][0]


@pytest.mark.parametrize(
    ("levels", "make"),
    [(50, lambda inner: [inner, inner]), (50, lambda inner: (inner, inner)), (101, lambda inner: {"a": inner})],
)
def test_what_could_not_be_walked_through_is_refused(levels, make):
    value = []
    for _ in range(levels):
        value = make(value)
    with pytest.raises(ValueError, match="more than 10,000,000 values|nested deeper than 100"):
        read(pickle.dumps({"a": value}))
    me = []
    me.append(me)
    with pytest.raises(ValueError, match="more than 10,000,000 values"):
        read(pickle.dumps(me))


@pytest.mark.parametrize(
    "value",
    [
        b"ccollections\nOrderedDict\n",
        b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R",
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R",
    ],
    ids=["function", "dtype", "array"],
)
def test_what_was_begun_and_not_finished_is_refused(value):
    with pytest.raises(ValueError, match="begun and not finished"):
        read(b"\x80\x03}X\x01\x00\x00\x00a" + value + b"s.")
