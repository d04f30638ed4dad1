"""CoordConv under Paddle's quantisation, QAT and PTQ: its inner convolution is quantised as ``nn.Conv2D`` is."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from paddle import Tensor
from paddle.nn.quant.format import ConvertibleQuantedLayer
from paddle.nn.quant.qat import QuantedConv2D
from paddle.quantization.config import DEFAULT_QAT_LAYER_MAPPINGS

from ..compat import is_eager
from ..forms import Call, run
from .fast_bias import Conv2D
from .grid_conv import GRID_CONVS, GridConv


class QuantedGridConv(ConvertibleQuantedLayer):
    """The inner convolution with its features and its weight fake quantised; the coordinates stay in float.

    Attributes:
        weight, bias, grid_channels, coords_first, form_in_graphs: those of the convolution that it stands for.
    """

    def __init__(self, layer: GridConv, q_config: Any) -> None:
        super().__init__()
        self._spec, self._groups = layer.spec(), layer._groups
        self.grid_channels, self.coords_first = layer.grid_channels, layer.coords_first
        self.form_in_graphs = layer.form_in_graphs
        self.weight, self.bias = layer.weight, layer.bias
        self.weight_quanter = None if q_config.weight is None else q_config.weight._instance(layer)
        self.activation_quanter = None if q_config.activation is None else q_config.activation._instance(layer)

    def forward(self, x: Tensor, grid: Tensor, output_size: Any = None) -> Tensor:
        x = x if self.activation_quanter is None else self.activation_quanter(x)
        weight = self.weight if self.weight_quanter is None else self.weight_quanter(self.weight)
        call = Call(x, grid, weight, self.bias, self._spec.with_output_size(output_size))
        form: Optional[str] = None if is_eager() else self.form_in_graphs
        return run(call, form)

    def weights_to_quanters(self) -> List[Tuple[str, str]]:
        return [("weight", "weight_quanter")]

    def activation_quanters(self) -> List[str]:
        return ["activation_quanter"]


# Paddle looks a layer up by its exact type, and wraps others, whose weight nobody finds then.
DEFAULT_QAT_LAYER_MAPPINGS.update(dict.fromkeys(GRID_CONVS.values(), QuantedGridConv))
DEFAULT_QAT_LAYER_MAPPINGS[Conv2D] = QuantedConv2D
