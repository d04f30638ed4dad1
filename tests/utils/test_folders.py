"""A folder that is written anew is the old one or the new one, whole, whatever happens on the way."""

import errno
import os
import random
import resource
import time
from pathlib import Path

import pytest
from conftest import mounted
from forked import Forked

from ppcoordconv.utils import folders
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.folders import atomic_folder

pytestmark = pytest.mark.any_paddle

OWN = ("params", "model", "onnx", "description")
# Each with other files than the one before it.
VERSIONS = ({"params": "0", "model": "0", "description": "0"}, {"onnx": "1", "description": "1"})


def write(folder, version, size=1):
    with atomic_folder(folder, OWN) as new:
        for name, text in VERSIONS[version].items():
            (new / name).write_text(text * size)


def content(folder, size=1):
    return {path.name: path.read_text()[:: max(size, 1)] for path in folder.iterdir()}


def test_it_takes_the_place_of_the_one_before(tmp_path):
    for version in (0, 1, 0):
        write(tmp_path / "a" / "b", version)
        assert content(tmp_path / "a" / "b") == VERSIONS[version]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_what_else_is_in_it_stays(tmp_path):
    folder = tmp_path / "a"
    (folder / "notes" / "deep").mkdir(parents=True)
    (folder / "notes" / "deep" / "b.txt").write_text("mine")
    (folder / "link").symlink_to("nowhere")
    (folder / "mine.txt").write_text("mine")
    folder.chmod(0o750)
    for version in (0, 1):
        write(folder, version)
        assert not list(folder.glob(".*"))
        assert (folder / "notes" / "deep" / "b.txt").read_text() == (folder / "mine.txt").read_text() == "mine"
        assert (folder / "link").readlink() == Path("nowhere")
        assert {path.name for path in folder.iterdir()} == {"notes", "link", "mine.txt", *VERSIONS[version]}
        assert folder.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("others", [(), ("README",)], ids=["nothing else", "other files"])
@pytest.mark.parametrize("name", OWN)
def test_a_folder_is_in_a_files_way(tmp_path, name, others):
    """It is somebody's, whatever its name; where a file of that name is to be written, nothing is."""
    folder = tmp_path / "a"
    write(folder, 0)
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    for path in (folder / name / "mine", *map(folder.joinpath, others)):
        path.write_text("mine")
    before = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    if name in VERSIONS[1]:
        with pytest.raises(UserError, match=f"{name} is a folder, where a file is to be written"):
            write(folder, 1)
        assert {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} == before
    else:
        write(folder, 1)
    assert (folder / name / "mine").read_text() == "mine"


