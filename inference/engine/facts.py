"""What is known of a loaded model."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

#: Longest prompt that is taken while limits are not derived from the hardware (MISSION N14).
UNDERIVED_INPUT_LIMIT_TOKENS = 16384


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`context_tokens` is the most of prompt and answer together: the model's own maximum, or what its memory holds.

    `input_limit_tokens` is the prompt's. `attention` names what computes it on this device, `quant` what is held in
    fewer bits than `dtype` has: "int8" the vocabulary's weights, "none" nothing.
    """

    architecture: str
    dtype: str
    attention: str
    quant: str
    parameters: int
    context_tokens: int
    input_limit_tokens: int
    chat_template: Literal["model", "default"]
    tool_call: bool
    reasoning: bool
    load_seconds: float
    capabilities: list[str]


def facts_of(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    parameters: int,
    kv_tokens: int,
    load_seconds: float,
    attention: str,
    quant: str,
) -> ModelFacts:
    """`kv_tokens` is the most that one sequence has memory for."""
    context_tokens = min(maximum_context_tokens(network.config), kv_tokens)
    template = template_text(tokenizer)
    return ModelFacts(
        architecture=type(network).__name__,
        dtype=str(network.dtype).removeprefix("torch."),
        attention=attention,
        quant=quant,
        parameters=parameters,
        context_tokens=context_tokens,
        input_limit_tokens=min(context_tokens - 1, UNDERIVED_INPUT_LIMIT_TOKENS),
        chat_template="model" if template else "default",
        tool_call=bool(re.search(r"\btools\b|<tool_call>", template)),
        reasoning="<think>" in template or "<think>" in tokenizer.get_added_vocab(),
        load_seconds=round(load_seconds, 2),
        capabilities=["text"],
    )


def maximum_context_tokens(config: PretrainedConfig) -> int:
    """The positions the model was made for. One that names no maximum gets what the prompt limit needs."""
    stated: Any = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return int(stated) if stated else UNDERIVED_INPUT_LIMIT_TOKENS + 1


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template, or all of them where a model has several by name; empty where it has none."""
    template = tokenizer.chat_template
    return "\n".join(template.values()) if isinstance(template, dict) else template or ""


def end_token_ids(network: PreTrainedModel) -> frozenset[int]:
    """Every token that ends an answer: generation settings go before the configuration, either may hold several."""
    for config in (network.generation_config, network.config.get_text_config(decoder=True)):
        ids = getattr(config, "eos_token_id", None)
        if ids is not None:
            return frozenset([ids] if isinstance(ids, int) else [int(token) for token in ids])
    return frozenset()
