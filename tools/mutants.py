"""Breaks the code in one place at a time and runs its tests: which mutants survive, and how many are killed."""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from _tool import ROOT, Parser, leave, positive, run

PACKAGE = ROOT / "ppcoordconv"
# By the part that is mutated: its files, and the tests that must notice, the most likely to first.
PARTS: Dict[str, Tuple[List[str], List[str]]] = {
    "coords": (
        ["coords.py", "coord_grids.py", "encodings.py", "grids.py"],
        ["tests/test_coords.py", "tests/test_encodings.py", "tests/test_learnt.py", "tests/test_grids.py",
         "tests/test_given_coords.py",
         "tests/test_windows.py", "tests/test_relative.py",
         "tests/layers/test_layers.py"],
    ),
    "windows": (
        ["rows.py", "windows.py", "points.py", "tiling.py", "given_coords.py", "affine.py"],
        ["tests/test_windows.py", "tests/test_relative.py", "tests/test_tiling.py", "tests/test_given_coords.py"],
    ),
    "functional": (
        ["functional.py", "forms.py", "offset.py"],
        ["tests/test_offset.py", "tests/test_functional.py", "tests/layers/test_cache.py", "tests/test_windows.py",
         "tests/layers/test_layers.py"],
    ),
    "layers": (
        ["layers/*.py"],
        ["tests/layers/test_checks.py", "tests/layers/test_cache.py", "tests/layers/test_layers.py",
         "tests/layers/test_fast_bias.py", "tests/test_functional.py", "tests/convert/test_to_deploy.py",
         "tests/models/test_models.py"],
    ),
    "postprocess": (
        ["postprocess/*.py"],
        ["tests/postprocess", "tests/deploy/test_infer_tiles.py", "tests/tasks", "tests/deploy/test_infer.py"],
    ),
    "metrics": (["metrics/*.py"], ["tests/metrics", "tests/tasks"]),
}  # fmt: skip
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


# Its part, its file, and its number there; the code unchanged has a number too.
Mutant = Tuple[str, Path, int]
UNCHANGED = -1


