"""The form of a model that is exported: a copy, for inference alone, that computes the same with less."""

from __future__ import annotations

import copy
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple, Union

import numpy as np
import paddle
from paddle import Tensor, nn

from ..compat import dtype_name, grid_dtype, is_eager, to_channels_first, to_channels_last
from ..coords import Given, is_relative
from ..forms import Call, run
from ..grids import grid_of
from ..layers import CoordConvNd
from ..layers.checks import padding_sides
from ..layers.table import grid_of_table
from ..windows import current_window
from .batch_norm import fold_batch_norms
from .to_coordconv import REPLACEMENTS, is_hooked, replace_layers

# In which form an engine runs a CoordConv fastest. Those that broadcast at no cost add the offset as a map.
ENGINES: Dict[Optional[str], str] = {
    None: "concat",
    "onednn": "concat",
    "onnxruntime": "broadcast",
    "tensorrt": "broadcast",
}


class DeployedCoordConv(nn.Layer):
    """A CoordConv as it is exported: one convolution, over a grid that is a constant where the size is known.

    Where the form concatenates, the bias becomes a weight on a channel of ones that follows the coordinates, because
    inference engines add biases slowly.

    Attributes:
        form: the one of ``forms.FORMS`` that the engine runs fastest.
        grid: ``[1, d, *spatial]``, the constant; None: it is computed from the input's size.
    """

    def __init__(self, layer: CoordConvNd, form: str) -> None:
        super().__init__()
        self.form = form
        self.convention, self.with_r, self.data_format = layer.convention, layer.with_r, layer.data_format
        self.spec = layer.conv.spec()
        self.table = layer.table
        self.weight, self.bias = layer.conv.weight, layer.conv.bias
        tap = _inner_tap(layer) if form == "concat" else None
        self.has_ones = tap is not None
        if tap is not None:
            self.weight, self.bias = self._with_bias_on_ones(layer.conv.grid_channels, tap), None
        self.register_buffer("grid", None, persistable=False)
        self.eval()

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        if self.data_format.endswith("C"):
            return to_channels_last(self._forward(to_channels_first(x), output_size))
        return self._forward(x, output_size)

    def set_size(self, size: List[int]) -> None:
        """Makes the grid of maps of that size a constant."""
        x = paddle.zeros([1, 1, *size], self.weight.dtype)
        # A copy: the grid is shared with every layer of that size, and the buffer may be cast.
        self.grid = self._append_ones(self._grid_of(x)).detach().clone()

    def extra_repr(self) -> str:
        size = None if self.grid is None else list(self.grid.shape[2:])
        return f"form={self.form!r}, size={size}, data_format={self.data_format!r}"

    @paddle.jit.not_to_static
    def _forward(self, x: Tensor, output_size: Any) -> Tensor:
        grid = self.grid
        is_half = x.dtype not in (paddle.float32, paddle.float64)
        is_for_x = grid is not None and list(grid.shape[2:]) == list(x.shape[2:]) and current_window() is None
        if not is_for_x or dtype_name(grid.dtype) != grid_dtype(x.dtype):
            grid = self._append_ones(self._grid_of(x))
        spec = self.spec.with_output_size(output_size)
        return run(Call(x, grid, self.weight, self.bias, spec), self._form_for(x, is_half))

    def _grid_of(self, x: Tensor) -> Tensor:
        if self.table is not None:
            return grid_of_table(self.table, x, self.convention, self.with_r)
        return grid_of(x, self.convention, self.with_r)

    def _form_for(self, x: Tensor, is_half: bool) -> str:
        if self.form == "concat":
            # Half-precision features would round the grid; groups would be taken apart and joined.
            return "split" if is_half or self.spec.groups > 1 else "concat"
        # ONNX Runtime would fuse a sum of maps whose sizes are unknown, and can't run it.
        return "split" if min(x.shape[2:]) < 0 and not is_eager() else self.form

    def _append_ones(self, grid: Tensor) -> Tensor:
        return paddle.concat([grid, paddle.ones_like(grid[:, :1])], axis=1) if self.has_ones else grid

    def _with_bias_on_ones(self, grid_channels: int, tap: Tuple[int, ...]) -> Tensor:
        """The weight with one more channel after the grid's: the bias, at one kernel element."""
        assert self.bias is not None
        weight, bias = (parameter.astype("float64").numpy() for parameter in (self.weight, self.bias))
        on_ones = np.zeros_like(weight[:, :1])
        bias_place = (slice(None), 0, *tap)
        on_ones[bias_place] = bias
        end = grid_channels if self.spec.coords_first else weight.shape[1]
        joined = np.concatenate([weight[:, :end], on_ones, weight[:, end:]], axis=1)
        parameter = self.create_parameter(joined.shape, dtype=self.weight.dtype)
        parameter.set_value(paddle.to_tensor(joined).astype(self.weight.dtype))
        return parameter


