"""A tiny model that writes what it was made to write: real weights, in which each token leads to the next one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import AddedToken
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.models import CHAT_TEMPLATE, tiny_tokenizer

_HIDDEN = 128
#: What a template spells that makes a model one of a family.
HERMES = "<think> </think> <tool_call> </tool_call>"
LLAMA = '<|start_header_id|> <|python_tag|> "parameters": '
MISTRAL = "[THINK] [TOOL_CALLS]"


def scripted_model(
    folder: Path,
    script: Sequence[str] = (),
    *,
    family: str = HERMES,
    markers: Sequence[str] = (),
    opening: str = "",
) -> Path:
    """Build a model in `folder` whose answer is the script, a token for each of its pieces, which are all different.

    `markers` are tokens of their own as well; `opening` ends every prompt. Without a script it writes at random.
    """
    tokenizer = _tokenizer(family, [*markers, *script], opening)
    network = _network(len(tokenizer), tokenizer.eos_token_id)
    [*_, last] = tokenizer.encode(f"<|im_start|>assistant\n{opening}")
    chain = [last, *(tokenizer.convert_tokens_to_ids(piece) for piece in script), tokenizer.eos_token_id]
    assert len(set(chain)) == len(chain), "a token leads to one other only"
    if script:
        _lead(network, chain)
    network.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(family: str, pieces: Sequence[str], opening: str) -> PreTrainedTokenizerFast:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in pieces])
    template = CHAT_TEMPLATE.replace("assistant\n", "assistant\n" + opening)
    tokenizer.chat_template = template + "{# " + family + " #}"
    return tokenizer


def _network(tokens: int, eos: int) -> LlamaForCausalLM:
    """Random, and without attention or thought: a token alone decides what follows it."""
    config = LlamaConfig(
        vocab_size=tokens,
        hidden_size=_HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=0,
    )
    state = torch.get_rng_state()
    torch.manual_seed(0)
    network = LlamaForCausalLM(config)
    torch.set_rng_state(state)
    with torch.no_grad():
        for layer in network.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        network.model.embed_tokens.weight.normal_(generator=torch.Generator().manual_seed(1))
    return network


def _lead(network: LlamaForCausalLM, chain: Sequence[int]) -> None:
    embeddings = network.model.embed_tokens.weight
    with torch.no_grad():
        for token, following in pairwise(chain):
            network.lm_head.weight[following] += embeddings[token] / 4