def test_an_error_leaves_it_as_it_was(tmp_path):
    write(tmp_path / "a", 0)
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "a", OWN) as new:
        (new / "model").write_text("half")
        raise ZeroDivisionError
    assert content(tmp_path / "a") == VERSIONS[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("reason", sorted(folders.CAN_NOT_EXCHANGE))
def test_where_folders_can_not_be_exchanged(tmp_path, monkeypatch, reason):
    class Library:
        @staticmethod
        def renameat2(*_):
            folders.ctypes.set_errno(reason)
            return -1

    monkeypatch.setattr(folders.ctypes, "CDLL", lambda *_, **__: Library)
    write(tmp_path / "a", 0)
    write(tmp_path / "a", 1)
    assert content(tmp_path / "a") == VERSIONS[1]
    (tmp_path / "a" / "mine.txt").write_text("mine")
    write(tmp_path / "a", 1)
    assert content(tmp_path / "a") == {**VERSIONS[1], "mine.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_folder_that_one_works_in_stays_that_one(tmp_path, monkeypatch):
    write(tmp_path / "a", 0)
    monkeypatch.chdir(tmp_path / "a")
    write(Path(), 1)
    assert content(Path()) == content(tmp_path / "a") == VERSIONS[1]


def test_where_only_the_folder_itself_can_be_written(tmp_path, monkeypatch):
    write(tmp_path / "a", 0)
    monkeypatch.setattr(folders.os, "access", lambda path, mode: path != tmp_path)
    write(tmp_path / "a", 1)
    assert content(tmp_path / "a") == VERSIONS[1]


def test_through_a_link(tmp_path):
    write(tmp_path / "a", 0)
    (tmp_path / "latest").symlink_to("a")
    write(tmp_path / "latest", 1)
    assert (tmp_path / "latest").is_symlink()
    assert content(tmp_path / "a") == VERSIONS[1]


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(UserError, match="a can't be written: it is a file, not a folder"):
        write(tmp_path / "a", 0)
    assert (tmp_path / "a").read_text() == "mine"


def test_what_another_process_writes_is_left_alone(tmp_path):
    with atomic_folder(tmp_path / "a", OWN) as new:
        write(tmp_path / "a", 1)
        (new / "model").write_text("0")
        (tmp_path / "a" / "mine.txt").write_text("mine")
    assert content(tmp_path / "a") == {"model": "0", "mine.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_of_the_system_is_a_sentence(tmp_path, monkeypatch):
    write(tmp_path / "a", 0)
    monkeypatch.setattr(folders, "CAN_NOT_EXCHANGE", ())
    monkeypatch.setattr(folders, "AT_FDCWD", -1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(folders.os, "fsencode", lambda path: b"nowhere")
    with pytest.raises(UserError, match="a can't be written: Bad file descriptor"):
        write(tmp_path / "a", 1)
    monkeypatch.undo()
    assert content(tmp_path / "a") == VERSIONS[0]


@pytest.mark.parametrize("name", [".writing-abcdefgha", ".writing-abcdefgha/left"])
def test_what_is_abandoned_is_removed_if_it_is_a_folder(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("half")
    write(tmp_path / "a", 0)
    assert path.exists() == (path.parent == tmp_path)


@pytest.mark.parametrize("place", ["a", "a/data"])
def test_a_mount_point_stays_one(tmp_path, place):
    write(tmp_path / "a", 0)
    with mounted(tmp_path / place, "size=1m"):
        (tmp_path / place / "mine.txt").write_text("mine")
        write(tmp_path / "a", 1)
        assert (tmp_path / place).is_mount()
        assert (tmp_path / place / "mine.txt").read_text() == "mine"
        assert {name: (tmp_path / "a" / name).read_text() for name in VERSIONS[1]} == VERSIONS[1]


def write_again_and_again(folder):
    while True:
        for version in (1, 0):
            write(folder, version)


@pytest.mark.slow
def test_killed_at_30_random_moments(tmp_path):
    """It is one version or the other, and the next to write removes what was left."""
    rng = random.Random(0)
    write(tmp_path / "a", 0)
    left = 0
    for _ in range(30):
        before = (tmp_path / "a").stat().st_ino
        process = Forked(write_again_and_again, tmp_path / "a")
        while (tmp_path / "a").stat().st_ino == before:
            assert process.exitcode is None
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.finish()
        assert content(tmp_path / "a") in VERSIONS
        left += len(list(tmp_path.iterdir())) - 1
    assert left > 0
    write(tmp_path / "a", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def write_with_little_room(folder, version, room):
    """A limit of the size of files stands in for a disk that is full; Python ignores the signal that goes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        write(folder, version, 1000)
        said = None
    except UserError as error:
        said = error
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    print(said)


@pytest.mark.parametrize("room", [0, 1, 500, 999, 1000])
def test_a_full_disk(tmp_path, room):
    write(tmp_path / "a", 0, 1000)
    said = Forked(write_with_little_room, tmp_path / "a", 1, room).finish().stdout
    if room < 1000:
        assert f"a can't be written: {os.strerror(errno.EFBIG)}" in said
    assert content(tmp_path / "a", 1000) == VERSIONS[room >= 1000]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
