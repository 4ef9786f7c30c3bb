"""A model that is loaded: what a request needs of it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import Cache, DynamicCache, PreTrainedModel

from inference.engine.facts import ModelFacts
from inference.engine.loading import LoadError
from inference.engine.owner import is_device_fault
from inference.engine.prompts import Prompts


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """`network` is touched by the device's owner thread only; the rest is for any thread."""

    id: str
    folder: Path
    facts: ModelFacts
    prompts: Prompts
    tokenizer: Tokenizer
    end_token_ids: frozenset[int]
    network: PreTrainedModel

    def new_cache(self) -> Cache:
        """Keys and values of one sequence; it keeps only the window where a layer slides."""
        return DynamicCache(config=self.network.config)

    @torch.inference_mode()
    def logits(self, token_ids: Sequence[int], cache: Cache) -> torch.Tensor:
        """Run the next tokens of a sequence; returns the float32 logits after the last one, shape (vocabulary,)."""
        ids = torch.tensor([list(token_ids)], device=self.network.device)
        output: Any = self.network(input_ids=ids, past_key_values=cache, use_cache=True, **self._last_logits_only)
        logits: torch.Tensor = output.logits[0, -1].float()
        return logits

    @cached_property
    def _last_logits_only(self) -> dict[str, int]:
        """The argument that spares the logits of all but the last token, for networks that know it."""
        return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(self.network.forward).parameters else {}

    def check(self) -> None:
        """Compute one token, so that a network which cannot run like this is found at load and not by a client."""
        try:
            self.logits([0], self.new_cache())
        except Exception as fault:
            if is_device_fault(fault):
                raise
            raise LoadError(f"{self.id} loads but does not run: {self.facts.architecture} is not supported.") from fault
