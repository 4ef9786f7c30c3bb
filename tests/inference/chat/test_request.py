"""A Chat Completions body becomes a request, or a refusal that names the field."""

from __future__ import annotations

import json

import pytest

from inference.dialects.chat.request import ChatRequest
from inference.dialects.chat.request import parse as parse_with_headers
from inference.dialects.parsed import Terms
from inference.grammars import JsonObject, JsonSchema
from inference.refusals import Refusal
from inference.requests import Sampling, Tool, ToolUse

MESSAGES = [{"role": "user", "content": "hello"}]


OPTIONAL = (
    "max_tokens max_completion_tokens temperature top_p n stop seed presence_penalty frequency_penalty logit_bias"
    " logprobs top_logprobs stream stream_options tools tool_choice parallel_tool_calls response_format"
    " reasoning_effort functions function_call audio modalities top_k min_p repetition_penalty chat_template_kwargs"
)


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()


def parse(raw: bytes, headers: dict[bytes, bytes] | None = None) -> ChatRequest:
    return parse_with_headers(raw, (headers or {}).get)


def refusal_of(raw: bytes) -> Refusal:
    with pytest.raises(Refusal) as refused:
        parse(raw)
    return refused.value


def test_the_least_body_gets_the_defaults() -> None:
    request = parse(body())
    assert (request.model, request.messages) == ("m", MESSAGES)
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (1.0, 1.0, None)
    assert (request.n, request.stop, request.stream, request.include_usage) == (1, [], False, False)


def test_null_means_absent() -> None:
    assert parse(body(**dict.fromkeys(OPTIONAL.split()))) == parse(body())


@pytest.mark.parametrize(
    ("stated", "bound"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 9, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 3, "max_completion_tokens": 7}, 3),
        ({"max_tokens": 10**30}, 2**31 - 1),
    ],
)
def test_the_smaller_of_both_output_bounds_counts(stated: dict[str, int], bound: int) -> None:
    assert parse(body(**stated)).max_tokens == bound


def test_a_bound_that_is_not_stated_stays_open_for_the_gateway() -> None:
    request = parse(body())
    assert request.max_tokens is None
    generation = request.generation(Terms("a", max_tokens=50, granted=70))
    assert (generation.max_tokens, generation.granted, generation.n) == (50, 70, 1)


@pytest.mark.parametrize("n", [1, 2, 128])
def test_up_to_128_choices_are_asked_for(n: int) -> None:
    request = parse(body(n=n))
    assert request.n == n
    assert request.generation(Terms("a", max_tokens=5, granted=None)).n == n


def test_text_parts_are_joined_and_unknown_fields_ignored() -> None:
    parts = [{"type": "text", "text": "one", "cache_control": {}}, {"type": "text", "text": "two"}]
    request = parse(body(messages=[{"role": "user", "content": parts, "x": 1}], service_tier="auto", metadata={"a": 1}))
    assert request.messages == [{"role": "user", "content": "one\ntwo"}]


def test_every_way_to_sample_is_taken() -> None:
    fields = {
        "temperature": 0,
        "top_p": 0.5,
        "seed": -3,
        "presence_penalty": 1.5,
        "frequency_penalty": -2,
        "logit_bias": {"5": -100, "17": 2.5},
        "logprobs": True,
        "top_logprobs": 3,
        "top_k": 40,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
    }
    assert parse(body(**fields)).sampling == Sampling(
        temperature=0,
        top_p=0.5,
        seed=-3,
        presence_penalty=1.5,
        frequency_penalty=-2,
        logit_bias={5: -100, 17: 2.5},
        logprobs=3,
        top_k=40,
        min_p=0.1,
        repetition_penalty=1.1,
    )
    assert parse(body(logprobs=True)).sampling.logprobs == 0


# -- history -----------------------------------------------------------------------------------------

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def test_tool_history_is_kept_for_the_template() -> None:
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    assert parse(body(messages=history)).messages == [*history[:2], {**history[2], "name": "f"}]


