"""Files are there whole or not at all."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.files import atomic_write, move_aside


def test_atomic_write(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"
    with pytest.raises(ZeroDivisionError), atomic_write(path) as temporary:
        temporary.write_text("two")
        raise ZeroDivisionError
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_directory_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a", Path("/proc/ppcoordconv/a")):
        with pytest.raises(UserError, match="can't be written"), atomic_write(path):
            pass


def test_a_full_disk(tmp_path):
    full = pytest.raises(UserError, match="can't be written: No space left")
    with full, atomic_write(tmp_path / "a"), Path("/dev/full").open("w") as file:
        file.write("x")


def test_killed_while_writing(tmp_path):
    (tmp_path / "a").write_text("old")
    code = (
        "import os, sys; from pathlib import Path; from ppcoordconv.utils.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as path:\n    path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], cwd=root).returncode == -9
    assert (tmp_path / "a").read_text() == "old"


def test_move_aside(tmp_path):
    (tmp_path / "others").write_text("stays")
    for number in (1, 2):
        (tmp_path / "mine").mkdir()
        aside = move_aside(tmp_path, ["mine", "not there"])
        assert aside == tmp_path / f"earlier.{number}"
        assert [path.name for path in aside.iterdir()] == ["mine"]
    assert (tmp_path / "others").read_text() == "stays"


def test_what_can_not_be_moved_aside_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("mine")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UserError, match="earlier.1 can't be written: Permission denied"):
        move_aside(tmp_path, ["a"])
    assert (tmp_path / "a").read_text() == "mine"
