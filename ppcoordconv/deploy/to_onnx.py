"""Converts a legacy model to ONNX: apart, since Paddle2ONNX ends the process at what it can't convert."""

import sys

import onnx
import paddle2onnx

from .apart import end_with_parent

OPSET = 17

if __name__ == "__main__":
    end_with_parent()
    model, params, output = sys.argv[1:]
    paddle2onnx.export(model, params, save_file=output, opset_version=OPSET, enable_onnx_checker=True)
    # The shapes that Paddle2ONNX notes between operators are wrong after some broadcasts, and engines trust them.
    graph = onnx.load(output)
    del graph.graph.value_info[:]
    onnx.save(graph, output)
