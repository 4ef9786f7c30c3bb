"""A model that is loaded: what a request needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedModel

from inference.engine.facts import ModelFacts
from inference.engine.families import Family
from inference.engine.grammars.grammar import Grammars
from inference.engine.limits.limits import ModelLimits
from inference.engine.network.runner import Runner
from inference.engine.prompts.prompts import Prompts
from inference.engine.sampling.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """`runner` is touched by the device's owner thread only; the rest is for any thread."""

    id: str
    folder: Path
    facts: ModelFacts
    prompts: Prompts
    tokenizer: Tokenizer
    end_token_ids: frozenset[int]
    limits: ModelLimits
    vocabulary: Vocabulary
    grammars: Grammars
    runner: Runner

    def is_again(self, other: LoadedModel) -> bool:
        """Whether it is the other one, or what was loaded for it when the device had broken."""
        return self.prompts is other.prompts

    @property
    def family(self) -> Family:
        return self.prompts.family

    @property
    def network(self) -> PreTrainedModel:
        return self.runner.network
