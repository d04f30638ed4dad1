"""A small training as each of several processes runs it: by ``paddle.distributed.launch``, or forked."""

import atexit
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
import ppcoordconv  # noqa: E402, F401 - before paddle, whose GPU build of 2.6.2 brings a zlib of its own

# isort: split
import paddle  # noqa: E402
from tiny import TinyTask, config  # noqa: E402

from ppcoordconv import commands  # noqa: E402
from ppcoordconv.training import dist  # noqa: E402
from ppcoordconv.training.evaluation import evaluate  # noqa: E402
from ppcoordconv.training.trainer import find_resume, train  # noqa: E402


def main(arguments):
    """A folder, and changes of the config, KEY=VALUE; ``slow`` and ``drawing`` are seconds of a step and a picture.

    It ends as the tools do: one process that waits in the interpreter's exit, as was seen on Paddle 2.6.2, must not
    hold up the job.
    """
    folder, changes = Path(arguments[0]), dict(pair.split("=") for pair in arguments[1:])
    paddle.set_device(changes.pop("device", "cpu"))
    dist.init()
    if dist.count() > 1:
        atexit.register(time.sleep, 1000)
    slow, drawing = (float(changes.pop(name, 0)) for name in ("slow", "drawing"))
    task = TinyTask(dropout=0.0)
    loss, visualize = task.loss, task.visualize
    task.loss = lambda *a: (time.sleep(slow), loss(*a))[1]
    task.visualize = lambda outputs: (time.sleep(drawing), visualize(outputs))[1]
    (folder / f"pid{dist.rank()}").write_text(str(os.getpid()))
    run = config(folder, output_dir=folder / "run", **changes)
    train(task, run, find_resume("auto", run))
    outputs = evaluate(task, task.test_samples(), 7)[1]
    (folder / f"outputs{dist.rank()}.txt").write_text(repr(outputs.tolist()))
    return 0


def run_part(arguments, environment):
    """To be called in a process of its own, with the variables that ``paddle.distributed.launch`` would set."""
    os.environ.update(environment)
    commands.leave(commands.run(commands.Parser(), [], lambda _: main(arguments)))


if __name__ == "__main__":
    run_part(sys.argv[1:], {})
