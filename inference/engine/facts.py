"""What is known of a loaded model."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from inference.engine.families import Family

#: Positions of a model that names no maximum.
_UNSTATED_CONTEXT_TOKENS = 16384


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`maximum_context_tokens` are the positions that the model was made for; `attention` names what computes it here.

    `quant` is what is held in fewer bits than `dtype` has: "int8" the vocabulary's weights, "none" nothing. What the
    model takes on this device is its limit.
    """

    architecture: str
    dtype: str
    attention: str
    quant: str
    parameters: int
    maximum_context_tokens: int
    chat_template: Literal["model", "default"]
    tool_call: bool
    reasoning: bool
    load_seconds: float
    capabilities: list[str]


def facts_of(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    family: Family,
    *,
    parameters: int,
    load_seconds: float,
    attention: str,
    quant: str,
) -> ModelFacts:
    return ModelFacts(
        architecture=type(network).__name__,
        dtype=str(network.dtype).removeprefix("torch."),
        attention=attention,
        quant=quant,
        parameters=parameters,
        maximum_context_tokens=maximum_context_tokens(network.config),
        chat_template="model" if tokenizer.chat_template else "default",
        tool_call=family.declared,
        reasoning=family.reasoning is not None,
        load_seconds=round(load_seconds, 2),
        capabilities=["text"],
    )


def maximum_context_tokens(config: PretrainedConfig) -> int:
    """The positions the model was made for."""
    stated: Any = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return int(stated) if stated else _UNSTATED_CONTEXT_TOKENS


def end_token_ids(network: PreTrainedModel) -> frozenset[int]:
    """Every token that ends an answer: generation settings go before the configuration, either may hold several."""
    for config in (network.generation_config, network.config.get_text_config(decoder=True)):
        ids = getattr(config, "eos_token_id", None)
        if ids is not None:
            return frozenset([ids] if isinstance(ids, int) else [int(token) for token in ids])
    return frozenset()
