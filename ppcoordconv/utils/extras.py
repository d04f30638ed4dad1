"""What only some commands need, and ``pip install ppcoordconv`` alone does not bring."""

from __future__ import annotations

from typing import Optional

# By module, the extra of pyproject.toml that brings it.
EXTRA_OF = {
    "visualdl": "train",
    "pydantic": "train",
    "yaml": "train",
    "tqdm": "train",
    "matplotlib": "train",
    "PIL": "train",
    "sklearn": "train",
    "safetensors": "train",
    "pycocotools": "detection",
    "pyvips": "detection",
    "paddle2onnx": "onnx",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "fastapi": "serve",
    "multipart": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
}


def what_to_install(error: ModuleNotFoundError) -> Optional[str]:
    """The end of a sentence on who lacks a module: "needs yaml: pip install ..."; None: no extra brings it."""
    module = (error.name or "").partition(".")[0]
    return f"needs {module}: pip install 'ppcoordconv[{EXTRA_OF[module]}]'" if module in EXTRA_OF else None
