"""What can be watched: a bar on a terminal, lines in a log file; and the record beside the weights."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from types import SimpleNamespace

import pytest
from conftest import ENVIRONMENT, ROOT
from tiny import TinyTask, config

from ppcoordconv.training import log
from ppcoordconv.training import run_info as record
from ppcoordconv.training.trainer import train

NUMBERS = r"loss \d\.\d{4}, lr \d\.\d\de[+-]\d\d, \d+ samples/s, data \d+ %"


@pytest.mark.parametrize("seconds, lines", [(1, 0), (11, 2), (31, 6)], ids=lambda value: str(value))
def test_in_a_log_file_there_is_a_line_every_30_seconds(tmp_path, capsys, monkeypatch, seconds, lines):
    task = TinyTask()
    loss, now = task.loss, [0]

    def slow_loss(*arguments):
        now[0] += seconds
        return loss(*arguments)

    task.loss = slow_loss
    monkeypatch.setattr(log, "time", SimpleNamespace(monotonic=lambda: now[0]))
    train(task, config(tmp_path, epochs=1))
    said = capsys.readouterr().err
    assert len(re.findall(rf"^epoch 1/1, step \d of 6: {NUMBERS}$", said, re.M)) == lines, said
    if lines == 6:  # the rates of those steps, from a 25th up and down to 0
        assert re.findall(r"lr (\S+),", said)[::5] == ["2.00e-03", "0.00e+00"]
    assert len(re.findall(r"^epoch 1/1: train_loss .*, loss .*, accuracy .*, \d+ s$", said, re.M)) == 1


def test_on_a_terminal_there_is_a_bar(tmp_path):
    script = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests' / 'training')!r}]\n"
        "from pathlib import Path; import ppcoordconv; from tiny import TinyTask, config\n"
        "from ppcoordconv.training.trainer import train\n"
        f"train(TinyTask(), config(Path({str(tmp_path)!r}), epochs=40))\n"
    )
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("4H", 50, 160, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", script], env=ENVIRONMENT, stderr=end)
    os.close(end)
    seen = b""
    try:
        while part := os.read(terminal, 4096):
            seen += part
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0, seen
    # Done, the bar, steps, the time that it took and will take.
    assert re.search(rf"epoch \d+/40, {NUMBERS}: +\d+%\|.*\| \d+/240 \[00:\d\d<00:\d\d, ", seen.decode())


def test_the_commit_is_recorded(tmp_path, monkeypatch):
    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=b", "-c", "commit.gpgsign=false"]
        run = subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return run.stdout.strip()

    def recorded():
        return json.loads(json.dumps(record.environment()))["git"]

    # The package lies in a repository of its own, then in a stranger's, as site-packages may.
    (tmp_path / "package").mkdir()
    file = tmp_path / "package" / "record.py"
    file.write_text("")
    monkeypatch.setattr(record, "__file__", str(file))
    assert recorded() is None
    git("init", "-q")
    assert recorded() is None
    git("add", ".")
    git("commit", "-q", "-m", "one")
    assert recorded() == git("rev-parse", "HEAD")
    file.write_text("changed")
    assert recorded() == git("rev-parse", "HEAD") + "+changes"
