"""CoordConv for PaddleDetection: importing this module registers two necks and ``CoordConvert`` for its configs.

``CoordConvPPYOLOFPN`` is its PPYOLOFPN with coordinates that reach from -1 to 1, ``CoordConvFPN`` a feature pyramid.
``CoordConvert`` is any backbone, neck, head or whole model of PaddleDetection's, converted by ``convert_to_coordconv``.
``repair_coords`` puts the coordinates of a model right that has its own PPYOLOFPN.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from paddle import Tensor, nn

try:
    from ppdet.core.workspace import create, register, serializable
    from ppdet.modeling.necks import yolo_fpn
    from ppdet.modeling.shape_spec import ShapeSpec
    from ppdet.utils.checkpoint import load_pretrain_weight
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"ppcoordconv.contrib.ppdet is for PaddleDetection, which can't be imported here ({error}): "
        "pip install paddledet, or run it in PaddleDetection's own folder",
        name=error.name,
    ) from error

from ..convert.to_coordconv import Match, convert_to_coordconv
from ..coords import CoordsLike, find_coords
from ..layers import AddCoords
from ..models.necks import FPN, PPYOLOFPN


class _Neck(nn.Layer):
    """What PaddleDetection asks of a neck, besides ``forward``."""

    out_channels: List[int]

    @classmethod
    def from_config(cls, cfg: Dict[str, Any], input_shape: Sequence[Any]) -> Dict[str, Any]:
        """The arguments that follow from the backbone's maps, ``input_shape``."""
        return {"in_channels": [shape.channels for shape in input_shape]}

    @property
    def out_shape(self) -> List[Any]:
        """What the heads are told of the maps."""
        return [ShapeSpec(channels=channels) for channels in self.out_channels]


@register
@serializable
class CoordConvPPYOLOFPN(_Neck, PPYOLOFPN):
    """PaddleDetection's PPYOLOFPN, whose options and weights it takes, with right coordinates.

    Parameters:
        coord_conv: as there, but True by default.
        coords: the name of a convention (``pcc.list_coords()``); "paddledet_legacy" for weights that PaddleDetection
            2.2 or later has trained.
        others: PPYOLOFPN's.

    Shape:
        - input, output: ``pcc.models.necks.PPYOLOFPN``'s.

    Raises:
        TypeError, ValueError: when built, a wrong argument; when called, maps that do not fit.

    Examples:
        >>> import paddle
        >>> from ppcoordconv.contrib.ppdet import CoordConvPPYOLOFPN
        >>> neck = CoordConvPPYOLOFPN([8, 16])
        >>> [tuple(y.shape) for y in neck([paddle.zeros([1, 8, 6, 10]), paddle.zeros([1, 16, 3, 5])])]
        [(1, 512, 3, 5), (1, 256, 6, 10)]
    """

    __shared__ = ["norm_type", "data_format"]

    # PaddleDetection takes a config's keys from the positional arguments.
    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024, 2048),
        norm_type: str = "bn",
        freeze_norm: bool = False,
        data_format: str = "NCHW",
        coord_conv: bool = True,
        conv_block_num: int = 2,
        drop_block: bool = False,
        block_size: int = 3,
        keep_prob: float = 0.9,
        spp: bool = False,
        coords: CoordsLike = "paddle",
    ) -> None:
        super().__init__(
            in_channels,
            norm_type,
            freeze_norm,
            data_format,
            coord_conv,
            conv_block_num,
            drop_block,
            block_size,
            keep_prob,
            spp,
            coords=coords,
        )


