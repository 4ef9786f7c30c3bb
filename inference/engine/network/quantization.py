"""A vocabulary's weights in int8, where reading them is most of what a token of one sequence takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from inference.engine.network.linear import Joined, Packed, joined
from inference.engine.progress import LoadError

#: What may be asked for as `quant`: the matrix of the vocabulary in int8, or nothing.
INT8, NONE = "int8", "none"
#: A matrix of this many bytes stays in no cache. Smaller ones gain too little for what int8 rounds away.
_LARGE_BYTES = 128 * 1024 * 1024
#: So that what is float32 while it is rounded stays small beside the weights.
_ROUNDED_TOGETHER = 8192
_MOST, _ZERO = 127, 128
#: Steps of what is left of a row, at most a half, to one of the row: 127 either way.
_FINER = 254


class Int8(nn.Module):
    """A linear layer without bias: rows (.., rows, inputs) to float32 (.., rows, outputs); other dimensions are 1.

    Each output has a scale for its weights, each row one for its inputs, so that no neighbour changes how a row is
    rounded. Inputs are two numbers of 8 bits each, coarse and fine: one alone would round away twice as much as the
    weights do. 640 to 262,144, one thread, least of eight: one row takes 13.5 ms against 22.7 of packed bfloat16, four
    16.6 against 24.6, eight 24 against 31, sixteen 51 against 38.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        assert layer.bias is None, "a bias would be scaled with its row"
        onednn: Any = torch.ops.onednn
        rounded, scales = _rounded(layer.weight.detach())
        self.scales: Tensor = scales
        self.weight: Tensor = onednn.qlinear_prepack(rounded, None)
        self._zeros: Tensor = torch.zeros(len(rounded), dtype=torch.long)
        self._multiply: Any = onednn.qlinear_pointwise

    def forward(self, rows: Tensor) -> Tensor:
        flat = rows.flatten(0, -2)
        scales = flat.abs().amax(dim=-1, keepdim=True).float().clamp_min_(torch.finfo(torch.float32).tiny).div_(_MOST)
        exact = flat / scales
        coarse = exact.round()
        fine = exact.sub_(coarse).mul_(_FINER).round_()
        coarse, fine = self._multiplied(torch.cat((coarse, fine))).chunk(2)
        return coarse.add_(fine, alpha=1 / _FINER).mul_(scales).view(*rows.shape[:-1], len(self.scales))

    def _multiplied(self, steps: Tensor) -> Tensor:
        shifted = steps.add_(_ZERO).to(torch.uint8)
        output: Tensor = self._multiply(
            shifted, 1.0, _ZERO, self.weight, self.scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return output[: len(steps)]


def vocabulary_head(layer: nn.Linear, quant: str | None) -> Joined | Packed | Int8:
    """What computes the logits: int8 where it is asked for, or where `quant` is None and it is faster.

    The rule asks the machine and the size and measures nothing, so that a model says the same after every start.
    Raises LoadError for a `quant` that is not known or not possible here.
    """
    if quant not in (None, INT8, NONE):
        raise LoadError(f"The quantization {quant!r} is not known: ask for {INT8} or {NONE}.")
    able = _multiplies_int8(layer)
    if quant == INT8 and not able:
        raise LoadError(f"The vocabulary cannot be {INT8} here: that takes a CPU with VNNI and a layer without bias.")
    chosen = quant == INT8 or (quant is None and layer.weight.dtype == torch.bfloat16 and _is_large(layer.weight))
    return Int8(layer) if able and chosen else joined(layer)


def quant_of(head: Any) -> str:
    """The name of what `vocabulary_head` has chosen."""
    return INT8 if isinstance(head, Int8) else NONE


def _multiplies_int8(layer: nn.Linear) -> bool:
    on_cpu = layer.weight.device.type == "cpu" and layer.bias is None
    return on_cpu and torch._C._has_mkldnn and torch.cpu._is_vnni_supported()


def _is_large(weight: Tensor) -> bool:
    return weight.nbytes >= _LARGE_BYTES


def _rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the weights' shape, and the float32 scale of each output."""
    rounded, scales = torch.empty_like(weight, dtype=torch.int8), weight.new_empty(len(weight), dtype=torch.float32)
    for start in range(0, len(weight), _ROUNDED_TOGETHER):
        some = slice(start, start + _ROUNDED_TOGETHER)
        exact = weight[some].float()
        scales[some] = exact.abs().amax(dim=1).clamp_min_(torch.finfo(torch.float32).tiny).div_(_MOST)
        rounded[some] = exact.div_(scales[some, None]).round_().to(torch.int8)
    return rounded, scales
