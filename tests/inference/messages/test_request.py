"""A Messages body becomes a request, or a refusal that names the field (WIRE_APIS 4.1, MISSION G4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.dialects import messages
from inference.dialects.messages import count
from inference.dialects.messages import errors as anthropic_errors
from inference.dialects.messages.request import MessagesRequest
from inference.dialects.parsed import Terms
from inference.grammars import JsonSchema
from inference.refusals import Refusal
from inference.requests import GenerationRequest, ToolUse

HELLO = [{"role": "user", "content": "hello"}]
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Köln"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}
TOOL = {"name": "weather", "description": "Asks the sky.", "input_schema": {"type": "object"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def body(**fields: object) -> bytes:
    stated = {"model": "m", "max_tokens": 5, "messages": HELLO, **fields}
    return json.dumps(stated, ensure_ascii=False).encode()


def parse(raw: bytes) -> MessagesRequest:
    return messages.parse(raw, lambda name: None)


def refusal_of(raw: bytes) -> Refusal:
    with pytest.raises(Refusal) as refused:
        parse(raw)
    return refused.value


def prompt(*turns: tuple[str, object], **fields: object) -> list[dict[str, Any]]:
    """The messages that these turns come to."""
    return parse(body(messages=[{"role": role, "content": content} for role, content in turns], **fields)).messages


def generation(**fields: object) -> GenerationRequest:
    return parse(body(**fields)).generation(Terms("a", max_tokens=5, granted=None))


def tools_of(*tools: object, **fields: object) -> ToolUse | None:
    return generation(tools=list(tools), **fields).tool_use


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


# -- fields ----------------------------------------------------------------------------------------


def test_the_least_body_gets_the_defaults_and_no_thinking() -> None:
    request = parse(body())
    assert (request.model, request.messages, request.max_tokens, request.stream) == ("m", HELLO, 5, False)
    made = generation()
    assert (made.sampling.temperature, made.sampling.top_p, made.sampling.top_k) == (1.0, 1.0, 0)
    assert (made.n, made.tool_use, made.grammar, made.stop, made.continue_last) == (1, None, None, [], False)
    assert made.template_kwargs == {"enable_thinking": False}


def test_null_means_absent() -> None:
    optional = ["system", "stop_sequences", "stream", "temperature", "top_p", "top_k", "tools", "tool_choice"]
    optional += ["thinking", "output_config", "output_format", "metadata", "chat_template_kwargs"]
    assert parse(body(**dict.fromkeys(optional))) == parse(body())


def test_fields_that_mean_nothing_here_are_ignored() -> None:
    ignored = {"metadata": {"user_id": "u"}, "service_tier": "auto", "container": "c", "context_management": {}}
    assert parse(body(**ignored, mcp_servers=[], betas=["b"], cache_control={}, speed="fast")) == parse(body())


def test_sampling_and_stops_reach_the_engine() -> None:
    made = generation(temperature=0.5, top_p=0.9, top_k=40, stop_sequences=["a", "", "b"], stream=True)
    assert (made.sampling.temperature, made.sampling.top_p, made.sampling.top_k) == (0.5, 0.9, 40)
    assert (made.stop, made.stream) == (["a", "b"], True)


@pytest.mark.parametrize(("stated", "bound"), [(0, 0), (64_000, 64_000), (10**30, 2**31 - 1)])
def test_any_bound_is_taken_and_the_core_cuts_it(stated: int, bound: int) -> None:
    assert parse(body(max_tokens=stated)).max_tokens == bound


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_a_format_becomes_the_grammar_of_the_answer(place: str) -> None:
    wanted = {"type": "json_schema", "schema": SCHEMA}
    made = generation(**{place: {"format": wanted} if place == "output_config" else wanted})
    assert isinstance(made.grammar, JsonSchema)
    assert (json.loads(made.grammar.schema), made.grammar.strict) == (SCHEMA, False)


@pytest.mark.parametrize(
    ("thinking", "thinks", "shows"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, True, True),
        ({"type": "enabled"}, True, True),
        ({"type": "adaptive"}, True, True),
        ({"type": "adaptive", "display": "summarized"}, True, True),
        ({"type": "adaptive", "display": "omitted"}, True, False),
        ({"type": "between_tools"}, True, True),
        ({"type": "disabled"}, False, False),
    ],
)
def test_who_asks_for_thinking_gets_and_sees_it(thinking: dict[str, Any], thinks: bool, shows: bool) -> None:
    request = parse(body(thinking=thinking))
    assert (request.template_kwargs["enable_thinking"], request.shows_thinking) == (thinks, shows)


def test_effort_and_what_is_for_the_template_reach_it_and_the_latter_wins() -> None:
    made = generation(output_config={"effort": "low"}, chat_template_kwargs={"enable_thinking": True, "x": [1]})
    assert made.template_kwargs == {"enable_thinking": True, "reasoning_effort": "low", "x": [1]}


# -- turns -----------------------------------------------------------------------------------------


def test_every_system_text_is_one_message_in_front() -> None:
    made = prompt(
        ("user", "one"),
        ("system", "second"),
        ("assistant", "two"),
        ("system", [text("third"), {"type": "note", "n": 1}]),
        ("user", "three"),
        system=[{**text("first"), "cache_control": {"type": "ephemeral"}}],
    )
    assert made == [
        {"role": "system", "content": 'first\n\nsecond\n\nthird\n\n{"type":"note","n":1}'},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]


@pytest.mark.parametrize(
    "system",
    [
        "x-anthropic-billing-header: cc_version=2.1; cch=abc;\nYou help.",
        [text("x-anthropic-billing-header: cc_version=2.1; cch=abc;"), text("You help.")],
    ],
)
def test_the_line_that_differs_in_every_request_is_left_out(system: object) -> None:
    assert prompt(("user", "hi"), system=system)[0] == {"role": "system", "content": "You help."}


def test_results_of_tools_come_before_the_rest_of_their_turn() -> None:
    second = {**CALL, "id": "toolu_2"}
    failed = {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": True, "content": [text("no"), text("sky")]}
    made = prompt(
        ("user", "how is it?"),
        ("assistant", [text("I "), text("look."), CALL, second]),
        ("user", [text("and?"), RESULT, failed, text("quick")]),
    )
    function = {"name": "weather", "arguments": '{"city": "Köln"}'}
    assert made[1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": function},
                {"id": "toolu_2", "type": "function", "function": function},
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "name": "weather", "content": "rain"},
        {"role": "tool", "tool_call_id": "toolu_2", "name": "weather", "content": "Error: no\nsky"},
        {"role": "user", "content": "and?\nquick"},
    ]


@pytest.mark.parametrize("content", [None, "", []])
def test_a_result_may_be_empty(content: object) -> None:
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
    *_, last = prompt(("user", "x"), ("assistant", [CALL]), ("user", [result]))
    assert last == {"role": "tool", "tool_call_id": "toolu_1", "name": "weather", "content": ""}


def test_arguments_are_handed_on_as_they_were_written() -> None:
    raw = body(messages=[*HELLO, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT]}])
    long = raw.replace('{"city": "Köln"}'.encode(), b'{"n": 123456789012345678901234567890, "m": 1.50}')
    (call,) = parse(long).messages[1]["tool_calls"]
    assert call["function"]["arguments"] == '{"n": 123456789012345678901234567890, "m": 1.50}'


@pytest.mark.parametrize("arguments", [{}, {"input": None}])
def test_a_call_without_input_has_no_arguments(arguments: dict[str, Any]) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "now", **arguments}
    made = prompt(("user", "x"), ("assistant", [call]), ("user", [RESULT]))
    assert made[1]["tool_calls"][0]["function"] == {"name": "now", "arguments": "{}"}


def test_thinking_that_comes_back_is_the_templates_and_what_is_redacted_is_nobodys() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "of somebody else"}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    made = prompt(("user", "x"), ("assistant", [thought, hidden, text("Hi")]), ("user", "y"))
    assert made[1] == {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}


def test_blocks_that_are_not_text_are_kept_as_json() -> None:
    found = {"type": "search_result", "source": "s", "title": "Zürich", "content": [text("a")], "n": 10**30}
    document = {"type": "document", "source": {"type": "text", "data": "d"}}
    made = prompt(
        ("user", [text("see"), found]),
        ("assistant", [text("ok"), {"type": "server_tool_use", "id": "s1"}, CALL]),
        ("user", [{**RESULT, "content": [document, {"type": "tool_reference", "tool_name": "t"}]}]),
    )
    first, second = made[0]["content"].split("\n")
    assert (first, json.loads(second)) == ("see", found)
    assert "Zürich" in second
    assert made[1]["content"] == 'ok\n{"type":"server_tool_use","id":"s1"}\n'
    lines = made[2]["content"].split("\n")
    assert [json.loads(line) for line in lines] == [document, {"type": "tool_reference", "tool_name": "t"}]


def test_an_answer_that_was_begun_goes_on() -> None:
    request = parse(body(messages=[*HELLO, {"role": "assistant", "content": [text("The best "), text("is (")]}]))
    made = request.generation(Terms("a", max_tokens=5, granted=None))
    assert made.continue_last
    assert made.messages[-1] == {"role": "assistant", "content": "The best is ("}


@pytest.mark.parametrize("content", ["", [], [text("")]])
def test_an_answer_begun_with_nothing_is_a_new_one(content: object) -> None:
    request = parse(body(messages=[*HELLO, {"role": "assistant", "content": content}]))
    assert (request.messages, request.continue_last) == (HELLO, False)


def test_a_system_turn_behind_an_answer_does_not_continue_it() -> None:
    turns = [*HELLO, {"role": "assistant", "content": "Hi"}, {"role": "system", "content": "Be brief."}]
    assert not parse(body(messages=turns)).continue_last


# -- tools -----------------------------------------------------------------------------------------


def test_tools_are_offered_with_their_schemas_as_they_came() -> None:
    used = tools_of({**TOOL, "type": "custom", "strict": True, "input_schema": SCHEMA}, {"name": "now"})
    assert used is not None
    weather, now = used.tools
    assert (weather.name, weather.description, weather.strict) == ("weather", "Asks the sky.", True)
    assert json.loads(weather.parameters) == SCHEMA
    assert (now.description, json.loads(now.parameters)) == (None, {"type": "object", "properties": {}})
    assert (used.choice, used.only, used.parallel) == ("auto", [], True)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}},
        {"type": "function", "name": "weather", "description": "d", "parameters": SCHEMA},
    ],
)
def test_tools_in_openais_shape_pass_through(tool: dict[str, Any]) -> None:
    used = tools_of(tool)
    assert used is not None
    assert (used.tools[0].name, used.tools[0].description) == ("weather", "d")
    assert json.loads(used.tools[0].parameters) == SCHEMA


def test_tools_of_somebodys_servers_are_left_out() -> None:
    server = {"type": "web_search_20250305", "name": "web_search"}
    used = tools_of(server, TOOL)
    assert used is not None
    assert [tool.name for tool in used.tools] == ["weather"]
    assert tools_of(server) is None


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, ("auto", [], True)),
        ({"type": "none"}, ("none", [], True)),
        ({"type": "any"}, ("required", [], True)),
        ({"type": "any", "disable_parallel_tool_use": True}, ("required", [], False)),
        ({"type": "auto", "disable_parallel_tool_use": True}, ("auto", [], False)),
        ({"type": "tool", "name": "weather"}, ("required", ["weather"], True)),
    ],
)
def test_a_choice_says_what_may_and_must_be_called(choice: dict[str, Any], expected: tuple[Any, ...]) -> None:
    used = tools_of(TOOL, {"name": "now"}, tool_choice=choice)
    assert used is not None
    assert (used.choice, used.only, used.parallel) == expected


# -- what is wrong ---------------------------------------------------------------------------------


def turn(content: object, role: str = "user") -> dict[str, object]:
    return {"messages": [{"role": role, "content": content}]}


CALLED = [*HELLO, {"role": "assistant", "content": [CALL]}]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
SEEN = {**RESULT, "content": [IMAGE]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages[0].role"),
        (turn(5), "messages[0].content"),
        (turn(None), "messages[0].content"),
        (turn(["hi"]), "messages[0].content[0]"),
        (turn([{"text": "hi"}]), "messages[0].content[0].type"),
        (turn([{"type": 5}]), "messages[0].content[0].type"),
        (turn([{"type": "text"}]), "messages[0].content[0].text"),
        (turn([{"type": "text", "text": 5}]), "messages[0].content[0].text"),
        (turn([CALL]), "messages[0].content[0]"),
        (turn([RESULT]), "messages[0].content[0].tool_use_id"),
        (turn([{"type": "tool_result"}]), "messages[0].content[0].tool_use_id"),
        (turn([RESULT], "assistant"), "messages[0].content[0]"),
        (turn([{**CALL, "input": "x"}], "assistant"), "messages[0].content[0].input"),
        (turn([{**CALL, "id": ""}], "assistant"), "messages[0].content[0].id"),
        (turn([{**CALL, "name": None}], "assistant"), "messages[0].content[0].name"),
        (turn([{"type": "thinking", "thinking": 5}], "assistant"), "messages[0].content[0].thinking"),
        (turn([CALL, CALL], "assistant"), "messages[0].content[1].id"),
        ({"messages": [*CALLED, *CALLED]}, "messages[3].content[0].id"),
        ({"messages": CALLED}, "messages[1]"),
        (
            {"messages": [*CALLED, {"role": "user", "content": [{**RESULT, "content": 5}]}]},
            "messages[2].content[0].content",
        ),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "text"}]}, "system[0].text"),
        ({"stop_sequences": "a"}, "stop_sequences"),
        ({"stop_sequences": [5]}, "stop_sequences[0]"),
        ({"stop_sequences": ["a"] * 65}, "stop_sequences"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": 1.1}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"model": 5}, "model"),
        ({"tools": {}}, "tools"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].name"),
        ({"tools": [{"name": "a b"}]}, "tools[0].name"),
        ({"tools": [{"name": 5}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name"),
        ({"tools": [{**TOOL, "input_schema": []}]}, "tools[0].input_schema"),
        ({"tools": [{**TOOL, "description": 5}]}, "tools[0].description"),
        ({"tools": [{**TOOL, "strict": "yes"}]}, "tools[0].strict"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": {"type": "must"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice.name"),
        ({"thinking": True}, "thinking"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1023}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "display": "all"}}, "thinking.display"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_config": {"format": {"type": "json_schema", "schema": 5}}}, "output_config.format.schema"),
        ({"output_format": {"type": "json_schema", "schema": []}}, "output_format.schema"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
    ],
)
def test_what_is_wrong_is_400_and_named(fields: dict[str, object], param: str) -> None:
    refused = refusal_of(body(**fields))
    assert (refused.status, refused.param) == (400, param)
    assert param in refused.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (turn([text("see"), IMAGE]), "messages[0].content[1]"),
        ({"system": [IMAGE]}, "system[0]"),
        ({"messages": [*CALLED, {"role": "user", "content": [SEEN]}]}, "messages[2].content[0].content[0]"),
    ],
)
def test_an_image_is_refused_by_its_place(fields: dict[str, object], param: str) -> None:
    refused = refusal_of(body(**fields))
    assert (refused.status, refused.code, refused.param) == (400, "vision_unsupported", param)


@pytest.mark.parametrize("raw", [body(model=None), body(model=""), b'{"max_tokens":1}'])
def test_a_missing_model_has_its_own_code(raw: bytes) -> None:
    assert (refusal_of(raw).status, refusal_of(raw).code) == (400, "missing_model_field")


def test_a_thread_is_refused_in_the_word_after_which_the_sdk_goes_on_without_one() -> None:
    refusal = refusal_of(body(thread={"type": "create"}))
    assert json.loads(anthropic_errors.envelope(refusal, "req_1"))["error"]["details"] == {
        "error_code": "thread_unsupported_request",
        "param": "thread",
    }
    continued = body(messages=[], thread={"type": "continue", "previous_message_id": "msg_1"})
    assert refusal_of(continued).diagnostics == refusal.diagnostics
    parse(body(thread=None))


def nested(where: bytes) -> bytes:
    """A body whose X is 100,000 deep."""
    return where.replace(b'"X"', b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"[" * 100_000,
        body() + b"trailing",
        b'{"model":"\xff"}',
        body().replace(b"hello", b"\\ud800"),
        body(**turn([{"type": "note", "x": "Y"}])).replace(b"Y", b"\\udc00"),
        body(**turn([{"type": "note", "x": "Y"}])).replace(b'"Y"', b"NaN"),
        nested(body(x="X")),
        nested(body(**turn([{"type": "note", "x": "X"}]))),
        nested(body(tools=[{"name": "f", "input_schema": "X"}])),
        nested(body(**turn([{**CALL, "input": "X"}], "assistant"))),
        nested(body(chat_template_kwargs={"x": "X"})),
    ],
)
def test_what_is_no_body_is_400(raw: bytes) -> None:
    assert refusal_of(raw).status == 400


def test_nesting_just_within_reach_is_read_or_refused_and_never_breaks() -> None:
    for depth in range(300, 1000, 7):
        deep = b'{"a":' * depth + b"1" + b"}" * depth
        raw = body(**turn([{"type": "note", "x": "X"}])).replace(b'"X"', deep)
        try:
            assert parse(raw).messages
        except Refusal as refused:
            assert refused.status == 400  # noqa: PT017 - either is right


# -- counting ----------------------------------------------------------------------------------------


def test_counting_asks_for_the_same_prompt_and_nothing_else() -> None:
    fields = {"tools": [TOOL], "system": "s", "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}
    raw = body(**fields, max_tokens=None, stream=True)
    counted = count.parse(raw, lambda name: None)
    made, asked = counted.generation(Terms("a", max_tokens=0, granted=None)), generation(**fields)
    assert (made.only_count, made.stream, counted.sequences) == (True, False, 0)
    assert (made.messages, made.tool_use, made.template_kwargs) == (
        asked.messages,
        asked.tool_use,
        asked.template_kwargs,
    )
