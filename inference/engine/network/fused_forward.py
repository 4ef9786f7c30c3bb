"""The forward of a network whose decoder layers are `Layer`s: what transformers' does, without what it asks on the way.

Masks that nobody reads, caches that are not there and records of outputs took 4 % of the bench's time.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from inference.engine.attention.step import Forward


class FusedForward:
    """Called with what `Runner` gives any network; takes the place of its `forward`, so that hooks go on working."""

    def __init__(self, network: PreTrainedModel) -> None:
        borrowed: Any = network
        decoder = borrowed.get_decoder()
        config = borrowed.config.get_text_config(decoder=True)
        self._embed, self._norm, self._head = decoder.embed_tokens, decoder.norm, borrowed.get_output_embeddings()
        self._rotary = decoder.rotary_emb
        # Gemma 3 turns by other frequencies where a layer has a window.
        by_kind = "layer_type" in inspect.signature(self._rotary.borrowed.forward).parameters
        kinds = config.layer_types if by_kind else [None] * len(decoder.layers)
        self._layers = [(layer.forward, kind) for layer, kind in zip(decoder.layers, kinds, strict=True)]
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)

    def __call__(
        self, *, input_ids: Tensor, position_ids: Tensor, step: Forward, logits_to_keep: Tensor, use_cache: bool = False
    ) -> CausalLMOutputWithPast:
        """Of ids and positions (1, tokens) the logits (1, rows, vocabulary) after the rows `logits_to_keep`."""
        assert not use_cache, "keys and values are the step's"
        embedded = self._embed(input_ids)
        turns = {
            kind: self._rotary(embedded, position_ids, *([] if kind is None else [kind]))
            for kind in {kind for _, kind in self._layers}
        }
        rows = embedded[0]
        for layer, kind in self._layers:
            rows = layer(rows, turns[kind], step)
        logits = self._head(self._norm(rows[logits_to_keep]))
        if self._cap is not None:
            logits = (logits / self._cap).tanh() * self._cap
        return CausalLMOutputWithPast(logits=logits[None])
