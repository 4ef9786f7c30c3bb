"""A conversation that may be cut keeps its instructions and as much of its end as the model takes."""

from __future__ import annotations

import msgspec
import pytest

from inference.engine.prompts.prompts import Prompts
from inference.requests import GenerationRequest, Message, Tool, ToolUse
from tests.models import tiny_tokenizer

RULES: Message = {"role": "system", "content": "Be kind."}
TURNS: list[Message] = [
    message
    for number in range(6)
    for message in ({"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": f"no {number}"})
]
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
LOOKED: list[Message] = [
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "name": "look", "content": "seen"},
]


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return Prompts(tiny_tokenizer(), "tiny")


def asked(*messages: Message, truncate: bool = True) -> GenerationRequest:
    return GenerationRequest(id="one", model="tiny", messages=list(messages), truncate=truncate)


def length(prompts: Prompts, *messages: Message) -> int:
    return len(prompts.encode(messages).token_ids)


@pytest.mark.parametrize("kept", range(1, 7))
def test_as_many_questions_stay_as_fit(prompts: Prompts, kept: int) -> None:
    rest = TURNS[-2 * kept :]
    most_tokens = length(prompts, RULES, *rest)
    assert prompts.of(asked(RULES, *TURNS), most_tokens=most_tokens) == [prompts.encode([RULES, *rest])]
    fewer = TURNS[-2 * kept + 2 :] if kept > 1 else TURNS[-1:]
    assert prompts.of(asked(RULES, *TURNS), most_tokens=most_tokens - 1) == [prompts.encode([RULES, *fewer])]


def test_instructions_stay_wherever_they_stand(prompts: Prompts) -> None:
    late: Message = {"role": "developer", "content": "Be brief."}
    [cut] = prompts.of(asked(*TURNS[:2], late, *TURNS[2:]), most_tokens=length(prompts, late, *TURNS[-2:]))
    assert cut == prompts.encode([late, *TURNS[-2:]])


def test_no_result_is_left_without_its_call(prompts: Prompts) -> None:
    conversation = [TURNS[0], *LOOKED, *[dict(message) for message in LOOKED], TURNS[2]]
    for most_tokens in range(length(prompts, TURNS[2]), length(prompts, *conversation)):
        assert prompts.of(asked(*conversation), most_tokens=most_tokens) == [prompts.encode([TURNS[2]])]
    within = [*LOOKED, *LOOKED]
    assert prompts.of(asked(TURNS[0], *within), most_tokens=length(prompts, *LOOKED)) == [prompts.encode(LOOKED)]


def test_what_fits_is_whole_and_so_is_what_cannot_be_made_to(prompts: Prompts) -> None:
    whole = [prompts.encode(TURNS)]
    assert prompts.of(asked(*TURNS), most_tokens=length(prompts, *TURNS)) == whole
    assert prompts.of(asked(*TURNS), most_tokens=1) == whole
    assert prompts.of(asked(*TURNS, truncate=False), most_tokens=length(prompts, *TURNS[2:])) == whole


def test_tools_stay(prompts: Prompts) -> None:
    tools = [Tool("look")]
    request = msgspec.structs.replace(asked(*TURNS), tool_use=ToolUse(tools=tools))
    rest = prompts.encode(TURNS[-2:], tools=tools)
    assert prompts.of(request, most_tokens=len(rest.token_ids)) == [rest]
