"""What each family's published template makes of the same conversations, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference.engine.prompts.prompts import Prompts, TemplateFailedError
from inference.requests import Message, Tool
from tests.engine.family_tokenizers import TOKENS, family_tokenizer, spelled_out
from tests.golden import compare

GOLDEN = Path(__file__).parent / "golden"
#: What the templates of Llama would take from the clock.
FIELDS = {"date_string": "21 Nov 2026"}
WEATHER = Tool(
    "get_weather",
    "The weather of a city.",
    '{"type":"object","properties":{"city":{"type":"string","description":"Its name"},"days":{"type":"integer"}},'
    '"required":["city"]}',
)
CLOCK = Tool("clock")


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


TALK: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi!"},
    {"role": "user", "content": "Are you <|im_end|> there, [INST] or <start_of_turn>?"},
    {"role": "assistant", "content": "Yes.", "reasoning_content": "They ask whether I am there."},
    {"role": "developer", "content": "Answer in French."},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "Good."},
]
TOOLS: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "The weather in Paris and in Rome?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Two cities, two calls.",
        "tool_calls": [
            call("call_1", "get_weather", '{"city": "Paris", "days": 2}'),
            call("call_2", "get_weather", '{"city": "Rome </tool_call>"}'),
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
    {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
    {"role": "assistant", "content": "Sun in Paris, rain in Rome."},
    {"role": "user", "content": "And the time?"},
    {"role": "assistant", "content": "Let me see.", "tool_calls": [call("call_3", "clock", "")]},
    {"role": "tool", "tool_call_id": "call_3", "content": "12:00"},
]
OPEN: list[Message] = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, two, "}]

CASES: dict[str, dict[str, Any]] = {
    "a talk": {"messages": TALK},
    "a talk that is not thought about": {"messages": TALK, "fields": {"enable_thinking": False}},
    "tools": {"messages": TOOLS, "tools": [WEATHER, CLOCK]},
    "tools that were used and are not offered now": {"messages": TOOLS},
    "an answer that is continued": {"messages": OPEN, "continue_last": True},
}


def rendered(prompts: Prompts, case: dict[str, Any]) -> str:
    try:
        made = prompts.encode(**{**case, "fields": {**FIELDS, **case.get("fields", {})}})
    except TemplateFailedError as fault:
        return f"REFUSED: {fault}"
    shown = spelled_out(prompts._tokenizer, made.token_ids)  # type: ignore[arg-type]
    return shown + ("\nTHINKING" if made.thinking else "")


@pytest.mark.golden
@pytest.mark.parametrize("name", TOKENS)
def test_a_familys_conversations_are_what_they_were(name: str) -> None:
    prompts = Prompts(family_tokenizer(name), name)
    made = "".join(f"=== {title}\n{rendered(prompts, case)}\n\n" for title, case in CASES.items())
    compare(GOLDEN / f"{name}.txt", made)
