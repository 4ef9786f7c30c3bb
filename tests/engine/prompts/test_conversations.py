"""Messages made into what chat templates take."""

from __future__ import annotations

from inference.engine.prompts.conversations import conversation, nine_characters
from inference.requests import Message

USER = {"role": "user", "content": "Hi"}


def call(call_id: str, arguments: str = "") -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": "clock", "arguments": arguments}}


def test_a_role_never_comes_twice_in_a_row() -> None:
    assert conversation([USER, USER, {"role": "assistant", "content": "A"}, {"role": "assistant", "content": "B"}]) == [
        {"role": "user", "content": "Hi\n\nHi"},
        {"role": "assistant", "content": "A\n\nB"},
    ]


def test_what_stood_around_a_system_message_comes_together() -> None:
    messages = [USER, {"role": "system", "content": "Be brief."}, USER]
    assert [message["role"] for message in conversation(messages)] == ["system", "user"]


def test_pieces_of_one_answer_become_one_message() -> None:
    pieces: list[Message] = [
        {"role": "assistant", "content": None, "reasoning_content": "Let me see."},
        {"role": "assistant", "content": "I look."},
        {"role": "assistant", "content": "", "tool_calls": [call("a")]},
        {"role": "assistant", "tool_calls": [call("b")]},
    ]
    (merged,) = conversation(pieces)
    assert (merged["content"], merged["reasoning_content"]) == ("I look.", "Let me see.")
    assert [each["id"] for each in merged["tool_calls"]] == ["a", "b"]


def test_an_answer_without_text_is_empty_and_one_that_calls_has_none() -> None:
    empty, calling = (
        conversation([USER, {"role": "assistant", "content": None, **more}])[1]
        for more in ({}, {"tool_calls": [call("a")]})
    )
    assert empty == {"role": "assistant", "content": ""}
    assert "content" not in calling


def test_results_of_tools_stay_apart_and_may_be_empty() -> None:
    results = [{"role": "tool", "tool_call_id": name, "content": None} for name in "ab"]
    assert conversation(results) == [{"role": "tool", "tool_call_id": name, "content": ""} for name in "ab"]


def test_fields_that_no_template_is_to_see_are_left_out() -> None:
    assert conversation([{**USER, "tool_responses": [1], "cache_control": {}}]) == [USER]


def test_ids_are_rewritten_alike_in_calls_and_results() -> None:
    messages = [
        {"role": "assistant", "tool_calls": [call("call_0123456789")]},
        {"role": "tool", "tool_call_id": "call_0123456789"},
    ]
    asked, answered = conversation(messages, call_id=nine_characters)
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"]
    assert len(answered["tool_call_id"]) == 9
    assert nine_characters("abcDEF123") == "abcDEF123"
    assert nine_characters("abcDEF12-") != "abcDEF12-"
    assert nine_characters("call_1") != nine_characters("call_2")
