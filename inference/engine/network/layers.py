"""A decoder layer computed in fewer and larger operations than the borrowed one, from its own weights.

Serves what Llama, Qwen 2 and 3, Mistral, Gemma 3 and Phi-3 have in common: normed, attended, added; normed, multiplied
through a gate, added. Tokens stand in one row, (tokens, hidden), since a step has no batch dimension. What torch does
around every call of a module is left out: nobody hooks into these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import layer_norm, rms_norm, silu
from transformers.activations import SiLUActivation

from inference.engine.attention.attention import attended
from inference.engine.attention.step import Step
from inference.engine.network.linear import joined

#: Up to so many rows are normed beside their negatives. Within the network, where every operation finds its code out of
#: the caches: 16 rows of 512 take 44 us against 59, 8 rows 37 against 51, 12 heads of 4 rows 53 against 94.
_FEW_ROWS = 16
_SILUS = nn.SiLU, SiLUActivation


class Norm(nn.Module):
    """RMSNorm. The weights stay in float32 where an offset to the stored ones would be rounded away.

    torch has none for a CPU and makes a dozen operations of it, but a LayerNorm of one operation. Of a row beside its
    negative the mean is 0, so that is the same. Many rows are better not doubled.
    """

    def __init__(self, borrowed: Any) -> None:
        super().__init__()
        self.weight, self.eps = norm_weight(borrowed), norm_eps(borrowed)
        self._twice = torch.cat((self.weight, self.weight)) if self.weight.device.type == "cpu" else None

    def __call__(self, rows: Tensor) -> Tensor:
        if self._twice is None:
            return rms_norm(rows.to(self.weight.dtype), self.weight.shape, self.weight, self.eps).to(rows.dtype)
        if rows.shape[-2] <= _FEW_ROWS:
            return layer_norm(_doubled(rows), self._twice.shape, self._twice, None, self.eps)[..., : rows.shape[-1]]
        return _normed(rows, self.eps).mul_(self.weight).to(rows.dtype)


class Turn(NamedTuple):
    """What positions turn heads by, (tokens, 1, width) each. `signed` are the sines as `roll`ed heads need them."""

    cosines: Tensor
    sines: Tensor
    signed: Tensor


class Rotary(nn.Module):
    """The borrowed positions as a `Turn`."""

    def __init__(self, borrowed: nn.Module) -> None:
        super().__init__()
        self.borrowed = borrowed

    def forward(self, *arguments: Any, **named: Any) -> Turn:
        cosines, sines = self.borrowed(*arguments, **named)
        half = sines.shape[-1] // 2
        signed = torch.cat((-sines[..., :half], sines[..., half:]), dim=-1)
        return Turn(cosines[0, :, None], sines[0, :, None], signed[0, :, None])


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
        self.norm_twice = self._head_norms(borrowed) if hasattr(borrowed, "q_norm") else None
        self.eps = 0.0 if self.norm_twice is None else norm_eps(borrowed.q_norm)

    def _head_norms(self, borrowed: Any) -> Tensor:
        """A row of weights for each head, twice side by side; the queries' heads come first."""
        query, key = norm_weight(borrowed.q_norm), norm_weight(borrowed.k_norm)
        return torch.cat((query.expand(self.heads, -1), key.expand(self.kv_heads, -1))).repeat(1, 2)

    def __call__(self, rows: Tensor, turn: Turn, step: Step, onto: Tensor | None) -> Tensor:
        count = len(turn.cosines)  # what is behind so many rows repeats them
        heads = self.qkv(rows)[:count].view(count, -1, self.width)
        self._place(heads[:, : -self.kv_heads], turn)
        standing = heads.transpose(0, 1)
        query, both = standing[: self.heads], standing[self.heads :]
        read = attended(self.layer_idx, query, both, scaling=self.scaling, step=step, window=self.window)
        read = read.reshape(count, -1)
        output: Tensor = self.output(read if count == len(rows) else read.repeat(len(rows) // count, 1), onto)
        return output

    def _place(self, heads: Tensor, turn: Turn) -> None:
        """Norm queries and keys, (tokens, heads, width), where the network does, and turn them, in place."""
        if self.norm_twice is None:
            _turn(heads, turn, onto=heads)
        elif heads.device.type == "cpu" and len(heads) <= _FEW_ROWS and turn.cosines.shape[-1] == self.width:
            normed = layer_norm(_doubled(heads), (2 * self.width,), None, None, self.eps)
            _turn_doubled(normed.mul_(self.norm_twice), turn, onto=heads)
        else:
            normed = _normed(heads, self.eps).mul_(self.norm_twice[:, : self.width])
            _turn(normed.to(heads.dtype), turn, onto=heads)


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
        self._before = Norm(borrowed.input_layernorm), Norm(before_mlp)
        after = (borrowed.post_attention_layernorm, borrowed.post_feedforward_layernorm) if sandwiched else None
        self._after = after and (Norm(after[0]), Norm(after[1]))

    def forward(self, rows: Tensor, turn: Turn, step: Step) -> Tensor:
        """(tokens, hidden) to the same; `turn` is what `Rotary` makes of the tokens' positions.

        The tokens may be followed by themselves, once or more often: see `enough`.
        """
        before_attention, before_mlp = self._before
        if self._after is None:
            rows = self.attention(before_attention(rows), turn, step, rows)
            return self.mlp(before_mlp(rows), rows)
        after_attention, after_mlp = self._after
        rows = rows + after_attention(self.attention(before_attention(rows), turn, step, None))
        return rows + after_mlp(self.mlp(before_mlp(rows), None))


def norm_weight(norm: Any) -> Tensor:
    """What an RMSNorm multiplies by: Gemma's adds 1 to its weights, in float32."""
    weight: Tensor = norm.weight.detach()
    return 1 + weight.float() if type(norm).__name__.startswith("Gemma") else weight


def norm_eps(norm: Any) -> float:
    return float(norm.eps if hasattr(norm, "eps") else norm.variance_epsilon)


def _normed(rows: Tensor, eps: float) -> Tensor:
    """RMSNorm without weights, in memory of its own; in float32 on a CPU.

    torch's own takes 1.4 ms there for 5 heads of 256 of 200 tokens in bfloat16, this 0.3.
    """
    if rows.device.type != "cpu":
        return rms_norm(rows, rows.shape[-1:], None, eps)
    exact = rows.to(torch.float32, copy=True)
    norms = vector_norm(exact, dim=-1, keepdim=True)
    return exact.mul_(norms.square_().div_(rows.shape[-1]).add_(eps).rsqrt_())


def _doubled(rows: Tensor) -> Tensor:
    """Each row beside its negative, whose mean is 0."""
    return torch.cat((rows, -rows), dim=-1)


def _turn(heads: Tensor, turn: Turn, *, onto: Tensor) -> None:
    """Rotary positions of (tokens, heads, width), of the first part of each head where they are less wide.

    Written to `onto`, which may be the same memory.
    """
    width = turn.cosines.shape[-1]
    turning = heads[..., :width]
    swapped = turning.roll(width // 2, dims=-1)
    torch.addcmul(turning * turn.cosines, swapped, turn.signed, out=onto[..., :width])
    if width < heads.shape[-1] and heads is not onto:
        onto[..., width:] = heads[..., width:]


def _turn_doubled(doubled: Tensor, turn: Turn, *, onto: Tensor) -> None:
    """The same of heads beside their negatives, (tokens, heads, 2 * width), among which they stand swapped.

    The second half of a head and then the negative of its first: minus what the sines are multiplied by.
    """
    width = onto.shape[-1]
    swapped = doubled[..., width // 2 : width // 2 + width]
    torch.addcmul(doubled[..., :width] * turn.cosines, swapped, turn.sines, value=-1, out=onto)
