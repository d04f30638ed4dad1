"""Necks of detectors, with CoordConv where they look at places: PP-YOLO's, and the feature pyramid.

A neck takes the feature maps of a backbone, from fine to coarse, each twice as high and wide as the next, and gives as
many maps to a detector's heads.
"""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import paddle
import paddle.nn.functional as F
from paddle import ParamAttr, Tensor, nn
from paddle.regularizer import L2Decay

from ..compat import shape_of, to_channels_first, to_channels_last
from ..coords import CoordsLike, find_coords
from ..layers import Conv2D, CoordConv
from ..layers.checks import check_choice, check_flag, check_ints, name_of

# PaddleDetection's names, of one layer: nn.SyncBatchNorm.convert_sync_batchnorm makes the other of it when it is time.
NORM_TYPES = ("bn", "sync_bn")


class PPYOLOFPN(nn.Layer):
    """PP-YOLO's neck (Long et al. 2020, arXiv:2007.12099), with PaddleDetection's arguments and state dict.

    Parameters:
        in_channels: those of the maps, from fine to coarse.
        norm_type: "bn" or "sync_bn".
        freeze_norm: the batch norms' scales and shifts are not trained.
        data_format: "NCHW" or "NHWC", of the maps on both sides; the weights are the same.
        coord_conv: CoordConv for the 1x1 convolutions of each block, and for its last convolution.
        conv_block_num: 2 or 0, how many pairs of a 1x1 and a 3x3 convolution each block begins with.
        drop_block: DropBlock in each block.
        block_size, keep_prob: ``DropBlock``'s.
        spp: in the coarsest block, the maxima over 5x5, 9x9 and 13x13 pixels beside the features.
        coords: the name of a convention (``pcc.list_coords()``) or a ``pcc.Coords``. Weights of PaddleDetection 2.2 and
            later learnt with "paddledet_legacy".

    Shape:
        - input: a list of maps ``[N, C, H, W]`` (``[N, H, W, C]`` for "NHWC"), from fine to coarse.
        - output: a list of as many, from coarse to fine. Of n maps, the first has ``128 * 2**n`` channels, each other
          half of those before it.

    Raises:
        TypeError, ValueError: when built, a wrong argument; when called, maps that do not fit.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> neck = pcc.models.necks.PPYOLOFPN([8, 16], coord_conv=True, spp=True)
        >>> maps = neck([paddle.zeros([1, 8, 6, 10]), paddle.zeros([1, 16, 3, 5])])
        >>> [tuple(y.shape) for y in maps]
        [(1, 512, 3, 5), (1, 256, 6, 10)]
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024, 2048),
        norm_type: str = "bn",
        freeze_norm: bool = False,
        data_format: str = "NCHW",
        coord_conv: bool = False,
        conv_block_num: int = 2,
        drop_block: bool = False,
        block_size: int = 3,
        keep_prob: float = 0.9,
        spp: bool = False,
        *,
        coords: CoordsLike = "paddle",
    ) -> None:
        super().__init__()
        _check_channels(self, in_channels)
        check_choice(self, "norm_type", norm_type, NORM_TYPES)
        check_choice(self, "data_format", data_format, ("NCHW", "NHWC"))
        flags = {"freeze_norm": freeze_norm, "coord_conv": coord_conv, "drop_block": drop_block, "spp": spp}
        for name, flag in flags.items():
            check_flag(self, name, flag)
        if type(conv_block_num) is not int or conv_block_num not in (0, 2):
            raise ValueError(f"{name_of(self)}: conv_block_num takes 2 or 0, got {conv_block_num!r}")
        _check_drop_block(self, block_size, keep_prob)
        find_coords(coords)

        def conv_bn(n_in: int, n_out: int, size: int) -> nn.Layer:
            return _conv_bn_leaky(n_in, n_out, size, freeze_norm)

        def coord_conv_bn(n_in: int, n_out: int, size: int) -> nn.Layer:
            return (
                _coord_conv_bn_leaky(n_in, n_out, size, freeze_norm, coords)
                if coord_conv
                else conv_bn(n_in, n_out, size)
            )

        def spp_block(n_in: int, n_out: int) -> nn.Layer:
            return nn.Sequential(("pools", SPP()), ("conv", conv_bn(4 * n_in, n_out, 1)))

        self._in_channels = list(in_channels)
        self._data_format = data_format
        self.yolo_block = nn.LayerList()
        self.yolo_transition = nn.LayerList()
        self.out_channels: List[int] = []
        from_coarser = 0
        for level, channels in enumerate(reversed(self._in_channels)):
            n_in, n = channels + from_coarser, 2 ** (6 + len(in_channels) - level)
            layers: List[Tuple[str, nn.Layer]] = []
            if conv_block_num:
                layers += [("conv0", coord_conv_bn(n_in, n, 1)), ("conv1", conv_bn(n, 2 * n, 3))]
                layers += [("conv2", coord_conv_bn(2 * n, n, 1)), ("conv3", conv_bn(n, 2 * n, 3))]
                n_in = 2 * n
            if spp and level == 0:
                place, channels = (3, n) if conv_block_num else (0, n_in)
                layers.insert(place, ("spp", spp_block(channels, channels)))
            if drop_block:
                place = 2 if conv_block_num and level > 0 else len(layers)
                layers.insert(place, ("dropblock", DropBlock(block_size, keep_prob)))
            layers.append(("route", coord_conv_bn(n_in, n, 1)))
            self.yolo_block.append(_Block(nn.Sequential(*layers), tip=coord_conv_bn(n, 2 * n, 3)))
            self.out_channels.append(2 * n)
            if level < len(in_channels) - 1:
                from_coarser = 2 ** (8 - level)
                self.yolo_transition.append(conv_bn(n, from_coarser, 1))

    def forward(self, blocks: Sequence[Tensor]) -> List[Tensor]:
        _check_maps(self, blocks, self._in_channels, self._data_format)
        last = self._data_format == "NHWC"
        maps = [to_channels_first(x) if last else x for x in blocks][::-1]
        tips: List[Tensor] = []
        x = maps[0]
        for level, block in enumerate(self.yolo_block):
            route, tip = block(x)
            tips.append(tip)
            if level < len(maps) - 1:
                route = upsample2x(self.yolo_transition[level](route))
                x = paddle.concat([route, maps[level + 1]], axis=1)
        return [to_channels_last(tip) if last else tip for tip in tips]


class FPN(nn.Layer):
    """The feature pyramid (Lin et al. 2017, arXiv:1612.03144, section 3), with CoordConv at all of its convolutions.

    Each map is brought to the same channels by a 1x1 convolution, gets the coarser ones added, and passes a 3x3
    convolution.

    Parameters:
        in_channels: those of the maps, from fine to coarse.
        out_channels: those of every map that comes out.
        coord_conv: False: plain convolutions.
        coords: the name of a convention (``pcc.list_coords()``) or a ``pcc.Coords``.

    Shape:
        - input: a list of maps ``[N, C, H, W]``, from fine to coarse.
        - output: a list of as many of the same sizes, in the same order, with ``out_channels`` channels.

    Raises:
        TypeError, ValueError: when built, a wrong argument; when called, maps that do not fit.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> neck = pcc.models.necks.FPN([8, 16], 4)
        >>> maps = neck([paddle.zeros([1, 8, 6, 10]), paddle.zeros([1, 16, 3, 5])])
        >>> [tuple(y.shape) for y in maps]
        [(1, 4, 6, 10), (1, 4, 3, 5)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        *,
        coord_conv: bool = True,
        coords: CoordsLike = "paddle",
    ) -> None:
        super().__init__()
        _check_channels(self, in_channels)
        check_ints(self, "out_channels", out_channels, lengths=[], minimum=1)
        check_flag(self, "coord_conv", coord_conv)
        find_coords(coords)

        def conv(n_in: int, size: int) -> nn.Layer:
            if coord_conv:
                return CoordConv(n_in, out_channels, size, padding=size // 2, coords=coords)
            return Conv2D(n_in, out_channels, size, padding=size // 2)

        self._in_channels = list(in_channels)
        self.out_channels = [out_channels] * len(in_channels)
        self.lateral = nn.LayerList([conv(channels, 1) for channels in in_channels])
        self.output = nn.LayerList([conv(out_channels, 3) for _ in in_channels])

    def forward(self, blocks: Sequence[Tensor]) -> List[Tensor]:
        _check_maps(self, blocks, self._in_channels, "NCHW")
        merged = [self.lateral[-1](blocks[-1])]
        for level in range(len(blocks) - 2, -1, -1):
            coarser = upsample2x(merged[-1])
            merged.append(self.lateral[level](blocks[level]) + coarser)
        return [output(x) for output, x in zip(self.output, merged[::-1])]


class DropBlock(nn.Layer):
    """In training, zeros in blocks of each channel, the rest made larger for it (Ghiasi et al. 2018, arXiv:1810.12890).

    Parameters:
        block_size: the side of a block, an odd number of pixels.
        keep_prob: the part of a map that is kept, above 0 and at most 1.

    Shape:
        - input: ``[N, C, H, W]``, floating. Output: the same.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> drop = pcc.models.necks.DropBlock(block_size=3, keep_prob=0.9)
        >>> tuple(drop(paddle.ones([2, 8, 10, 14])).shape)
        (2, 8, 10, 14)
    """

    def __init__(self, block_size: int, keep_prob: float) -> None:
        super().__init__()
        _check_drop_block(self, block_size, keep_prob)
        self._block_size = block_size
        self._keep_prob = keep_prob

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self._keep_prob == 1:
            return x
        size = self._block_size
        lengths = paddle.shape(x)[2:].astype("float32")
        # As many centres as drop the wanted part if they do not overlap, were they only where a whole block fits.
        rate = (1 - self._keep_prob) / size**2 * (lengths / (lengths - size + 1).clip(min=1)).prod()
        centres = (paddle.rand(x.shape) < rate).astype("float32")
        kept = 1 - F.max_pool2d(centres, size, stride=1, padding=size // 2)
        return x * (kept / kept.mean().clip(min=1e-6)).astype(x.dtype)

    def extra_repr(self) -> str:
        return f"block_size={self._block_size}, keep_prob={self._keep_prob}"


class _Block(nn.Layer):
    """One level of PP-YOLO's neck: what goes on to the finer level, and what the head gets."""

    def __init__(self, conv_module: nn.Layer, tip: nn.Layer) -> None:
        super().__init__()
        self.conv_module = conv_module
        self.tip = tip

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor]:
        route = self.conv_module(x)
        return route, self.tip(route)


class SPP(nn.Layer):
    """Beside the features, their maxima over 5x5, 9x9 and 13x13 pixels (He et al. 2014, arXiv:1406.4729)."""

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for _ in range(3):
            # The maximum over 9x9 is that over 5x5 of those over 5x5, at an eighth of the comparisons.
            maps.append(F.max_pool2d(maps[-1], 5, stride=1, padding=2))
        return paddle.concat(maps, axis=1)


class _CoordConvNorm(CoordConv):
    """CoordConv, batch norm: PaddleDetection's names for their parameters."""

    runs_in_order = True

    def __init__(self, n_in: int, n_out: int, size: int, freeze_norm: bool, coords: CoordsLike) -> None:
        super().__init__(n_in, n_out, size, padding=size // 2, bias_attr=False, coords=coords)
        self.batch_norm = _norm(n_out, freeze_norm)

    def forward(self, x: Tensor, grid: Optional[Tensor] = None, output_size: Any = None) -> Tensor:
        return self.batch_norm(CoordConv.forward(self, x, grid, output_size))  # Paddle 2.6 can't trace super()


def enlarged(x: Tensor, times: int) -> Tensor:
    """``[N, C, H, W]`` -> ``[N, C, times * H, times * W]``, bilinear."""
    # By its size: Paddle2ONNX stumbles over the scale in graphs of Paddle 3.3.
    return F.interpolate(x, size=[times * length for length in shape_of(x)[2:]], mode="bilinear")


def upsample2x(x: Tensor) -> Tensor:
    """Each pixel twice in a row and each row twice."""
    if paddle.in_dynamic_mode():
        return F.interpolate(x, scale_factor=2)
    # In graphs of Paddle 3.3, oneDNN and Paddle2ONNX stumble over interpolate's scale.
    channels, lengths = x.shape[1], paddle.shape(x)[2:]
    x = paddle.stack([x, x], axis=4)
    return paddle.concat([x, x], axis=3).reshape([-1, channels, 2 * lengths[0], 2 * lengths[1]])


def _coord_conv_bn_leaky(n_in: int, n_out: int, size: int, freeze_norm: bool, coords: CoordsLike) -> nn.Layer:
    """PaddleDetection's CoordConv: with a batch norm and leaky ReLU."""
    conv = _CoordConvNorm(n_in, n_out, size, freeze_norm, coords)
    return nn.Sequential(("conv", conv), ("activation", nn.LeakyReLU(0.1)))


def _conv_bn_leaky(n_in: int, n_out: int, size: int, freeze_norm: bool) -> nn.Layer:
    """A convolution, batch norm and leaky ReLU."""
    return nn.Sequential(
        ("conv", Conv2D(n_in, n_out, size, padding=size // 2, bias_attr=False)),
        ("batch_norm", _norm(n_out, freeze_norm)),
        ("activation", nn.LeakyReLU(0.1)),
    )


def _norm(channels: int, freeze: bool) -> nn.Layer:
    """Without weight decay."""
    attr = ParamAttr(learning_rate=0.0 if freeze else 1.0, trainable=not freeze, regularizer=L2Decay(0.0))
    return nn.BatchNorm2D(channels, weight_attr=attr, bias_attr=attr)


def _check_channels(layer: nn.Layer, in_channels: Any) -> None:
    if not isinstance(in_channels, (list, tuple)):
        raise TypeError(f"{name_of(layer)}: in_channels takes a list of ints, got {in_channels!r}")
    if not in_channels:
        raise ValueError(f"{name_of(layer)}: in_channels takes the channels of at least one map, got {in_channels!r}")
    for channels in in_channels:
        check_ints(layer, "in_channels", channels, lengths=[], minimum=1)


def _check_drop_block(layer: nn.Layer, block_size: Any, keep_prob: Any) -> None:
    check_ints(layer, "block_size", block_size, lengths=[], minimum=1)
    if block_size % 2 == 0:
        raise ValueError(f"{name_of(layer)}: block_size takes an odd int, got {block_size}")
    if isinstance(keep_prob, bool) or not isinstance(keep_prob, (int, float)):
        raise TypeError(f"{name_of(layer)}: keep_prob takes a number above 0 and at most 1, got {keep_prob!r}")
    if not 0 < keep_prob <= 1:
        raise ValueError(f"{name_of(layer)}: keep_prob takes a number above 0 and at most 1, got {keep_prob!r}")


@paddle.jit.not_to_static
def _check_maps(neck: nn.Layer, maps: Any, in_channels: List[int], data_format: str) -> None:
    if not isinstance(maps, (list, tuple)):
        raise TypeError(f"{name_of(neck)}: takes a list of maps, from fine to coarse, got {type(maps).__name__}")
    shapes = [list(x.shape) for x in maps]
    if [shape[data_format.index("C")] for shape in shapes if len(shape) == 4] != in_channels:
        raise ValueError(
            f"{name_of(neck)}: takes {len(in_channels)} {data_format} maps of {in_channels} channels, got {shapes}"
        )
    for fine, coarse in zip(shapes, shapes[1:]):
        for axis in (data_format.index("H"), data_format.index("W")):
            if fine[axis] != 2 * coarse[axis] and min(fine[axis], coarse[axis]) >= 0:
                raise ValueError(f"{name_of(neck)}: each map must be twice as high and wide as the next, got {shapes}")
