"""Tiny models with random weights and a real tokenizer, saved as folders that the engine loads in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

Architecture = Literal["llama", "qwen3", "gemma3"]

#: In the manner of ChatML, with what engines read from a template: tools and thinking.
CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
{{ tools | tojson }}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_SENTENCES = [
    "The river runs past the old town and under three bridges to the sea.",
    "A token is a piece of text, and a model reads and writes one token after another.",
    "What is the capital of France? It is Paris, and the capital of Japan is Tokyo.",
    "System: be kind. User: hello, who are you? Assistant: I am a tiny model of random weights.",
]
_VOCABULARY = 384
#: For answers that outlast whatever is done meanwhile: the context of their model, and the tokens of one.
LASTING_CONTEXT, LASTING = 16384, 12_000
_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
}


def tiny_model(
    folder: Path,
    architecture: Architecture = "qwen3",
    chat_template: bool = True,
    *,
    eos: bool = True,
    seed: int = 0,
    sliding_window: int = 32,
    **sizes: Any,
) -> Path:
    """Build a model of a few hundred kilobytes in `folder`; the same arguments give the same weights.

    With `eos` false nothing ends an answer but its bound or a stop string, and the text is plain: tokens that are
    no whole characters are never the likeliest. `sizes` overrides the configuration, `max_position_embeddings` say.
    """
    tokenizer = tiny_tokenizer(chat_template=chat_template)
    torch_state = torch.get_rng_state()
    torch.manual_seed(seed)
    network = _network(architecture, {**_SIZES, **sizes}, sliding_window, tokenizer.eos_token_id if eos else None)
    torch.set_rng_state(torch_state)
    _sharpen(network, silent=[] if eos else _unspeakable(tokenizer))
    network.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer(*, chat_template: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the spot: an emoji is four of its tokens, a Chinese character three."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY - 4,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<|im_end|>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE if chat_template else None,
    )


def _network(
    architecture: Architecture, sizes: dict[str, Any], sliding_window: int, eos: int | None
) -> PreTrainedModel:
    shared = {**sizes, "vocab_size": _VOCABULARY, "bos_token_id": None, "eos_token_id": eos, "pad_token_id": 0}
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**shared))
    if architecture == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**shared))
    layers = ["sliding_attention", "full_attention"]
    return Gemma3ForCausalLM(Gemma3TextConfig(**shared, sliding_window=sliding_window, layer_types=layers))


def _unspeakable(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Special tokens, parts of characters, and rows of the vocabulary that no token uses."""
    special = set(tokenizer.all_special_ids)
    return [
        token
        for token in range(_VOCABULARY)
        if token in special
        or token >= len(tokenizer)
        or not tokenizer.decode([token]).isprintable()
        or "\ufffd" in tokenizer.decode([token])
    ]


def _sharpen(network: PreTrainedModel, *, silent: list[int]) -> None:
    """Make one token stand out at each step, so that rounding decides nothing; silent ones hardly ever come."""
    with torch.no_grad():
        network.get_output_embeddings().weight *= 3
        network.get_output_embeddings().weight[silent] = 0
