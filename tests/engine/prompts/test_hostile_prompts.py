"""Whatever a client sends, a prompt comes of it or a refusal that is meant: no fault, and no mark left in a prompt."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engine.prompts.conversations import PromptError
from inference.engine.prompts.prompts import Prompts, TemplateFailedError
from inference.requests import Message, Tool
from tests.engine.family_tokenizers import TOKENS, family_tokenizer

PROMPTS = {name: Prompts(family_tokenizer(name), name) for name in TOKENS}
MARKS = ("\U000f0000", "\U000f0001")
PIECES = [
    *(token for special, others in TOKENS.values() for token in f"{special} {others}".split()),
    *("<|im_", "end|>", "\ud800", "\udfff", "\n", " ", "{{ 1 }}", "{% endif %}", '"', "{", "a", "é", "🙂", *MARKS),
]
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arguments = texts | values.map(json.dumps) | st.integers(1, 3000).map(lambda deep: '{"a":' * deep + "1" + "}" * deep)
calls = st.builds(
    lambda name, spelled, number: {"id": number, "type": "function", "function": {"name": name, "arguments": spelled}},
    texts,
    arguments,
    texts,
)
messages = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user"]), "content": texts}),
    st.fixed_dictionaries({"role": st.just("tool"), "content": texts, "tool_call_id": texts}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": texts | st.none()},
        optional={"reasoning_content": texts, "tool_calls": st.lists(calls, min_size=1, max_size=3)},
    ),
)
tools = st.builds(Tool, texts, texts | st.none(), values.map(json.dumps) | st.just('{"type":"object"}') | texts)


@settings(max_examples=int(os.environ.get("HELEXA_EXAMPLES", "150")))
@given(
    name=st.sampled_from(sorted(TOKENS)),
    talk=st.lists(messages, min_size=1, max_size=6),
    offered=st.lists(tools, max_size=2),
    fields=st.dictionaries(st.sampled_from(["enable_thinking", "extra", "bos_token", "namespace"]), values, max_size=2),
    continue_last=st.booleans(),
)
def test_a_prompt_or_a_refusal_comes_of_anything(
    name: str, talk: list[Message], offered: list[Tool], fields: dict[str, Any], continue_last: bool
) -> None:
    try:
        made = PROMPTS[name].encode(talk, tools=offered, fields=fields, continue_last=continue_last)
    except TemplateFailedError:
        assert offered
    except PromptError:
        assert offered
    else:
        assert not any(mark in family_tokenizer(name).decode(made.token_ids) for mark in MARKS)
