"""A decoder layer computed in fewer and larger operations than the borrowed one, from its own weights.

Serves what Llama, Qwen 2 and 3, Mistral, Gemma 3 and Phi-3 have in common: normed, attended, added; normed, multiplied
through a gate, added. Tokens stand in one row, (tokens, hidden), since a step has no batch dimension. What torch does
around every call of a module is left out: nobody hooks into these.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, rms_norm

from inference.engine.attention.attention import attended
from inference.engine.attention.step import Step
from inference.engine.network.linear import joined

_FEW_ROWS = 4


class Norm(nn.Module):
    """RMSNorm. The weights stay in float32 where an offset to the stored ones would be rounded away.

    torch has none for a CPU and makes a dozen operations of it, but a LayerNorm of one operation. Of a row beside its
    negative the mean is 0, so that is the same: 6 us against 13 for a row of 512. Many rows are better not doubled.
    """

    def __init__(self, borrowed: Any) -> None:
        super().__init__()
        self.weight, self.eps = norm_weight(borrowed), norm_eps(borrowed)
        self._twice = torch.cat((self.weight, self.weight)) if self.weight.device.type == "cpu" else None

    def __call__(self, rows: Tensor) -> Tensor:
        if self._twice is not None and rows.shape[-2] <= _FEW_ROWS:
            doubled = torch.cat((rows, -rows), dim=-1)
            return layer_norm(doubled, self._twice.shape, self._twice, None, self.eps)[..., : rows.shape[-1]]
        if rows.dtype == self.weight.dtype:
            return rms_norm(rows, self.weight.shape, self.weight, self.eps)
        return rms_norm(rows.float(), self.weight.shape, self.weight, self.eps).to(rows.dtype)


class Rotary(nn.Module):
    """The borrowed positions as (tokens, 1, width) each; the sines carry the sign of the half that they turn."""

    def __init__(self, borrowed: nn.Module) -> None:
        super().__init__()
        self.borrowed = borrowed

    def forward(self, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor]:
        cosines, sines = self.borrowed(*arguments, **named)
        half = sines.shape[-1] // 2
        signed = torch.cat((-sines[..., :half], sines[..., half:]), dim=-1)
        return cosines[0, :, None], signed[0, :, None]


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
        self.norm = self._head_norms(borrowed) if hasattr(borrowed, "q_norm") else None
        self.eps = norm_eps(borrowed.q_norm) if self.norm is not None else 0.0

    def _head_norms(self, borrowed: Any) -> Tensor:
        """A row of weights for each head, of the queries first."""
        query, key = norm_weight(borrowed.q_norm), norm_weight(borrowed.k_norm)
        return torch.cat((query.expand(self.heads, -1), key.expand(self.kv_heads, -1)))

    def __call__(self, rows: Tensor, turn: tuple[Tensor, Tensor], step: Step, onto: Tensor | None) -> Tensor:
        heads = self.qkv(rows).view(rows.shape[0], -1, self.width)
        queries_and_keys = turning = heads[:, : -self.kv_heads]
        if self.norm is not None:
            turning = rms_norm(turning, (self.width,), None, self.eps).mul_(self.norm)
        _turn(turning, *turn, onto=queries_and_keys)
        standing = heads.transpose(0, 1)
        query, both = standing[: self.heads], standing[self.heads :]
        read = attended(self.layer_idx, query, both, scaling=self.scaling, step=step, window=self.window)
        output: Tensor = self.output(read.reshape(rows.shape[0], -1), onto)
        return output


class Mlp:
    """Gate and rise in one multiplication."""

    def __init__(self, borrowed: Any) -> None:
        together = hasattr(borrowed, "gate_up_proj")
        self.gate_up = joined(*([borrowed.gate_up_proj] if together else [borrowed.gate_proj, borrowed.up_proj]))
        self.down = joined(borrowed.down_proj)
        self.activation = borrowed.activation_fn if together else borrowed.act_fn

    def __call__(self, rows: Tensor, onto: Tensor | None) -> Tensor:
        gate, up = self.gate_up(rows).chunk(2, dim=-1)
        output: Tensor = self.down(self.activation(gate).mul_(up), onto)
        return output


class Layer(nn.Module):
    """Takes the place of a borrowed decoder layer. What is computed is added on top of the input in the same pass."""

    def __init__(self, borrowed: Any, *, window: int | None) -> None:
        super().__init__()
        self.attention = Attention(borrowed.self_attn, window=window)
        self.mlp = Mlp(borrowed.mlp)
        self.before_attention = Norm(borrowed.input_layernorm)
        sandwiched = hasattr(borrowed, "pre_feedforward_layernorm")  # Gemma norms the outputs as well
        before_mlp = borrowed.pre_feedforward_layernorm if sandwiched else borrowed.post_attention_layernorm
        self.before_mlp = Norm(before_mlp)
        self.after_attention = Norm(borrowed.post_attention_layernorm) if sandwiched else None
        self.after_mlp = Norm(borrowed.post_feedforward_layernorm) if sandwiched else None

    def forward(self, rows: Tensor, turn: tuple[Tensor, Tensor], step: Step) -> Tensor:
        """(tokens, hidden) to the same; `turn` is what `Rotary` makes of the tokens' positions."""
        normed = self.before_attention(rows)
        if self.after_attention is None or self.after_mlp is None:
            rows = self.attention(normed, turn, step, rows)
            return self.mlp(self.before_mlp(rows), rows)
        rows = rows + self.after_attention(self.attention(normed, turn, step, None))
        return rows + self.after_mlp(self.mlp(self.before_mlp(rows), None))


def norm_weight(norm: Any) -> Tensor:
    """What an RMSNorm multiplies by: Gemma's adds 1 to its weights, in float32."""
    weight: Tensor = norm.weight.detach()
    return 1 + weight.float() if type(norm).__name__.startswith("Gemma") else weight


def norm_eps(norm: Any) -> float:
    return float(norm.eps if hasattr(norm, "eps") else norm.variance_epsilon)


def _turn(heads: Tensor, cosines: Tensor, sines: Tensor, *, onto: Tensor) -> None:
    """Rotary positions of (tokens, heads, width), of the first part of each head where they are less wide.

    Written to `onto`, which may be the same memory.
    """
    width = cosines.shape[-1]
    turning = heads[..., :width]
    torch.addcmul(turning * cosines, turning.roll(width // 2, dims=-1), sines, out=onto[..., :width])
    if width < heads.shape[-1] and heads is not onto:
        onto[..., width:] = heads[..., width:]
