"""Multiplications by weights: several as one where they take the same input, in the order that a CPU reads fastest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

#: Fewer rows than this are repeated: one row of the demo model's vocabulary takes 19.5 ms, four take 16.4 (one thread).
#: By small weights four take longer, but one by itself is rounded otherwise than beside others, and other words follow.
_FEWEST_ROWS = 3
_REPEATED_TO = 4
#: oneDNN picks its order for the rows that it is told to expect; the one for 16 serves 1 to 512 rows equally well.
_EXPECTED_ROWS = 16


class Joined(nn.Module):
    """Linear layers of one input as a single multiplication; their outputs stand side by side.

    Rows (.., rows, inputs) become (.., rows, outputs), on top of `onto` of that shape where it is given. Dimensions
    before the rows are 1.
    """

    def __init__(self, parts: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight, self.bias = _joined(parts)

    def __call__(self, rows: Tensor, onto: Tensor | None = None) -> Tensor:
        output = linear(rows, self.weight, self.bias)
        return output if onto is None else output.add_(onto)


class Packed(nn.Module):
    """The same on a CPU, with the weights in oneDNN's own order: torch's `linear` would reorder them in every call.

    bfloat16, two threads: 512 to 3,072 takes 16 rows in 0.13 ms against 0.18, 640 to 262,144 one row in 10 against 26.
    """

    def __init__(self, parts: Sequence[nn.Linear]) -> None:
        super().__init__()
        weight, self.bias = _joined(parts)
        onednn: Any = torch.ops.mkldnn
        self.weight = onednn._reorder_linear_weight(weight, _EXPECTED_ROWS)
        self._multiply: Callable[..., Tensor] = onednn._linear_pointwise.default
        self._multiply_onto: Callable[..., Tensor] = onednn._linear_pointwise.binary

    def __call__(self, rows: Tensor, onto: Tensor | None = None) -> Tensor:
        if 0 < rows.shape[-2] < _FEWEST_ROWS:
            return self._repeated(rows, onto)
        if onto is None:
            return self._multiply(rows, self.weight, self.bias, "none", [], "")
        return self._multiply_onto(rows, onto, self.weight, self.bias, "add")

    def _repeated(self, rows: Tensor, onto: Tensor | None) -> Tensor:
        count = rows.shape[-2]
        return self(_repeated(rows), None if onto is None else _repeated(onto))[..., :count, :]


def _repeated(rows: Tensor) -> Tensor:
    return torch.cat([rows] * (_REPEATED_TO // rows.shape[-2]), dim=-2)


def joined(*parts: nn.Linear) -> Joined | Packed:
    """One module for all; the parts can be dropped."""
    return Packed(parts) if _packs(parts[0].weight) else Joined(parts)


def _packs(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    onednn: Any = torch.ops.mkldnn
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and onednn._is_mkldnn_bf16_supported())


def _joined(parts: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    weights = [part.weight.detach() for part in parts]
    biases = [part.bias.detach() for part in parts if part.bias is not None]
    assert len(biases) in (0, len(parts)), "either all have a bias or none"
    if len(parts) == 1:
        return weights[0], biases[0] if biases else None
    return torch.cat(weights), torch.cat(biases) if biases else None
