"""Converts a legacy model to ONNX: apart, since Paddle2ONNX ends the process at what it can't convert."""

import sys

import paddle2onnx

OPSET = 17

if __name__ == "__main__":
    model, params, output = sys.argv[1:]
    paddle2onnx.export(model, params, save_file=output, opset_version=OPSET, enable_onnx_checker=True)
