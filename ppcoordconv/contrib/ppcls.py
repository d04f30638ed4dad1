"""CoordConv for PaddleClas: importing this module makes ``name: CoordConvert`` an architecture in its configs.

It is any architecture of PaddleClas's, converted by ``convert_to_coordconv``: with its own weights, and the same
outputs until it is trained.
"""

from __future__ import annotations

import importlib
from typing import Any, Dict

from paddle import nn

from ..convert.to_coordconv import Match, convert_to_coordconv
from ..coords import CoordsLike


def _import_arch() -> Any:
    """The module in which PaddleClas looks up an architecture's name."""
    try:
        return importlib.import_module("ppcls.arch")  # in its own folder, where its tools run
    except ModuleNotFoundError:
        try:
            importlib.import_module("paddleclas")
            try:
                return importlib.import_module("ppcls.arch")  # paddleclas 2.4 and older put their folder on the path
            except ModuleNotFoundError:
                return importlib.import_module("paddleclas.ppcls.arch")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"ppcoordconv.contrib.ppcls is for PaddleClas, which can't be imported here ({error}): "
                "pip install paddleclas, or run it in PaddleClas's own folder",
                name=error.name,
            ) from error


arch = _import_arch()


def CoordConvert(  # noqa: N802  (the name in the YAML)
    model: Dict[str, Any],
    match: Match = None,
    coords: CoordsLike = "paddle",
    with_r: bool = False,
    **options: Any,
) -> nn.Layer:
    """An architecture of PaddleClas's with CoordConv in it: the network itself, not a layer around it.

    Parameters:
        model: in the YAML an architecture as PaddleClas takes it: its ``name`` and its options. The weights of the
            plain network, ``pretrained``, are loaded before it is converted.
        match: which convolutions: null for the first, ``all``, or a pattern for their names.
        coords: as ``CoordConv`` takes them.
        with_r: adds the radius channel.
        options: more of the architecture's options, as ``class_num``, which PaddleClas reads beside ``name``.

    Returns:
        The network, converted.

    Raises:
        TypeError, ValueError: ``model`` is not a dict with the name of an architecture; or ``convert_to_coordconv``'s.

    Examples:
        >>> from ppcoordconv.contrib.ppcls import CoordConvert
        >>> network = CoordConvert({"name": "MobileNetV3_small_x0_35"}, class_num=10)
        >>> type(network).__name__, type(network.conv.conv).__name__
        ('MobileNetV3', 'CoordConv')
    """
    if not isinstance(model, dict) or "name" not in model:
        raise TypeError(
            f"CoordConvert's model takes the name of an architecture and its options, as "
            f"{{name: ResNet18, class_num: 10}}, got {model!r}"
        )
    given = {**options, **model}
    name = given.pop("name")
    if not hasattr(arch, str(name)):
        raise ValueError(f"PaddleClas has no architecture {name!r}")
    return convert_to_coordconv(getattr(arch, name)(**given), match, coords=coords, with_r=with_r)


# Where ``build_model`` looks; RecModel's backbone and the models of a distillation are looked up there, too.
arch.CoordConvert = CoordConvert
