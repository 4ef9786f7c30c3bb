"""Networks of known shapes with random weights, and folders of them that the engine loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from inference.engine.attention.attention import NAME
from inference.engine.network.fusion import fuse
from inference.engine.network.runner import Runner

#: 54.1 million parameters: what a CPU serves in a minute.
SMALL: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}
QWEN3_06B = SMALL | {
    "vocab_size": 151936,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
QWEN3_8B = QWEN3_06B | {
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
}
#: For `--quick`.
TINY = SMALL | {"vocab_size": 400, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "head_dim": 16}


def random_network(shape: dict[str, Any], device: torch.device) -> Qwen3ForCausalLM:
    """Weights in bfloat16, the same in every call."""
    torch.manual_seed(0)
    of: Any = Qwen3ForCausalLM
    config = Qwen3Config(**shape)
    with device:
        network: Qwen3ForCausalLM = of._from_config(config, attn_implementation=NAME, dtype=torch.bfloat16).eval()
    return network


def random_runner(shape: dict[str, Any], device: torch.device, *, tokens: int, lanes: int) -> Runner:
    """A runner with room for so many tokens in so many lanes."""
    network = random_network(shape, device)
    with torch.inference_mode():
        fuse(network, device)
    return Runner(network, tokens, lanes=lanes)


def save_random_model(shape: dict[str, Any], folder: Path) -> Path:
    """A folder whose tokenizer has a word for each token, so that a text of n words is a prompt of n tokens."""
    random_network(shape, torch.device("cpu")).save_pretrained(folder)
    words = {word_of(token): token for token in range(shape["vocab_size"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=word_of(0)))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = "{{ messages[0].content }}"
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, chat_template=template).save_pretrained(folder)
    return folder


def word_of(token: int) -> str:
    return f"w{token}"