@pytest.mark.parametrize("arguments", ["", '{"a": [1', "no json", '{"a": 1}{'])
def test_broken_arguments_in_history_are_the_engines_to_mend(arguments: str) -> None:
    call = {**CALL, "function": {"name": "f", "arguments": arguments}}
    message = parse(body(messages=[*MESSAGES, {"role": "assistant", "tool_calls": [call]}])).messages[1]
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": arguments}
    assert message["content"] is None


def test_an_earlier_call_of_a_custom_tool_becomes_one_of_a_function_of_one_text() -> None:
    call = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": 'a "b"\n'}}
    result = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "done"}]}
    messages = parse(body(messages=[*MESSAGES, {"role": "assistant", "tool_calls": [call]}, result])).messages
    assert json.loads(messages[1]["tool_calls"][0]["function"]["arguments"]) == {"input": 'a "b"\n'}
    assert messages[2] == {"role": "tool", "tool_call_id": "c1", "name": "patch", "content": "done"}


def test_what_clients_send_back_of_an_answer_is_no_fault() -> None:
    said = {"role": "assistant", "content": "a", "refusal": None, "annotations": [], "audio": None, "tool_calls": []}
    assert parse(body(messages=[*MESSAGES, said])).messages[1] == {"role": "assistant", "content": "a"}
    thought = {"role": "assistant", "content": "a", "reasoning": "hm", "reasoning_details": [{}]}
    assert parse(body(messages=[*MESSAGES, thought])).messages[1]["reasoning_content"] == "hm"
    refused = {"role": "assistant", "content": None, "refusal": "no"}
    assert parse(body(messages=[*MESSAGES, refused])).messages[1]["content"] == "no"


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
def test_roles_may_stand_anywhere_and_follow_themselves(role: str) -> None:
    messages = [*MESSAGES, {"role": role, "content": "a"}, {"role": role, "content": [], "name": "n"}]
    assert [message["role"] for message in parse(body(messages=messages)).messages] == ["user", role, role]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "tool", "tool_call_id": "c1", "content": "x"}], "messages[0].tool_call_id"),
        (
            [
                {"role": "tool", "tool_call_id": "c1", "content": "x"},
                {"role": "assistant", "tool_calls": [CALL]},
            ],
            "messages[0].tool_call_id",
        ),
        ([{"role": "assistant", "tool_calls": [CALL, CALL]}], "messages[0].tool_calls[1].id"),
        (
            [{"role": "assistant", "tool_calls": [CALL]}, {"role": "assistant", "tool_calls": [CALL]}],
            "messages[1].tool_calls[0].id",
        ),
        ([{"role": "assistant", "tool_calls": [{**CALL, "id": ""}]}], "messages[0].tool_calls[0].id"),
        ([{"role": "assistant", "tool_calls": [{"id": "a"}]}], "messages[0].tool_calls[0].function"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], "messages[0].tool_calls[0].id"),
        (
            [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}]}],
            "messages[0].tool_calls[0].function.arguments",
        ),
        ([{"role": "user", "content": "a", "tool_calls": [CALL]}], "messages[0].tool_calls"),
        ([{"role": "assistant", "function_call": {"name": "f"}}], "messages[0].function_call"),
        ([{"role": "function", "name": "f", "content": "x"}], "messages[0].role"),
    ],
)
def test_a_history_that_does_not_fit_together_is_400_and_names_the_item(
    messages: list[dict[str, object]], param: str
) -> None:
    refused = refusal_of(body(messages=messages))
    assert (refused.status, refused.param) == (400, param)


# -- tools -------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [
    {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}},
    {"type": "function", "function": {"name": "g"}},
    {"type": "web_search_preview", "search_context_size": "low"},
]
F = Tool("f", "d", json.dumps(SCHEMA), strict=True)


def test_tools_are_offered_with_their_schemas_as_they_came() -> None:
    assert parse(body(tools=TOOLS)).tool_use == ToolUse(tools=[F, Tool("g")])
    assert parse(body(tools=TOOLS, parallel_tool_calls=False)).tool_use == ToolUse(tools=[F, Tool("g")], parallel=False)
    assert parse(body(tools=[])).tool_use is None


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", ("none", [])),
        ("auto", ("auto", [])),
        ("required", ("required", [])),
        (None, ("auto", [])),
        ({"type": "function", "function": {"name": "g"}}, ("required", ["g"])),
        ({"type": "custom", "custom": {"name": "g"}}, ("required", ["g"])),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            ("auto", ["f"]),
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": name}} for name in "fg"],
                },
            },
            ("required", ["f", "g"]),
        ),
    ],
)
def test_every_form_of_tool_choice_is_taken(choice: object, expected: tuple[str, list[str]]) -> None:
    used = parse(body(tools=TOOLS, tool_choice=choice)).tool_use
    assert used is not None
    assert (used.choice, used.only) == expected