@register
@serializable
class CoordConvFPN(_Neck, FPN):
    """A feature pyramid with CoordConv at all of its convolutions, for the heads of YOLOv3: from coarse to fine.

    Parameters:
        out_channels: of every map.
        coord_conv: False: plain convolutions.
        coords: the name of a convention (``pcc.list_coords()``).

    Shape:
        - input: a list of maps ``[N, C, H, W]``, from fine to coarse.
        - output: a list of as many, from coarse to fine, with ``out_channels`` channels.

    Raises:
        TypeError, ValueError: when built, a wrong argument; when called, maps that do not fit.

    Examples:
        >>> import paddle
        >>> from ppcoordconv.contrib.ppdet import CoordConvFPN
        >>> neck = CoordConvFPN([8, 16], 4)
        >>> [tuple(y.shape) for y in neck([paddle.zeros([1, 8, 6, 10]), paddle.zeros([1, 16, 3, 5])])]
        [(1, 4, 3, 5), (1, 4, 6, 10)]
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024, 2048),
        out_channels: int = 256,
        coord_conv: bool = True,
        coords: CoordsLike = "paddle",
    ) -> None:
        super().__init__(in_channels, out_channels, coord_conv=coord_conv, coords=coords)

    def forward(self, blocks: Sequence[Tensor]) -> List[Tensor]:
        return FPN.forward(self, blocks)[::-1]  # Paddle 2.6 can't trace super()


@register
class CoordConvert:
    """A part of PaddleDetection's, or a whole model, with CoordConv in it: the part itself, not a layer around it.

    A config names it where the part would be, as ``solov2_head: CoordConvert``, and the part in ``CoordConvert``'s own
    section, as ``CoordConvert: {model: SOLOv2Head, match: all}``. The part keeps its section.

    Parameters:
        model: in the YAML the name of the part.
        match: which convolutions: null for the first, ``all``, or a pattern for their names.
        coords: as ``CoordConv`` takes them.
        with_r: adds the radius channel.
        pretrained: a file of plain weights for the part, as PaddleDetection's ``pretrain_weights``, which is loaded too
            late for those: after the conversion.

    Raises:
        TypeError, ValueError: ``convert_to_coordconv``'s; PaddleDetection's, of a part that there is not.

    Examples:
        >>> import paddle
        >>> from ppcoordconv.contrib.ppdet import CoordConvert
        >>> part = CoordConvert(paddle.nn.Sequential(paddle.nn.Conv2D(3, 8, 3)))
        >>> type(part[0]).__name__
        'CoordConv'
    """

    def __new__(
        cls,
        model: nn.Layer,
        match: Match = None,
        coords: CoordsLike = "paddle",
        with_r: bool = False,
        pretrained: Optional[str] = None,
    ) -> Any:
        if pretrained is not None:
            load_pretrain_weight(model, pretrained)
        return convert_to_coordconv(model, match, coords=coords, with_r=with_r)

    @classmethod
    def from_config(cls, cfg: Dict[str, Any], **arguments: Any) -> Dict[str, Any]:
        """Builds the part, with what PaddleDetection would give it: a head, the shapes of the maps."""
        if "model" not in cfg:
            raise ValueError("CoordConvert needs the name of a part, as in CoordConvert: {model: SOLOv2Head}")
        return {"model": create(cfg["model"], **arguments)}


class RepairedCoordConv(yolo_fpn.CoordConv):
    """PaddleDetection's CoordConv, with the coordinates of ppcoordconv."""

    add_coords: AddCoords

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.add_coords(x))


def repair_coords(model: nn.Layer, coords: CoordsLike = "paddle") -> List[str]:
    """Puts other coordinates into each of PaddleDetection's CoordConv layers in a model, in place.

    Nothing else changes: not the weights, nor their names, nor what an optimizer holds. What the model computes does.
    Weights that were trained with PaddleDetection's coordinates, those from -1 to -0.5 of its release 2.2 and later,
    are right with these alone: leave them as they are (``coords="paddledet_legacy"`` brings them back), or train them
    on after the repair. They can't be converted as a whole: that is exact for a layer without padding
    (``pcc.paddledet_legacy_to_paddle``), and the last layer of each of PPYOLOFPN's blocks is padded.

    Parameters:
        model: a model that PaddleDetection built, with weights or without.
        coords: the name of a convention (``pcc.list_coords()``) or a ``pcc.Coords``.

    Returns:
        The names of the layers; none if the model has no CoordConv of PaddleDetection's.

    Raises:
        TypeError: ``model`` is not a layer, or ``coords`` of a wrong type.
        ValueError: there is no such convention.

    Examples:
        >>> from ppdet.modeling.necks.yolo_fpn import PPYOLOFPN
        >>> from ppcoordconv.contrib.ppdet import repair_coords
        >>> repair_coords(PPYOLOFPN([8], coord_conv=True, conv_block_num=0))
        ['yolo_block.0.conv_module.route', 'yolo_block.0.tip']
    """
    if not isinstance(model, nn.Layer):
        raise TypeError(f"repair_coords takes a model of PaddleDetection, a paddle.nn.Layer, got {model!r}")
    find_coords(coords)
    repaired = []
    for name, layer in model.named_sublayers(include_self=True):
        if isinstance(layer, yolo_fpn.CoordConv):
            layer.add_coords = AddCoords(coords, data_format=layer.data_format)
            layer.__class__ = RepairedCoordConv
            repaired.append(name)
    return repaired
