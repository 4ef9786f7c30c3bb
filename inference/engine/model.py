"""A model that is loaded: what a request needs of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import Cache, DynamicCache, PreTrainedModel

from inference.engine.facts import ModelFacts
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

    def logits(self, token_ids: Sequence[int], cache: Cache) -> torch.Tensor:
        """Run the next tokens of a sequence and return the float32 logits, shape (vocabulary,), that follow the last."""
        ids = torch.tensor([list(token_ids)], device=self.network.device)
        output: Any = self.network(
            input_ids=ids, past_key_values=cache, use_cache=True, **_last_logits_only(type(self.network))
        )
        logits: torch.Tensor = output.logits[0, -1].float()
        return logits


@functools.cache
def _last_logits_only(network: type[PreTrainedModel]) -> dict[str, int]:
    """The argument that spares the logits of all but the last token, for networks that know it."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(network.forward).parameters else {}