def test_a_custom_tool_is_a_function_of_one_text_and_its_grammar_is_told() -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x+/"}}
    custom = {"type": "custom", "custom": {"name": "patch", "description": "Patches.", "format": grammar}}
    request = parse(body(tools=[custom, TOOLS[1]]))
    assert request.tool_use is not None
    tool = request.tool_use.tools[0]
    assert request.custom_tools == {"patch"}
    assert json.loads(tool.parameters)["required"] == ["input"]
    assert tool.description == "Patches.\n\nThe input keeps to this lark grammar:\nstart: /x+/"
    assert parse(body(tools=[{"type": "custom", "custom": {"name": "p", "format": {"type": "text"}}}])).tool_use


# -- formats and reasoning -----------------------------------------------------------------------------


def test_response_formats_become_grammars() -> None:
    assert parse(body(response_format={"type": "text"})).grammar is None
    assert parse(body(response_format={"type": "json_object"})).grammar == JsonObject()
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    assert parse(body(response_format=wanted)).grammar == JsonSchema(json.dumps(SCHEMA), strict=True)
    assert parse(body(response_format={"type": "json_schema", "json_schema": {"name": "n"}})).grammar == JsonObject()


@pytest.mark.parametrize(
    ("fields", "headers", "kwargs"),
    [
        ({}, {}, {"enable_thinking": False}),
        ({}, {b"x-include-thinking": b"true"}, {"enable_thinking": True}),
        ({}, {b"x-include-thinking": b"no"}, {"enable_thinking": False}),
        ({"reasoning_effort": "none"}, {}, {"enable_thinking": False}),
        ({"reasoning_effort": "high"}, {}, {"enable_thinking": True, "reasoning_effort": "high"}),
        ({"chat_template_kwargs": {"enable_thinking": True}}, {}, {"enable_thinking": True}),
        (
            {"chat_template_kwargs": {"enable_thinking": False, "x": [1]}, "reasoning_effort": "low"},
            {},
            {"enable_thinking": False, "reasoning_effort": "low", "x": [1]},
        ),
    ],
)
def test_thinking_is_off_unless_somebody_will_see_it(
    fields: dict[str, object], headers: dict[bytes, bytes], kwargs: dict[str, object]
) -> None:
    assert parse(body(**fields), headers).template_kwargs == kwargs


def test_what_a_template_is_given_is_read_by_recursion_and_so_may_not_be_deep() -> None:
    deep: list[object] = []
    for _ in range(40):
        deep = [deep]
    refused = refusal_of(body(chat_template_kwargs={"a": deep}))
    assert (refused.status, refused.param) == (400, "chat_template_kwargs")


CUSTOM_FORMAT = "tools[0].custom.format"

