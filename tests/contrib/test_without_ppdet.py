"""What the plug-in for PaddleDetection says where that is not installed."""

import subprocess
import sys

from conftest import ROOT


def test_the_import_says_what_is_missing():
    code = "import sys; sys.modules['ppdet'] = None; import ppcoordconv.contrib.ppdet"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    last = run.stderr.strip().splitlines()[-1]
    assert "ppcoordconv.contrib.ppdet is for PaddleDetection, which can't be imported here" in last
    assert last.endswith("pip install paddledet, or run it in PaddleDetection's own folder")
