"""CoordConv for PaddleSeg: importing this module makes ``type: CoordConvert`` a model in its configs.

It is any model of PaddleSeg's, converted by ``convert_to_coordconv``: with its own weights, and the same outputs until
it is trained.
"""

from __future__ import annotations

from typing import Optional

from paddle import nn

try:
    from paddleseg.cvlibs import manager
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"ppcoordconv.contrib.ppseg is for PaddleSeg, which can't be imported here ({error}): "
        "pip install paddleseg, or run it in PaddleSeg's own folder",
        name=error.name,
    ) from error

from ..convert.to_coordconv import Match, convert_to_coordconv
from ..coords import CoordsLike


@manager.MODELS.add_component
def CoordConvert(  # noqa: N802  (the type in the YAML)
    model: nn.Layer,
    match: Match = None,
    coords: CoordsLike = "paddle",
    with_r: bool = False,
    num_classes: Optional[int] = None,
    in_channels: Optional[int] = None,
) -> nn.Layer:
    """A model of PaddleSeg's with CoordConv in it: the model itself, not a layer around it.

    Parameters:
        model: in the YAML a model as PaddleSeg takes it, with its ``type``, its ``num_classes`` and, if you like, the
            ``pretrained`` weights of the plain model; they are loaded before it is converted.
        match: which convolutions: null for the first, ``all``, or a pattern for their names.
        coords: as ``CoordConv`` takes them.
        with_r: adds the radius channel.
        num_classes, in_channels: PaddleSeg adds the data set's here. They change nothing: what counts is the model's.

    Returns:
        The model, converted.

    Raises:
        TypeError, ValueError: ``convert_to_coordconv``'s; PaddleSeg's builder makes a RuntimeError of them.

    Examples:
        >>> from paddleseg.models import BiSeNetV2
        >>> from ppcoordconv.contrib.ppseg import CoordConvert
        >>> model = CoordConvert(BiSeNetV2(num_classes=2), match="db.*")
        >>> type(model).__name__, type(model.db.convs[0]._conv).__name__
        ('BiSeNetV2', 'CoordConv')
    """
    del num_classes, in_channels
    return convert_to_coordconv(model, match, coords=coords, with_r=with_r)
