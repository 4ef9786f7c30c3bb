"""Tiny networks of each served architecture with random weights in float32, and runners on them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from inference.engine.attention.attention import NAME
from inference.engine.memory.blocks import BlockTable
from inference.engine.network.fusion import fuse
from inference.engine.network.runner import Part, Runner

VOCABULARY = 96
WINDOW = 24
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_SLIDING = ["sliding_attention", "sliding_attention", "full_attention"]
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
#: Of Phi-3's longer variants: other factors for sequences past the original length.
ORIGINAL_LENGTH = 64
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + 0.05 * index for index in range(8)],
    "long_factor": [2.0 + 0.7 * index for index in range(8)],
    "original_max_position_embeddings": ORIGINAL_LENGTH,
}
CONFIGS: dict[str, tuple[type[PreTrainedModel], Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**_SIZES)),
    "llama of 3.1": (LlamaForCausalLM, LlamaConfig(**_SIZES, rope_parameters=_LLAMA3)),
    "llama of dynamic positions": (LlamaForCausalLM, LlamaConfig(**_SIZES, rope_parameters=_DYNAMIC)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**_SIZES)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**_SIZES, head_dim=32)),
    "mistral": (MistralForCausalLM, MistralConfig(**_SIZES, sliding_window=None)),
    "mistral with a window": (MistralForCausalLM, MistralConfig(**_SIZES, sliding_window=WINDOW)),
    "gemma3": (
        Gemma3ForCausalLM,
        Gemma3TextConfig(**_SIZES, head_dim=32, query_pre_attn_scalar=16, sliding_window=WINDOW, layer_types=_SLIDING),
    ),
    "phi3": (Phi3ForCausalLM, Phi3Config(**_SIZES)),
    "phi3 of 128k": (Phi3ForCausalLM, Phi3Config(**_SIZES, rope_parameters=_LONGROPE)),
}


def network(name: str, attention: str = NAME) -> PreTrainedModel:
    """The same weights for the same name, whatever the attention."""
    of, config = CONFIGS[name]
    state = torch.get_rng_state()
    torch.manual_seed(0)
    built = of._from_config(deepcopy(config), attn_implementation=attention, dtype=torch.float32)
    torch.set_rng_state(state)
    return built.eval()


def runner(name: str, *, tokens: int = 4096, lanes: int = 8) -> Runner:
    built = network(name)
    with torch.inference_mode():
        fuse(built, built.device)
    return Runner(built, tokens, lanes=lanes)


class Reading:
    """A sequence whose tokens are known beforehand, read in parts."""

    def __init__(self, runner: Runner, token_ids: list[int]) -> None:
        self.runner, self.token_ids = runner, token_ids
        self.table = BlockTable(runner.pool)
        self.read_tokens = 0

    @property
    def unread_tokens(self) -> int:
        return len(self.token_ids) - self.read_tokens

    @property
    def extended(self) -> bool:
        return self.runner.extends(len(self.token_ids))

    def part(self, tokens: int) -> Part:
        """The next tokens, with the memory for them; the logits after the last one are wanted."""
        first = self.read_tokens
        copy = self.table.reserve(first, first + tokens)
        if copy is not None:
            self.runner.key_values.copy(copy)
        self.read_tokens += tokens
        return Part(self.token_ids[first : first + tokens], first, self.table, wanted=True, extended=self.extended)

    def fork(self, token_ids: list[int]) -> Reading:
        """Another sequence that goes on from here with tokens of its own."""
        fork = Reading(self.runner, self.token_ids[: self.read_tokens] + token_ids)
        fork.table, fork.read_tokens = self.table.fork(self.read_tokens), self.read_tokens
        return fork

    def forget(self) -> None:
        self.table.release()
        self.read_tokens = 0
