"""Runs an exported folder with Paddle Inference: numpy in, numpy out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import paddle
import yaml
from paddle import inference
from pydantic import BaseModel, ConfigDict

from ..device import select_device
from ..errors import UserError
from ..files import sha256

DESCRIPTION = "inference.yml"


class Predictor:
    """An exported model, ready to run.

    Parameters:
        model_dir: a folder that ``tools/export.py`` wrote.
        device: "cpu", "gpu", or "auto": a GPU where there is one.
        onednn: on the CPU, whether oneDNN's kernels are used; None: what the export found to be right.
        cpu_threads: how many threads; None: Paddle's own choice.

    Attributes:
        description: what ``inference.yml`` says: "task", "preprocess", "labels", "input_shape", "checked", ...

    Raises:
        UserError: a file of the folder is missing or damaged, or a GPU is asked for and there is none.

    Examples:
        >>> from ppcoordconv.deploy import Predictor
        >>> predictor = Predictor("output/coordconv/inference")  # doctest: +SKIP
        >>> predictor(np.zeros([8, 3, 32, 32], "float32")).shape  # doctest: +SKIP
        (8, 10)
    """

    def __init__(
        self,
        model_dir: str,
        device: str = "cpu",
        onednn: Optional[bool] = None,
        cpu_threads: Optional[int] = None,
    ) -> None:
        folder = Path(model_dir)
        self.description = _read_description(folder)
        program, params = (folder / self.description[key] for key in ("model_file", "params_file"))
        if program.suffix == ".json" and paddle.__version__ < "3":
            raise UserError(
                f"{program} is a model of Paddle 3, and this is {paddle.__version__}; "
                "export it again with --format legacy, which both read"
            )
        config = inference.Config(str(program), str(params))
        config.disable_glog_info()
        if select_device(device) == "gpu":
            config.enable_use_gpu(256, 0)
        else:
            config.disable_gpu()
            if onednn if onednn is not None else self.description["checked"]["onednn"]:
                config.enable_mkldnn()
            else:
                config.disable_mkldnn()
            if cpu_threads is not None:
                config.set_cpu_math_library_num_threads(cpu_threads)
        self._predictor = inference.create_predictor(config)
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """The network's outputs for a batch of inputs.

        Parameters:
            batch: float32 ``[N, *input_shape]``; N may be 0.

        Returns:
            ``[N, ...]``.

        Raises:
            UserError: the batch has another shape.
        """
        wanted = self.description["input_shape"]
        batch = np.ascontiguousarray(batch, np.float32)
        if list(batch.shape[1:]) != wanted:
            raise UserError(f"the model takes a batch of shape {['N', *wanted]}, got {list(batch.shape)}")
        if not len(batch):
            # oneDNN crashes on an empty batch.
            return self(np.zeros([1, *wanted], np.float32))[:0]
        self._input.reshape(batch.shape)
        self._input.copy_from_cpu(batch)
        self._predictor.run()
        return self._predictor.get_output_handle(self._predictor.get_output_names()[0]).copy_to_cpu()


class _Checked(BaseModel):
    onednn: bool


class _Description(BaseModel):
    """What ``inference.yml`` must hold, at the least."""

    model_file: str
    params_file: str
    files: Dict[str, str]
    input_shape: List[int]
    task: str
    preprocess: Dict[str, Any]
    labels: List[str]
    checked: _Checked

    model_config = ConfigDict(protected_namespaces=())


def _read_description(folder: Path) -> Dict[str, Any]:
    """``inference.yml``, after a look at the files it names."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; --model_dir takes one that tools/export.py wrote")
    path = folder / DESCRIPTION
    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
        _Description.model_validate(description)
    except FileNotFoundError:
        raise UserError(f"{folder} lacks {DESCRIPTION}; it is no folder that tools/export.py wrote") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged, export again: {error}") from error
    for name, checksum in description["files"].items():
        if not (folder / name).is_file():
            raise UserError(f"{folder} lacks {name}; export again")
        if sha256(folder / name) != checksum:
            raise UserError(f"{folder / name} is not the file that was exported but damaged or replaced; export again")
    return description
