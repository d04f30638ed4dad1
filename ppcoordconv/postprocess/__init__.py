"""Served forms: what the output of an exported network means, by the name that ``inference.yml`` has.

A class decorated with ``SERVED.register`` in a module of this package is a served form of the name in its attribute
``name``. Evaluation, export and inference ask it, and nothing else knows it.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..utils.arguments import has_shape
from ..utils.errors import UserError
from ..utils.registry import Registry

# The outputs that a result was made of, empty where they are not kept, and the result.
Result = Tuple[np.ndarray, Dict[str, Any]]
SERVED = Registry("served form", __name__)


def check_labels(count: int, labels: Sequence[str]) -> None:
    """Raises a UserError where a model gives more classes than there are labels."""
    if count > len(labels):
        raise UserError(f"the model gives {count} classes, and inference.yml has {len(labels)} labels; export it again")


def served_form_of(description: Dict[str, Any]) -> ServedForm:
    """The served form of an exported model, with what its description says; raises a UserError where it has none."""
    if description["served_form"] is None:
        raise UserError(
            "this model was exported without a served form, so that nothing knows what its outputs mean: call it by "
            "ppcoordconv.deploy.Predictor, or, with one input and one output, export it with served_form, preprocess "
            "and labels"
        )
    form: ServedForm = SERVED.build(description["served_form"])
    threshold = description.get("score_threshold")
    if form.score_threshold is not None and threshold is not None:
        form.score_threshold = threshold
    form.edges = description.get("edges") or []
    return form


def decoded(form: ServedForm, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
    """``form.decode``, with an "error" for each row that has infinite numbers or NaN.

    Raises:
        UserError: the outputs are not of the form's shape: ``inference.yml`` is not that of the model.
    """
    wanted = form.output_shape
    if wanted and not has_shape(outputs.shape[1:], wanted):
        raise UserError(
            f"the served form {form.name!r} takes outputs of {['N', *wanted]}, and the model gives "
            f"{list(outputs.shape)}; export it again"
        )
    is_finite = np.isfinite(outputs.reshape([len(outputs), -1])).all(axis=1)
    results = form.decode(np.nan_to_num(outputs), labels)
    return [
        result if finite else {"error": "the model's output is not finite"}
        for result, finite in zip(results, is_finite)
    ]


class ServedForm:
    """From a network's outputs to results, which are plain values, or become them by ``as_plain``.

    Attributes:
        name: what ``inference.yml`` calls it.
        output_shape: of one output, with None for any length; None: it is not checked.
        without_onnx: why a network with these outputs can't be exported to ONNX; None: it can.
        score_threshold: the score below which "objects" are left out; None: its results have no objects.
        in_picture: whether results are places in the picture that was given, which a Letterbox fits into the input.
        edges: of what finds points, pairs of their indices, between which a line is drawn.
    """

    name: str
    output_shape: Optional[Tuple[Optional[int], ...]] = None
    without_onnx: Optional[str] = None
    score_threshold: Optional[float] = None
    in_picture = False
    edges: Sequence[Sequence[int]] = ()

    def decode(self, outputs: np.ndarray, labels: List[str]) -> List[Dict[str, Any]]:
        """A result for each row of ``[N, ...]``."""
        raise NotImplementedError

    def to_image(self, result: Dict[str, Any], preprocess: Any, size: Sequence[int]) -> Dict[str, Any]:
        """The result in pixels of the picture that was given, of that height and width; here nothing changes."""
        return result

    @classmethod
    def can_be_tiled(cls) -> bool:
        """Whether results of tiles can be joined."""
        return cls.joined is not ServedForm.joined

    @classmethod
    def saves_pictures(cls) -> bool:
        """Whether ``as_plain`` saves any."""
        return False

    def joined(
        self, results: List[Dict[str, Any]], tiles: Sequence[Tuple[Sequence[float], ...]], size: Sequence[int]
    ) -> Dict[str, Any]:
        """The result of a picture of that height and width, from those of its tiles, each in pixels of its tile.

        Parameters:
            tiles: of each its box, and the box of its own, where the middle of what it finds must lie; both left, top,
                right, bottom, in pixels of the picture.
        """
        raise NotImplementedError

    def reduced(self, result: Dict[str, Any], factor: int) -> Dict[str, Any]:
        """The result of a picture, for one that is so many times smaller, each side rounded up."""
        raise NotImplementedError

    def draw(self, pixels: np.ndarray, output: np.ndarray, result: Dict[str, Any]) -> np.ndarray:
        """A picture of the input with its result: uint8 ``[H, W, 3]``.

        Parameters:
            pixels: the input before the preprocessing: a picture ``[H, W, 3]``, or what else the model takes.
            output: the network's, ``[...]``; of a picture in tiles nothing. result: what was made of it.
        """
        raise NotImplementedError

    def as_plain(self, result: Dict[str, Any], save: Optional[Callable[[bytes], str]] = None) -> Dict[str, Any]:
        """The result in plain values, as JSON has them; here it is.

        Parameters:
            save: of a PNG that belongs to the result, keeps it, and gives the name under which it is found; None: it
                becomes a data URI.
        """
        return result