# -- what is wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "tool", "tool_call_id": "c"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": 5}]}, "messages[0].name"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"stop": 5}, "stop"),
        ({"stop": [5]}, "stop[0]"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"model": 5}, "model"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 1.5}, "n"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "custom"}]}, "tools[0].custom"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a" * 65}}]}, "tools[0].function.name"),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
        ({"tools": [{"function": {"name": "f", "strict": 1}}]}, "tools[0].function.strict"),
        ({"tools": [TOOLS[1], TOOLS[1]]}, "tools[1].function.name"),
        ({"tools": [{"type": "custom", "custom": {"name": "p", "format": {"type": "x"}}}]}, CUSTOM_FORMAT + ".type"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "p", "format": {"type": "grammar"}}}]},
            CUSTOM_FORMAT + ".grammar",
        ),
        (
            {
                "tools": [
                    {
                        "type": "custom",
                        "custom": {
                            "name": "p",
                            "format": {"type": "grammar", "grammar": {"syntax": "ebnf", "definition": "x"}},
                        },
                    }
                ]
            },
            CUSTOM_FORMAT + ".grammar.syntax",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": 5}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice.function.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
            "tool_choice.allowed_tools.tools",
        ),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"functions": [{}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
            "response_format.json_schema.schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": 5, "schema": {}}}},
            "response_format.json_schema.name",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"description": 5, "schema": {}}}},
            "response_format.json_schema.description",
        ),
        ({"stream_options": {"include_obfuscation": "no"}}, "stream_options.include_obfuscation"),
        ({"logprobs": 5}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"5": None}}, "logit_bias"),
        ({"logit_bias": {"five": 1}}, "logit_bias"),
        ({"logit_bias": {"-5": 1}}, "logit_bias"),
        ({"logit_bias": {"9" * 400: 1}}, "logit_bias"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 1.5}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": 1e-40}, "repetition_penalty"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
    ],
)
def test_a_wrong_field_is_400_and_named(fields: dict[str, object], param: str) -> None:
    refused = refusal_of(body(**fields))
    assert (refused.status, refused.param) == (400, param)
    assert param in refused.message or refused.param.startswith("messages")


@pytest.mark.parametrize(
    "harmless",
    [
        {"n": 1},
        {"tools": []},
        {"response_format": {"type": "text"}},
        {"logprobs": False},
        {"top_logprobs": 0},
        {"tool_choice": "none"},
        {"tool_choice": "auto"},
        {"parallel_tool_calls": True},
        {"top_k": 0},
        {"stream_options": {"include_obfuscation": False}},
        {"presence_penalty": 0},
        {"logit_bias": {}},
        {"modalities": ["text"]},
        {"stop": ""},
        {"unknown": {"deep": [1, 2]}},
    ],
)
def test_harmless_values_change_nothing(harmless: dict[str, object]) -> None:
    assert parse(body(**harmless)) == parse(body())


@pytest.mark.parametrize("raw", [b'{"messages": [{"role": "user", "content": "x"}]}', body(model=None), body(model="")])
def test_a_missing_model_has_its_own_code(raw: bytes) -> None:
    refused = refusal_of(raw)
    assert (refused.status, refused.code, refused.param) == (400, "missing_model_field", "model")


def test_an_image_is_refused_by_its_place() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    refused = refusal_of(body(messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, image]}]))
    assert (refused.status, refused.code, refused.param) == (400, "vision_unsupported", "messages[0].content[1]")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"[" * 100_000,
        b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"m","messages":' + b'{"a":' * 100_000,
        b'{"model":"\xff"}',
        b'{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
        body() + b"trailing",
    ],
)
def test_what_is_not_a_json_object_is_400(raw: bytes) -> None:
    assert refusal_of(raw).status == 400


def test_not_a_number_is_refused_and_named() -> None:
    refused = refusal_of(body()[:-1] + b',"temperature":NaN}')
    assert (refused.status, refused.param) == (400, "temperature")


@pytest.mark.parametrize(
    ("text", "param"),
    [
        (r'{"model": "m", "messages": [{"role": "user", "content": "a \\\" \ud83d"}]}', "content"),
        (
            r'{"model": "m", "messages": [{"role": "user", "content": "\ud83d\ude00 \ude00 b", "name": "n"}], "n": 1}',
            "content",
        ),
        (r'{"model": "m", "messages": [], "user": "\uD83Dx"}', "user"),
    ],
)
def test_half_of_a_surrogate_pair_is_named_for_what_it_is(text: str, param: str) -> None:
    """Clients that cut texts by their UTF-16 units send it."""
    refusal = refusal_of(text.encode())
    assert (refusal.status, refusal.param) == (400, param)
    assert "surrogate" in refusal.message


def test_what_only_looks_like_half_of_a_pair_is_not_blamed() -> None:
    fine = r'"\\ud83d \ud83d\ude00"'
    refusal = refusal_of(f'{{"model": "m", "user": {fine}, "n": NaN, "top_k": "\\ud83d"}}'.encode())
    assert refusal.param == "n"
    assert "surrogate" not in refusal.message
