"""Runs an exported folder over pictures, or points, and prints a JSON object for each, in order."""

import argparse
import json
from pathlib import Path

from _tool import Parser, run


def main(arguments: argparse.Namespace) -> int:
    from ppcoordconv.deploy import Predictor
    from ppcoordconv.deploy.infer import infer

    predictor = Predictor(str(arguments.model_dir), arguments.device)
    failed = False
    for result in infer(predictor, arguments.input, arguments.output):
        print(json.dumps(result, ensure_ascii=False), flush=True)
        failed |= "error" in result
    return int(failed)


if __name__ == "__main__":
    parser = Parser(description=__doc__)
    parser.add_argument("--model_dir", required=True, type=Path, help="a folder that tools/export.py wrote")
    help_text = "picture files, or folders of them; for a model that takes points, text files with an x,y a line"
    parser.add_argument("--input", required=True, type=Path, nargs="+", help=help_text)
    parser.add_argument("--output", type=Path, help="a folder for the pictures with their results")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="default: cpu")
    run(main, parser.parse_args())
