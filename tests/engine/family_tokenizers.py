"""Tokenizers in miniature: the published chat templates of `templates/`, and the tokens they control models by."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

TEMPLATES = Path(__file__).parent / "templates"

_CHATML = "<|im_start|> <|im_end|> <|endoftext|>"
_HERMES = "<tool_call> </tool_call> <tool_response> </tool_response>"
_THINK = "<think> </think>"
_LLAMA = "<|begin_of_text|> <|eot_id|> <|eom_id|> <|start_header_id|> <|end_header_id|> <|python_tag|>"
_MISTRAL = "<s> </s> [INST] [/INST] [TOOL_CALLS] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS]"
_GEMMA_4 = "<bos> <turn|> <|turn> <|tool> <tool|> <|tool_call> <tool_call|> <|tool_response> <tool_response|> <|think|>"
_DEEPSEEK = "<｜begin▁of▁sentence｜> <｜end▁of▁sentence｜> <｜User｜> <｜Assistant｜>"
#: Of each template, special tokens and others; the first special one begins a text, the second ends an answer.
TOKENS = {
    "qwen2.5": (_CHATML, _HERMES),
    "qwen3": (_CHATML, f"{_HERMES} {_THINK}"),
    "qwen3-coder": (_CHATML, f"{_HERMES} {_THINK}"),
    "qwen3.8": (_CHATML, f"{_HERMES} {_THINK}"),
    "llama3.1": (_LLAMA, ""),
    "llama3.2": (_LLAMA, ""),
    "mistral-v0.3": (_MISTRAL, ""),
    "mistral-nemo": (_MISTRAL, ""),
    "mistral-args": (f"{_MISTRAL} [ARGS] [CALL_ID] [THINK] [/THINK] [SYSTEM_PROMPT] [/SYSTEM_PROMPT]", ""),
    "gemma3": ("<bos> <end_of_turn> <start_of_turn>", ""),
    "gemma4": (f'{_GEMMA_4} <|channel> <channel|> <|"|>', ""),
    "deepseek-r1-distill": (_DEEPSEEK, _THINK),
    "no template": (_CHATML, ""),
    "phi3": ("<s> <|end|> <|user|> <|assistant|> <|system|>", ""),
}


@cache
def family_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer whose other tokens are bytes, with the template of that name, if there is one."""
    special, others = (spelled.split() for spelled in TOKENS[name])
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: at for at, byte in enumerate(bytes_)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token) for token in others])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=special[1],
        chat_template=template.read_text() if (template := TEMPLATES / f"{name}.jinja").exists() else None,
    )


def spelled_out(tokenizer: PreTrainedTokenizerFast, token_ids: list[int]) -> str:
    """The text of tokens, those that control the model between brackets of their own."""
    added = tokenizer.get_added_vocab().values()
    text = ""
    plain: list[int] = []
    for token in token_ids:
        if token in added:
            text += f"{tokenizer.decode(plain)}⟦{tokenizer.convert_ids_to_tokens(token)}⟧"
            plain = []
        else:
            plain.append(token)
    return text + str(tokenizer.decode(plain))
