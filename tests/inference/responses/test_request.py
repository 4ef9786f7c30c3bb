"""A Responses body becomes a request, or a refusal that names the field."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from inference.dialects.openai.fields import UNBOUNDED
from inference.dialects.responses.items import seal
from inference.dialects.responses.request import ResponsesRequest, parse
from inference.grammars import JsonObject, JsonSchema
from inference.refusals import Refusal
from inference.requests import ToolUse

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": True}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "input": "hello", **fields}).encode()


def request(**fields: object) -> ResponsesRequest:
    return parse(body(**fields)).complete()


def refusal_of(raw: bytes) -> Refusal:
    with pytest.raises(Refusal) as refused:
        parse(raw).complete()
    return refused.value


def tools_of(request: ResponsesRequest) -> ToolUse:
    assert request.tool_use is not None
    return request.tool_use


def test_the_least_body_gets_the_defaults() -> None:
    parsed = request()
    assert parsed.messages == [{"role": "user", "content": "hello"}]
    assert (parsed.max_tokens, parsed.default_max_tokens, parsed.sequences) == (None, UNBOUNDED, 1)
    assert (parsed.store, parsed.background, parsed.stream, parsed.tool_use, parsed.grammar) == (
        True,
        False,
        False,
        None,
        None,
    )
    assert parsed.template_kwargs == {"enable_thinking": False}


def test_null_means_absent() -> None:
    names = [
        *("instructions", "max_output_tokens", "temperature", "top_p", "top_logprobs", "metadata", "user", "stream"),
        *("parallel_tool_calls", "store", "background", "previous_response_id", "tools", "tool_choice", "text"),
        *("reasoning", "include", "truncation", "prompt", "conversation", "stream_options", "seed", "top_k"),
    ]
    nothing, least = request(**dict.fromkeys(names)), request()
    assert nothing.echo == least.echo
    assert (nothing.messages, nothing.sampling, nothing.tool_use) == (least.messages, least.sampling, None)


def test_unknown_fields_are_ignored() -> None:
    extra = {"prompt_cache_key": "k", "client_metadata": {"a": [1]}, "service_tier": "auto", "safety_identifier": "s"}
    assert request(**extra).messages == request().messages


def test_instructions_come_first_and_developers_stay_where_they_spoke() -> None:
    items = [
        {"role": "user", "content": "one"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "two"}, {"type": "input_text", "text": "three"}]},
    ]
    assert request(instructions="be kind", input=items).messages == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "one"},
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "two\nthree"},
    ]


def test_types_that_say_nothing_to_a_model_are_passed_over() -> None:
    items: list[dict[str, Any]] = [
        {"type": "web_search_call", "id": "ws_1", "action": {"type": "search"}, "status": 5},
        {"type": "local_shell_call", "call_id": "x", "action": {}},
        {"type": "shell_call_output", "call_id": "x", "output": [{"stdout": "a"}]},
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "of_tomorrow", "content": 7},
        {"role": "user", "content": "hi"},
    ]
    assert request(input=items).messages == [{"role": "user", "content": "hi"}]


def test_a_turn_with_reasoning_and_calls_is_one_message_with_its_results_behind_it() -> None:
    items = [
        {"role": "user", "content": "weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "look"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A moment."}]},
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": '{"city": "Bonn"}'},
        {"type": "function_call", "call_id": "b", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "rain"}]},
        {"type": "function_call_output", "call_id": "a", "output": "sun"},
    ]
    _, turn, first, second = request(input=items).messages
    assert (turn["reasoning_content"], turn["content"]) == ("look", "A moment.")
    assert [call["id"] for call in turn["tool_calls"]] == ["a", "b"]
    assert turn["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "Bonn"}'}
    assert [(one["role"], one["tool_call_id"], one["content"]) for one in (first, second)] == [
        ("tool", "a", "sun"),
        ("tool", "b", "rain"),
    ]


@pytest.mark.parametrize("between", ["user", "assistant", "developer"])
def test_a_message_between_a_call_and_its_result_does_not_part_them(between: str) -> None:
    items = [
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": ""},
        {"role": between, "content": "and?"},
        {"type": "function_call_output", "call_id": "a", "output": "sun"},
    ]
    messages = request(input=items).messages
    calling = next(index for index, message in enumerate(messages) if message.get("tool_calls"))
    assert messages[calling + 1]["content"] == "sun"
    assert "and?" in [message["content"] for message in messages]


def test_thinking_again_begins_a_new_turn() -> None:
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "one"}]},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "summary": [], "encrypted_content": seal("two")},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {"type": "function_call_output", "call_id": "b", "output": "2"},
    ]
    messages = request(input=items).messages
    assert [m.get("reasoning_content") or m["content"] for m in messages] == ["one", "1", "two", "2"]


def test_foreign_sealed_reasoning_says_nothing() -> None:
    items = [
        {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "gAAAAB"},
        {"type": "reasoning", "summary": [], "encrypted_content": "hx1.not base64"},
        {"role": "user", "content": "hi"},
    ]
    assert request(input=items).messages == [{"role": "user", "content": "hi"}]


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    items = [
        {"role": "user", "content": "go"},
        {"type": "custom_tool_call", "call_id": "a", "name": "apply_patch", "input": '*** Begin "x"\n'},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "done"},
    ]
    parsed = request(input=items, tools=[PATCH])
    (tool,) = tools_of(parsed).tools
    assert "start: /.+/" in (tool.description or "")
    assert json.loads(tool.parameters)["required"] == ["input"]
    assert json.loads(parsed.messages[1]["tool_calls"][0]["function"]["arguments"]) == {"input": '*** Begin "x"\n'}


def test_hosted_tools_are_left_out_and_namespaces_made_flat() -> None:
    files = {"type": "namespace", "name": "mcp__files__", "description": "", "tools": [{**WEATHER, "name": "read"}]}
    offered = {"type": "namespace", "name": "functions", "tools": [PATCH, {"type": "function", "name": "wait"}]}
    items = [
        {"type": "additional_tools", "role": "developer", "tools": [offered]},
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "a", "name": "read", "namespace": "mcp__files__", "arguments": "{}"},
    ]
    parsed = request(input=items, tools=[{"type": "web_search"}, WEATHER, files, {"type": "local_shell"}])
    assert [tool.name for tool in tools_of(parsed).tools] == ["apply_patch", "wait", "weather", "mcp__files__read"]
    assert [tool.strict for tool in tools_of(parsed).tools] == [False, False, True, True]
    assert (parsed.offered["mcp__files__read"].name, parsed.offered["mcp__files__read"].namespace) == (
        "read",
        "mcp__files__",
    )
    assert (parsed.offered["apply_patch"].namespace, parsed.offered["apply_patch"].custom) == (None, True)
    assert parsed.messages[-1]["tool_calls"][0]["function"]["name"] == "mcp__files__read"


def test_hosted_tools_alone_are_no_tools() -> None:
    assert request(tools=[{"type": "web_search"}, {"type": "image_generation", "size": 5}]).tool_use is None


@pytest.mark.parametrize(
    ("choice", "mode", "only"),
    [
        ("auto", "auto", []),
        ("none", "none", []),
        ("required", "required", []),
        ({"type": "function", "name": "weather"}, "required", ["weather"]),
        ({"type": "custom", "name": "apply_patch"}, "required", ["apply_patch"]),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
            "auto",
            ["weather"],
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "mcp", "server_label": "x"}, {"type": "custom", "name": "apply_patch"}],
            },
            "required",
            ["apply_patch"],
        ),
    ],
)
def test_every_form_of_tool_choice(choice: object, mode: str, only: list[str]) -> None:
    use = tools_of(request(tools=[WEATHER, PATCH], tool_choice=choice, parallel_tool_calls=False))
    assert (use.choice, use.only, use.parallel) == (mode, only, False)


@pytest.mark.parametrize(
    ("reasoning", "thinks", "summary"),
    [
        ({"effort": "none"}, False, False),
        ({"effort": "high", "summary": "auto"}, True, True),
        ({}, True, False),
        ({"effort": None, "summary": "detailed"}, True, True),
    ],
)
def test_who_says_reasoning_sees_it(reasoning: dict[str, Any], thinks: bool, summary: bool) -> None:
    parsed = request(reasoning=reasoning, include=["reasoning.encrypted_content", "unheard.of"])
    assert (parsed.shown.reasoning, parsed.shown.as_summary, parsed.shown.sealed) == (thinks, summary, True)
    assert parsed.template_kwargs["enable_thinking"] is thinks


def test_what_the_template_is_given_explicitly_wins() -> None:
    kwargs = {"enable_thinking": True, "x": [1]}
    assert request(chat_template_kwargs=kwargs).template_kwargs == kwargs


def test_formats_of_the_text() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert request(text={"format": {"type": "text"}, "verbosity": "low"}).grammar is None
    assert request(text={"format": {"type": "json_object"}}).grammar == JsonObject()
    found = request(text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}).grammar
    assert isinstance(found, JsonSchema)
    assert (json.loads(found.schema), found.strict) == (schema, True)


def test_logprobs_are_asked_for_by_number_or_by_include() -> None:
    assert request().sampling.logprobs is None
    assert request(top_logprobs=3).sampling.logprobs == 3
    assert request(include=["message.output_text.logprobs"]).sampling.logprobs == 0


CALL = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "a", "output": "x"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{}]}, "input[0]"),
        ({"input": [{"content": "x"}]}, "input[0]"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": 5}]}, "input[0].type"),
        ({"input": [CALL, CALL]}, "input[1].call_id"),
        ({"input": [RESULT]}, "input[0].call_id"),
        ({"input": [CALL, RESULT, RESULT]}, "input[2].call_id"),
        ({"input": [{**CALL, "call_id": ""}]}, "input[0].call_id"),
        ({"input": [{**CALL, "name": None}]}, "input[0].name"),
        ({"input": [CALL, {**RESULT, "output": [{"type": "input_image"}]}]}, "input[1].output[0]"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"instructions": 5}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata"),
        ({"metadata": {str(number): "b" for number in range(17)}}, "metadata"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]}, "tools[0].tools[0].name"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.tools"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "custom"}]}}, "tool_choice.tools[0].name"),
        ({"repetition_penalty": 1e-40}, "repetition_penalty"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"include": "all"}, "include"),
        ({"truncation": "some"}, "truncation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"conversation": "conv_1"}, "conversation"),
    ],
)
def test_a_wrong_field_is_400_and_named(fields: dict[str, object], param: str) -> None:
    refused = refusal_of(body(**fields))
    assert (refused.status, refused.param) == (400, param)


@pytest.mark.parametrize("depth", [100_000])
@pytest.mark.parametrize("place", ["input", "tools", "tool_choice", "unknown"])
def test_deep_nesting_is_400_or_ignored(place: str, depth: int) -> None:
    raw = b'{"model":"m","input":"x","%s":%s%s}' % (place.encode(), b"[" * depth, b"]" * depth)
    assert refusal_of(raw).status == 400


def nested(levels: int, inmost: object) -> object:
    for _ in range(levels):
        inmost = {"type": "namespace", "name": "n", "tools": [inmost]}
    return inmost


@pytest.mark.parametrize("levels", [70, 300])
@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("input[0]", lambda deep: {"input": [{"role": "user", "content": "x", "note": deep}]}),
        ("tools[1]", lambda deep: {"tools": [WEATHER, deep]}),
        ("tool_choice", lambda deep: {"tool_choice": {"type": "allowed_tools", "tools": [deep]}}),
        ("text.format.schema", lambda deep: {"text": {"format": {"type": "json_schema", "name": "n", "schema": deep}}}),
    ],
)
def test_what_is_written_out_again_is_not_deep(
    place: str, fields: Callable[[object], dict[str, object]], levels: int
) -> None:
    """Else it is read, generated for and paid, and cannot be stored or told."""
    refused = refusal_of(body(**fields(nested(levels, WEATHER))))
    assert (refused.status, refused.param) == (400, place)


def test_what_is_long_is_not_deep() -> None:
    schema = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(200)}}
    tool = {**WEATHER, "strict": False, "parameters": schema}
    assert len(tools_of(request(tools=[tool])).tools) == 1


def test_a_missing_model_has_its_own_code() -> None:
    refused = refusal_of(b'{"input": "x"}')
    assert (refused.status, refused.code, refused.param) == (400, "missing_model_field", "model")


# -- what came before ----------------------------------------------------------------------------


def raw(item: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(item).encode())


def test_a_result_may_answer_a_call_of_the_response_it_continues() -> None:
    draft = parse(body(input=[RESULT], previous_response_id="resp_1", instructions="new"))
    parsed = draft.complete(history=[raw({"role": "user", "content": "hi"}), raw(CALL)])
    assert [message["role"] for message in parsed.messages] == ["system", "user", "assistant", "tool"]
    assert parsed.input_items == [RESULT]
    with pytest.raises(Refusal) as refused:
        draft.complete(history=[])
    assert refused.value.param == "input[0].call_id"


def test_references_are_replaced_by_what_they_refer_to() -> None:
    draft = parse(body(input=[{"type": "item_reference", "id": "msg_1"}, {"role": "user", "content": "more"}]))
    assert draft.references == ["msg_1"]
    message = raw({"type": "message", "id": "msg_1", "role": "assistant", "content": "said"})
    parsed = draft.complete(referred={"msg_1": message})
    assert [one["content"] for one in parsed.messages] == ["said", "more"]
    assert parsed.input_items[0]["content"] == "said"
    with pytest.raises(Refusal) as refused:
        draft.complete()
    assert (refused.value.status, refused.value.param) == (400, "input[0]")


def test_what_may_not_be_stored_is_not() -> None:
    parsed = parse(body(store=True)).complete(may_store=False)
    assert (parsed.store, parsed.stated["store"]) == (False, False)
