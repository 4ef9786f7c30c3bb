"""A vocabulary's weights in int8, where reading them is most of what a token of one sequence takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inference.engine.network.linear import Joined, Packed, joined
from inference.engine.progress import LoadError

#: What may be asked for as `quant`: the matrix of the vocabulary in int8, or nothing.
INT8, NONE = "int8", "none"
#: A matrix of this many bytes stays in no cache. Smaller ones gain too little for what int8 rounds away.
_LARGE_BYTES = 128 * 1024 * 1024
#: What a call returns for so many outputs is still in the caches when it is added up. 16 rows of 262,144 outputs at
#: once take 37 ms, in these parts 26; one row takes 7.6, in parts 8.1.
_OUTPUTS_TOGETHER = 16_384
_MOST, _ZERO = 127, 128
#: Steps of what is left of a row, at most a half, to one of the row: 127 either way.
_FINER = 254
_TINY = torch.finfo(torch.float32).tiny
#: Those of torch's engines for integers that take float32 and return it.
_ENGINES = "fbgemm", "x86"


class Int8(nn.Module):
    """A linear layer without bias: rows (.., rows, inputs) to float32 (.., rows, outputs); other dimensions are 1.

    Each output has a scale for its weights, each row one for its inputs, and sums of integers are exact, so that no
    neighbour changes how a row is rounded. Inputs are two numbers of 8 bits each, coarse and fine: one alone would
    round away twice as much as the weights do. 640 to 262,144, two threads, median of 12: one row takes 8 ms against 14
    of packed bfloat16, four 10 against 14, eight 14 against 17, sixteen 26 against 21.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        assert layer.bias is None, "a bias would be scaled with its row"
        self._parts: list[Any] = [_packed(some) for some in torch.split(layer.weight.detach(), _OUTPUTS_TOGETHER)]
        self._outputs: int = layer.out_features
        self._multiply: Callable[..., Tensor] = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32

    def forward(self, rows: Tensor) -> Tensor:
        flat = rows.flatten(0, -2)
        scales = flat.abs().amax(dim=-1, keepdim=True).float().clamp_min_(_TINY).div_(_MOST)
        exact = flat / scales
        coarse = exact.round()
        steps = torch.cat((coarse, exact.sub_(coarse).mul_(_FINER)))
        output = torch.empty(len(flat), self._outputs)
        for part, onto in zip(self._parts, torch.split(output, _OUTPUTS_TOGETHER, dim=1), strict=True):
            products, finer = self._multiply(steps, 1.0, _ZERO, part).chunk(2)
            torch.mul(products.add_(finer, alpha=1 / _FINER), scales, out=onto)
        return output.view(*rows.shape[:-1], self._outputs)


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
    return on_cpu and torch.cpu._is_vnni_supported() and torch.backends.quantized.engine in _ENGINES


def _is_large(weight: Tensor) -> bool:
    return weight.nbytes >= _LARGE_BYTES


def _packed(weight: Tensor) -> Any:
    """int8 and a scale for each output, in the order of fbgemm's kernel: it takes two thirds of oneDNN's time."""
    exact = weight.float()
    scales = exact.abs().amax(dim=1).clamp_min_(_TINY).div_(_MOST)
    rounded = exact.div_(scales[:, None]).round_().to(torch.int8)
    zeros = torch.zeros(len(scales), dtype=torch.long)
    with warnings.catch_warnings():  # torch would rather have tensors without scales, but the kernel takes no others
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        held = torch._make_per_channel_quantized_tensor(rounded, scales.double(), zeros, 0)
    return torch.ops.quantized.linear_prepack(held, None)
