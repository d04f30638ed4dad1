"""Runs what the other packages export, by Paddle Inference."""

from pathlib import Path
from typing import Dict, Union

import numpy as np
import paddle


def served(folder: Path, inputs: Union[np.ndarray, Dict[str, np.ndarray]]) -> np.ndarray:
    """The first output of the model in a folder; its inputs by name, or the one."""
    from ppcoordconv.deploy.runtimes import Settings, paddle_config

    (model,) = (path for path in folder.iterdir() if path.suffix in (".json", ".pdmodel"))
    predictor = paddle.inference.create_predictor(paddle_config(model, Settings(), False, []))
    for name in predictor.get_input_names():
        predictor.get_input_handle(name).copy_from_cpu(inputs[name] if isinstance(inputs, dict) else inputs)
    predictor.run()
    return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
