"""Positions whose factors depend on how long a sequence may become (LongRoPE, https://arxiv.org/abs/2402.13753)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from inference.engine.network.layers import Rotary


class LongRope(torch.nn.Module):
    """A rotary embedding that picks short or long factors for each sequence, once for its whole life.

    transformers picks them from the largest position of a whole batch, so that one sequence would change what another
    one computes, and a sequence that grows past the original length would read keys of other factors. Here a sequence
    is extended from its first token if prompt and bound together may pass that length. Before each forward `choose`
    says which of its tokens belong to such sequences.
    """

    def __init__(self, config: PreTrainedConfig, device: torch.device) -> None:
        super().__init__()
        frequencies = ROPE_INIT_FUNCTIONS["longrope"]
        self.original_tokens = int(config.rope_parameters["original_max_position_embeddings"])
        self._short, self._scaling = frequencies(config, device, seq_len=self.original_tokens)
        self._long, _ = frequencies(config, device, seq_len=self.original_tokens + 1)
        self._frequencies = self._short

    def extends(self, tokens: int) -> bool:
        """Whether a sequence that may have so many tokens, prompt and answer, takes the long factors."""
        return tokens > self.original_tokens

    def choose(self, extended: Sequence[bool]) -> None:
        """Say of each token of the next forward whether its sequence is extended."""
        rows = torch.tensor(extended, device=self._long.device)[:, None]
        self._frequencies = torch.where(rows, self._long, self._short)

    def forward(self, hidden: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of shape (1, tokens, rotary dimensions), of the type of `hidden`."""
        angles = position_ids[..., None].float() * self._frequencies
        both = torch.cat((angles, angles), dim=-1)
        return (both.cos() * self._scaling).to(hidden.dtype), (both.sin() * self._scaling).to(hidden.dtype)


def with_long_rope(network: PreTrainedModel) -> LongRope | None:
    """Replace the positions of a network whose configuration says longrope; None for any other."""
    config = network.config.get_text_config(decoder=True)
    parameters = getattr(config, "rope_parameters", None) or {}
    if parameters.get("rope_type") != "longrope":
        return None
    decoder: Any = network.get_decoder()  # type: ignore[no-untyped-call]
    positions = LongRope(config, network.device)
    if isinstance(decoder.rotary_emb, Rotary):  # of a network that is fused
        decoder.rotary_emb.borrowed = positions
    else:
        decoder.rotary_emb = positions
    return positions