class Mutator(ast.NodeTransformer):
    """Counts the places where code can be broken, and breaks the one of a number.

    Operators are swapped, conditions negated, numbers and flags changed, results left out. Texts are left alone: they
    are messages, which tests match in part; so are annotations, and what runs for type checkers alone.
    """

    def __init__(self, chosen: int = UNCHANGED) -> None:
        self.count = 0
        self.place = ""
        self._chosen = chosen

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.args.kw_defaults = [default and self.visit(default) for default in node.args.kw_defaults]
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # noqa: N802
        node.value = node.value and self.visit(node.value)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:  # noqa: N802
        if "TYPE_CHECKING" in ast.dump(node.test):
            return node
        self.generic_visit(node)
        return self._negated(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return self._negated(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        if type(node.ops[0]) in SWAPS and self._is_chosen(node):
            node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return self._swapped(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return self._swapped(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        return node.operand if isinstance(node.op, (ast.Not, ast.USub)) and self._is_chosen(node) else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:  # noqa: N802
        if isinstance(node.value, bool):
            return ast.copy_location(ast.Constant(not node.value), node) if self._is_chosen(node) else node
        if isinstance(node.value, (int, float)):
            return ast.copy_location(ast.Constant(node.value + 1), node) if self._is_chosen(node) else node
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:  # noqa: N802
        self.generic_visit(node)
        if node.value is not None and not isinstance(node.value, ast.Constant) and self._is_chosen(node):
            node.value = ast.copy_location(ast.Constant(None), node)
        return node

    def _swapped(self, node: ast.AST) -> ast.AST:
        if type(node.op) in SWAPS and self._is_chosen(node):  # type: ignore[attr-defined]
            node.op = SWAPS[type(node.op)]()  # type: ignore[attr-defined]
        return node

    def _negated(self, node: ast.AST) -> ast.AST:
        if self._is_chosen(node):
            node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node)  # type: ignore[attr-defined]
        return node

    def _is_chosen(self, node: ast.AST) -> bool:
        is_it = self.count == self._chosen
        if is_it:
            self.place = f"{node.lineno}: {ast.unparse(node).splitlines()[0]}"  # type: ignore[attr-defined]
        self.count += 1
        return is_it


def work(arguments: argparse.Namespace) -> int:
    from ppcoordconv.utils.errors import UserError
    from ppcoordconv.utils.progress import bar

    os.environ.update(EXAMPLES=arguments.examples, OMP_NUM_THREADS="1")
    mutants = list(_mutants(arguments.parts or list(PARTS)))
    if arguments.again:
        survivors = json.loads(arguments.again.read_text(encoding="utf-8"))["survivors"]
        mutants = [mutant for mutant in mutants if _name(mutant) in survivors]
    if arguments.sample:
        mutants = random.Random(0).sample(mutants, min(arguments.sample, len(mutants)))
    _import_what_all_need()
    parts = sorted({part for part, _, _ in mutants})
    firsts = [next(mutant for mutant in mutants if mutant[0] == part) for part in parts]
    for (part, _, _), place in _run_all([(*first[:2], UNCHANGED) for first in firsts], arguments):
        if place is None:
            raise UserError(f"the tests of {part} fail, or take over {arguments.timeout} s, with the code unchanged")
    survivors, counts = [], {part: [0, 0] for part in PARTS}
    with bar(len(mutants), unit="mutant") as progress:
        for mutant, place in _run_all(mutants, arguments):
            part = mutant[0]
            counts[part][0] += 1
            counts[part][1] += place is None
            if place is not None:
                survivors.append(_name(mutant))
                print(survivors[-1], file=sys.stderr, flush=True)
            progress.update()
    rows = {part: {"mutants": n, "killed": k} for part, (n, k) in counts.items() if n}
    killed, total = (sum(row[key] for row in rows.values()) for key in ("killed", "mutants"))
    print(json.dumps({"killed": round(killed / max(total, 1), 4), "parts": rows, "survivors": survivors}, indent=1))
    return 0


def _name(mutant: Mutant) -> str:
    _, path, number = mutant
    mutator = Mutator(number)
    mutator.visit(ast.parse(path.read_text(encoding="utf-8")))
    return f"{path.relative_to(ROOT)}:{mutator.place}"


def _mutants(parts: List[str]) -> Iterator[Mutant]:
    for part in parts:
        for pattern in PARTS[part][0]:
            for path in sorted(PACKAGE.glob(pattern)):
                mutator = Mutator()
                mutator.visit(ast.parse(path.read_text(encoding="utf-8")))
                yield from ((part, path, number) for number in range(mutator.count))


def _import_what_all_need() -> None:
    """Before the forks, so that none of them has to; not this package, which each imports with its mutant."""
    import hypothesis  # noqa: F401
    import paddle  # noqa: F401
    import paddle.vision  # noqa: F401
    import pytest  # noqa: F401

    for name in [name for name in sys.modules if name.split(".")[0] == "ppcoordconv"]:
        del sys.modules[name]


def _run_all(mutants: List[Mutant], arguments: argparse.Namespace) -> Iterator[Tuple[Mutant, Optional[str]]]:
    """Each with its place if the tests of its part don't notice it, else None; as they end, several at once.

    They are forked by the main thread: in a fork of another, Paddle is not in dynamic mode.
    """
    waiting = iter(mutants)
    running: Dict[int, Tuple[Mutant, str, tempfile.TemporaryDirectory, float]] = {}
    while True:
        for mutant in itertools.islice(waiting, arguments.jobs - len(running)):
            folder = tempfile.TemporaryDirectory()
            place = _write(mutant, Path(folder.name))
            child = os.fork()
            if child == 0:
                _run_tests(Path(folder.name), PARTS[mutant[0]][1])
            running[child] = mutant, place, folder, time.monotonic() + arguments.timeout
        if not running:
            return
        time.sleep(0.05)
        for child, (mutant, place, folder, end) in list(running.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if not done and time.monotonic() > end:  # a loop without end is noticed
                os.killpg(child, signal.SIGKILL)
                done, status = os.waitpid(child, 0)
            if done:
                del running[child]
                folder.cleanup()
                yield mutant, None if status else place


def _write(mutant: Mutant, folder: Path) -> str:
    """Writes the package with that mutant, and returns its place: a whole one, as Paddle reads the source it traces."""
    _, path, number = mutant
    mutator = Mutator(number)
    mutated = ast.fix_missing_locations(mutator.visit(ast.parse(path.read_text(encoding="utf-8"))))
    target = folder / "ppcoordconv"
    shutil.copytree(PACKAGE, target, copy_function=os.symlink, ignore=shutil.ignore_patterns("__pycache__"))
    file = target / path.relative_to(PACKAGE)
    file.unlink()
    file.write_text(ast.unparse(mutated), encoding="utf-8")
    return mutator.place


def _run_tests(folder: Path, tests: List[str]) -> None:
    import pytest

    os.setpgid(0, 0)
    os.chdir(ROOT)
    sys.path[:] = [str(folder), *(p for p in sys.path if p not in ("", str(ROOT)))]
    paths = [test for test in tests if (ROOT / test).exists()]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-o", "pythonpath=tools tests", "--no-header"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = pytest.main([*options, *paths])
    os._exit(int(status != 0))


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="mutants.py", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parser.add_argument("--sample", type=positive, help="so many of them, drawn at random; default: all")
    help_text = "only those that survived an earlier run, by the file of what it printed"
    parser.add_argument("--again", type=Path, metavar="FILE", help=help_text)
    parser.add_argument("--jobs", type=positive, default=os.cpu_count(), help="at once; default: the cores")
    parser.add_argument("--timeout", type=positive, default=300, help="seconds for a mutant's tests; default: 300")
    parser.add_argument("--examples", default="0.1", help="the part of hypothesis's examples that is run; default: 0.1")
    return run(parser, argv, work)


if __name__ == "__main__":
    leave(main())