def convert_to_deploy(
    model: nn.Layer, example: Optional[Union[Tensor, Sequence[Tensor]]] = None, engine: Optional[str] = None
) -> nn.Layer:
    """The form of a model that is exported: a copy, for inference alone, that computes the same with less.

    Batch norms that follow a convolution in a ``nn.Sequential`` are folded into its weights (in another layer too, if
    its attribute ``runs_in_order`` says that its sublayers run one after the other). Every CoordConv becomes a
    ``DeployedCoordConv``; one with hooks, and one of a class of your own, stays, and its ``convert_to_deploy`` is
    called as that of any other layer that has one. Converting twice is a no-op.

    Parameters:
        model: any network; it is not changed.
        example: an input of the sizes that will be served, or a tuple of all inputs of a model that takes several: the
            coordinates of these sizes become constants. None: the sizes stay free, and the coordinates are computed
            from them.
        engine: what will run the model: "onednn", "onnxruntime" or "tensorrt"; None: Paddle Inference in general.

    Returns:
        The copy, in ``eval`` mode. Its outputs are those of ``model.eval()`` but for rounding.

    Raises:
        TypeError: ``model`` is not a layer, or ``example`` not a Tensor nor a tuple of them.
        ValueError: there is no such engine.

    Examples:
        >>> import paddle, ppcoordconv as pcc
        >>> net = paddle.nn.Sequential(pcc.CoordConv(3, 8, 3), paddle.nn.BatchNorm2D(8), paddle.nn.ReLU())
        >>> pcc.convert_to_deploy(net, example=paddle.zeros([1, 3, 32, 32]))
        Sequential(
          (0): DeployedCoordConv(form='concat', size=[32, 32], data_format='NCHW')
          (1): Identity()
          (2): ReLU()
        )
    """
    if not isinstance(model, nn.Layer):
        raise TypeError(f"convert_to_deploy: expected a paddle.nn.Layer, got {type(model).__name__}")
    examples = list(example) if isinstance(example, (tuple, list)) else [] if example is None else [example]
    for one in examples:
        if not isinstance(one, Tensor):
            raise TypeError(f"example: expected a Tensor, or a tuple of them, got {type(one).__name__}")
    if not isinstance(engine, (str, type(None))) or engine not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(map(repr, ENGINES))}, got {engine!r}")
    model = copy.deepcopy(model)
    model.eval()
    fold_batch_norms(model)
    replaced: Dict[int, nn.Layer] = {}
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, CoordConvNd) and _can_replace(layer):
            replaced[id(layer)] = _deployed(layer, ENGINES[engine])
        elif hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    model = replace_layers(model, replaced)
    if examples:
        _set_sizes(model, examples)
    return model


def restore_grids(model: nn.Layer) -> None:
    """Puts the constant grids of a deployed model back to float32, after its weights were cast to half precision."""
    for layer in model.sublayers(include_self=True):
        if isinstance(layer, DeployedCoordConv) and layer.grid is not None:
            layer.set_size(list(layer.grid.shape[2:]))


def _can_replace(layer: CoordConvNd) -> bool:
    is_known = type(layer) in REPLACEMENTS.values() or getattr(layer, "runs_in_order", False)
    # What a grid is given by, or relative to, is an input of what is exported.
    is_input = isinstance(layer.convention, Given) or is_relative(layer.convention)
    return is_known and not is_input and not is_hooked(layer, layer.conv)


def _deployed(layer: CoordConvNd, form: str) -> nn.Layer:
    following = [
        child for child in layer.children() if child not in (layer.conv, layer.table) and type(child) is not nn.Identity
    ]
    deployed = DeployedCoordConv(layer, form)
    return nn.Sequential(deployed, *following) if following else deployed


def _set_sizes(model: nn.Layer, examples: List[Tensor]) -> None:
    """Sets the sizes that the deployed layers see in a run; one that sees several computes its grids."""
    seen: Dict[int, Set[Tuple[int, ...]]] = {}

    def record(layer: Any, inputs: Tuple[Tensor, ...]) -> None:
        if not inputs:  # called as layer(x=x), which hooks don't see
            return
        shape = inputs[0].shape
        seen.setdefault(id(layer), set()).add(tuple(shape[1:-1] if layer.data_format.endswith("C") else shape[2:]))

    layers = [layer for layer in model.sublayers(include_self=True) if isinstance(layer, DeployedCoordConv)]
    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        with paddle.no_grad():
            model(*examples)
    finally:
        for hook in hooks:
            hook.remove()
    for layer in layers:
        sizes = seen.get(id(layer), set())
        if len(sizes) == 1:
            layer.set_size(list(*sizes))


def _inner_tap(layer: CoordConvNd) -> Optional[Tuple[int, ...]]:
    """The index of a kernel element that never falls on padding, or None, also where there is no bias to move."""
    conv, spec = layer.conv, layer.conv.spec()
    if conv.bias is None or spec.groups > 1 or spec.transposed or str(spec.padding).upper() == "SAME":
        return None
    sides = padding_sides(spec.padding if spec.padding_mode == "zeros" else 0, layer.rank)
    tap = []
    for size, step, before, after in zip(conv._kernel_size, _each(spec.dilation, layer.rank), sides[::2], sides[1::2]):
        tap.append(-(-before // step))
        if (size - 1 - tap[-1]) * step < after:
            return None
    return tuple(tap)


def _each(value: Any, rank: int) -> List[int]:
    return [value] * rank if isinstance(value, int) else list(value)
