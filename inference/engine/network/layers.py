"""A decoder layer computed in fewer and larger operations than the borrowed one, from its own weights.

Serves what Llama, Qwen 2 and 3, Mistral, Gemma 3 and Phi-3 have in common: normed, attended, added; normed, multiplied
through a gate, added. Tokens stand in one row, (tokens, hidden), since a step has no batch dimension. What torch does
around every call of a module is left out: nobody hooks into these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import rms_norm, silu
from transformers.activations import SiLUActivation

from inference.engine.attention.attention import attended
from inference.engine.attention.step import Step
from inference.engine.network.linear import joined

_SILUS = nn.SiLU, SiLUActivation


class Norm(nn.Module):
    """RMSNorm of rows (.., width) by weights that are one row of these, or one for each head.

    On a CPU in float32 and by the rows' lengths, for which torch has a fast kernel, where its own norm is a dozen
    operations: 16 rows of 512 take 7 us, 204 of 640 take 31 (89 with the root of the mean of the squares).
    """

    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps
        width = weight.shape[-1]
        # A length is the root of the mean of the squares times that of the width.
        self._by_length = weight.float() * math.sqrt(width) if weight.device.type == "cpu" else None
        self._shortest = torch.tensor(math.sqrt(width * eps))

    def __call__(self, rows: Tensor) -> Tensor:
        if self._by_length is None:
            return self._fused(rows.to(self.weight.dtype)).to(rows.dtype)
        exact = rows.float()
        lengths = vector_norm(exact, dim=-1, keepdim=True).hypot_(self._shortest)
        return exact.div(lengths).mul_(self._by_length).to(rows.dtype)

    def _fused(self, rows: Tensor) -> Tensor:
        if self.weight.dim() == 1:
            return rms_norm(rows, self.weight.shape, self.weight, self.eps)
        return rms_norm(rows, rows.shape[-1:], None, self.eps).mul_(self.weight)


class Turn(NamedTuple):
    """What positions turn heads by, (tokens, 1, width) each: the sines with the signs that `roll`ed heads need."""

    cosines: Tensor
    sines: Tensor


class Rotary(nn.Module):
    """The borrowed positions as a `Turn`."""

    def __init__(self, borrowed: nn.Module) -> None:
        super().__init__()
        self.borrowed = borrowed

    def forward(self, *arguments: Any, **named: Any) -> Turn:
        cosines, sines = self.borrowed(*arguments, **named)
        half = sines.shape[-1] // 2
        signed = torch.cat((-sines[..., :half], sines[..., half:]), dim=-1)
        return Turn(cosines[0, :, None], signed[0, :, None])


class Attention:
    """Queries, keys and values in one multiplication; queries and keys are normed and turned together."""

    def __init__(self, borrowed: Any, *, window: int | None) -> None:
        config = borrowed.config
        self.layer_idx, self.scaling, self.width = borrowed.layer_idx, borrowed.scaling, borrowed.head_dim
        self.window = window
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        together = hasattr(borrowed, "qkv_proj")
        self.qkv = joined(*([borrowed.qkv_proj] if together else [borrowed.q_proj, borrowed.k_proj, borrowed.v_proj]))
        self.output = joined(borrowed.o_proj)
        self.head_norm = self._head_norm(borrowed) if hasattr(borrowed, "q_norm") else None

    def _head_norm(self, borrowed: Any) -> Norm:
        """Of queries and keys, whose heads stand behind those of the queries."""
        query, key = norm_weight(borrowed.q_norm), norm_weight(borrowed.k_norm)
        weights = torch.cat((query.expand(self.heads, -1), key.expand(self.kv_heads, -1)))
        return Norm(weights, norm_eps(borrowed.q_norm))

    def __call__(self, rows: Tensor, turn: Turn, step: Step, onto: Tensor | None) -> Tensor:
        heads = self.qkv(rows).view(len(rows), -1, self.width)
        placed = heads[:, : -self.kv_heads]
        _turn(placed if self.head_norm is None else self.head_norm(placed), turn, onto=placed)
        standing = heads.transpose(0, 1)
        query, both = standing[: self.heads], standing[self.heads :]
        read = attended(self.layer_idx, query, both, scaling=self.scaling, step=step, window=self.window)
        output: Tensor = self.output(read.reshape(len(rows), -1), onto)
        return output


class Mlp:
    """Gate and rise in one multiplication."""

    def __init__(self, borrowed: Any) -> None:
        together = hasattr(borrowed, "gate_up_proj")
        self.gate_up = joined(*([borrowed.gate_up_proj] if together else [borrowed.gate_proj, borrowed.up_proj]))
        self.down = joined(borrowed.down_proj)
        activation = borrowed.activation_fn if together else borrowed.act_fn
        # A module around one function takes 8 us in each layer.
        self.activation: Callable[[Tensor], Tensor] = silu if isinstance(activation, _SILUS) else activation

    def __call__(self, rows: Tensor, onto: Tensor | None) -> Tensor:
        both = self.gate_up(rows)
        middle = both.shape[-1] // 2
        gate, up = both[..., :middle], both[..., middle:]
        output: Tensor = self.down(self.activation(gate).mul_(up), onto)
        return output


class Layer(nn.Module):
    """Takes the place of a borrowed decoder layer. What is computed is added on top of the input in the same pass."""

    def __init__(self, borrowed: Any, *, window: int | None) -> None:
        super().__init__()
        self.attention = Attention(borrowed.self_attn, window=window)
        self.mlp = Mlp(borrowed.mlp)
        sandwiched = hasattr(borrowed, "pre_feedforward_layernorm")  # Gemma norms the outputs as well
        before_mlp = borrowed.pre_feedforward_layernorm if sandwiched else borrowed.post_attention_layernorm
        # Pairs, since a module of its own is found by a search in each call.
        self._before = norm(borrowed.input_layernorm), norm(before_mlp)
        after = (borrowed.post_attention_layernorm, borrowed.post_feedforward_layernorm) if sandwiched else None
        self._after = after and (norm(after[0]), norm(after[1]))

    def forward(self, rows: Tensor, turn: Turn, step: Step) -> Tensor:
        """(tokens, hidden) to the same; `turn` is what `Rotary` makes of the tokens' positions."""
        before_attention, before_mlp = self._before
        if self._after is None:
            rows = self.attention(before_attention(rows), turn, step, rows)
            return self.mlp(before_mlp(rows), rows)
        after_attention, after_mlp = self._after
        rows = rows + after_attention(self.attention(before_attention(rows), turn, step, None))
        return rows + after_mlp(self.mlp(before_mlp(rows), None))


def norm(borrowed: Any) -> Norm:
    """Takes the place of a borrowed RMSNorm."""
    return Norm(norm_weight(borrowed), norm_eps(borrowed))


def norm_weight(borrowed: Any) -> Tensor:
    """What an RMSNorm multiplies by. Gemma's adds 1 to its weights, in float32, as bfloat16 would round them away."""
    weight: Tensor = borrowed.weight.detach()
    return 1 + weight.float() if type(borrowed).__name__.startswith("Gemma") else weight


def norm_eps(borrowed: Any) -> float:
    return float(borrowed.eps if hasattr(borrowed, "eps") else borrowed.variance_epsilon)


def _turn(heads: Tensor, turn: Turn, *, onto: Tensor) -> None:
    """Rotary positions of (tokens, heads, width), of the first part of each head where they are less wide.

    Written to `onto`, which may be the same memory.
    """
    width = turn.cosines.shape[-1]
    turning = heads[..., :width]
    swapped = turning.roll(width // 2, dims=-1)
    torch.addcmul(turning * turn.cosines, swapped, turn.sines, out=onto[..., :width])
    if width < heads.shape[-1] and heads is not onto:
        onto[..., width:] = heads[..., width:]
