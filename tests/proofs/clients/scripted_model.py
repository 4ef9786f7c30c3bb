"""A real torch model that says what it is told to: for clients whose tools nobody can force it to call.

Its chat template decides what is due and ends the prompt with a cue; each token then makes one other the likeliest, and
nothing else matters: the layer's attention and its feed-forward add nothing. So it thinks when asked to, calls the
tools that a client offers, one round after another, and has a last word once it has read the results.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from helexa.home import REPOSITORY

#: What it says, and what `lookup`, the tool of our own scripts, is asked for, round by round. Scripts read it as well.
TOLD = json.loads((Path(__file__).parent / "scripts" / "told.json").read_text())
#: What an agent with a shell is made to do: the file shows that the tool ran.
SHELL_COMMAND = "echo scripted > scripted.txt"

#: The one call for each tool of agents: the names are those that Claude Code and Codex give to their shells.
AGENT_CALLS: dict[str, dict[str, Any]] = {
    "Bash": {"command": SHELL_COMMAND, "description": "Write a file"},
    "exec_command": {"cmd": SHELL_COMMAND},
    "shell": {"command": ["bash", "-c", SHELL_COMMAND]},
    "shell_command": {"command": SHELL_COMMAND},
}

_THINKING = "<think>\n"
_TEMPLATE = """\
{%- if tools %}<|im_start|>system
{{ tools | tojson }}<|im_end|>
{% endif %}
{%- set seen = namespace(results=0, names=[]) %}
{%- for tool in tools or [] %}{% set seen.names = seen.names + [tool.function.name] %}{% endfor %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.reasoning_content %}<think>
{{ message.reasoning_content }}</think>

{% endif %}{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}<tool_call>
{{ call.function | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% if message.role == 'tool' %}{% set seen.results = seen.results + 1 %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% set due = namespace(cue='') %}
{%- for cue, name, round in calls %}
{%- if not due.cue and name in seen.names and round == seen.results %}{% set due.cue = cue %}{% endif %}
{%- endfor %}
{%- if due.cue %}{{ due.cue }}
{%- elif seen.results %}<|cue:last-word|>
{%- elif enable_thinking is not defined or enable_thinking %}<think>
{% else %}<|cue:first-word|>{% endif %}
{%- endif %}"""


def scripted_model(folder: Path) -> Path:
    """Build it in `folder`. Its context has room for what agents send: 131,072 tokens."""
    scripts = _scripts()
    tokenizer = _tokenizer(scripts)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=131_072,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    network = Qwen3ForCausalLM(config)
    torch.set_rng_state(torch_state)
    _teach(network, [tokenizer.convert_tokens_to_ids(script) for script in scripts])
    _incline(network, tokenizer)
    network.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _scripts() -> list[list[str]]:
    """Each from its cue to the end, in tokens. A call is one, for what follows depends on the last token alone."""
    said = [
        ["<|cue:first-word|>", *_words(TOLD["first_word"])],
        [_THINKING, *_words(TOLD["thought"]), "</think>\n\n", *_words(TOLD["first_word"])],
        ["<|cue:last-word|>", *_words(TOLD["last_word"])],
    ]
    return [[*script, "<|im_end|>"] for script in said + [[cue, *_written(cue)] for cue in _CALLS]]


def _words(text: str) -> list[str]:
    """Pieces of a text, so that it is streamed. No word is in two places: what follows depends on it alone."""
    return [f"{word} " for word in text.split()[:-1]] + text.split()[-1:]


#: Cue, then the tool, the arguments, and the number of results after which the call is due.
_CALLS: dict[str, tuple[str, dict[str, Any], int]] = {
    **{f"<|cue:lookup-{round}|>": ("lookup", {"city": city}, round) for round, city in enumerate(TOLD["cities"])},
    **{f"<|cue:{name}|>": (name, arguments, 0) for name, arguments in AGENT_CALLS.items()},
}


def _written(cue: str) -> list[str]:
    """A call as a grammar has it too, where a client insists on one: with no spaces between its arguments.

    The end is another token: one that is all between `<` and `>` would be a control token to the grammar.
    """
    name, arguments, _ = _CALLS[cue]
    compact = json.dumps(arguments, separators=(",", ":"))
    return [f'<tool_call>\n{{"name": "{name}", "arguments": {compact}}}', "\n</tool_call>"]


def _tokenizer(scripts: list[list[str]]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of English: agents send ten thousands of tokens, and would send twice as many smaller ones."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train([str(page) for page in sorted((REPOSITORY / "docs").rglob("*.md"))], trainer)
    spoken = sorted({token for script in scripts for token in script if not token.startswith("<|")})
    cues = sorted({token for script in scripts for token in script if token.startswith("<|")} | {"<|im_start|>"})
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in cues])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in spoken])
    calls = [[cue, name, round] for cue, (name, _, round) in _CALLS.items()]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=f"{{%- set calls = {json.dumps(calls)} %}}\n{_TEMPLATE}",
    )


def _teach(network: Qwen3ForCausalLM, scripts: list[list[int]]) -> None:
    """Leave of the network what turns a token into its successor, whose row of the output is the token's embedding.

    The first number of every embedding is the same, for what a token is worth whatever stands before it.
    """
    embeddings, outputs = network.get_input_embeddings().weight, network.get_output_embeddings().weight
    with torch.no_grad():
        torch.nn.init.normal_(embeddings)
        torch.nn.init.zeros_(outputs)
        embeddings[:, 0] = 16
        for layer in network.model.layers:
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
            torch.nn.init.zeros_(layer.mlp.down_proj.weight)
        for token, successor in sorted({pair for script in scripts for pair in pairwise(script)}):
            outputs[successor, 1:] += embeddings[token, 1:]


def _incline(network: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Where a grammar leads away from the script, end soon: close what is open, and put no spaces anywhere."""
    outputs = network.get_output_embeddings().weight
    with torch.no_grad():
        for token in range(len(tokenizer) - len(tokenizer.added_tokens_decoder)):
            outputs[token, 0] = _worth(str(tokenizer.decode([token])))


def _worth(text: str) -> float:
    """More for the end of a string than for that of an object, which may be part of the string."""
    if text.isspace():
        return -2.0
    if text and not text.strip('"}'):
        return 3.0 if text[0] == '"' else 2.0
    return 0.0
