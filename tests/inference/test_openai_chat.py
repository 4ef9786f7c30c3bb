"""A Chat Completions body becomes a request or a refusal that names the field; events become chunks or one answer."""

from __future__ import annotations

import json

import pytest

from inference.dialects.assembly import Choice, Passage
from inference.dialects.openai_chat import ChatAnswer, ChatRequest
from inference.dialects.openai_chat import parse as parse_with_headers
from inference.dialects.openai_errors import last_events
from inference.events import Ended, Finished, Started, Text
from inference.refusals import Refusal, unavailable

MESSAGES = [{"role": "user", "content": "hello"}]


def body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()


def parse(raw: bytes, **headers: str) -> ChatRequest:
    return parse_with_headers(raw, {name.encode(): value.encode() for name, value in headers.items()}.get)


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
    nothing = dict.fromkeys(["max_tokens", "temperature", "stop", "seed", "stream", "stream_options", "n", "tools"])
    assert parse(body(**nothing)) == parse(body())


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
    generation = request.generation("a", max_tokens=50, granted=70)
    assert (generation.max_tokens, generation.granted, generation.n) == (50, 70, 1)


@pytest.mark.parametrize("n", [1, 2, 128])
def test_up_to_128_choices_are_asked_for(n: int) -> None:
    request = parse(body(n=n))
    assert request.n == n
    assert request.generation("a", max_tokens=5, granted=None).n == n


def test_text_parts_are_joined_and_unknown_fields_ignored() -> None:
    parts = [{"type": "text", "text": "one", "cache_control": {}}, {"type": "text", "text": "two"}]
    request = parse(body(messages=[{"role": "user", "content": parts, "x": 1}], service_tier="auto", metadata={"a": 1}))
    assert request.messages == [{"role": "user", "content": "one\ntwo"}]


def test_tool_history_is_kept_for_the_template() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    history = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    assert parse(body(messages=history)).messages == history


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
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"functions": [{}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"top_k": 5}, "top_k"),
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
        {"presence_penalty": 0},
        {"logit_bias": {}},
        {"modalities": ["text"]},
        {"stop": ""},
        {"unknown": {"deep": [1, 2]}},
    ],
)
def test_harmless_values_of_what_is_not_built_are_ignored(harmless: dict[str, object]) -> None:
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


# -- what goes out -------------------------------------------------------------------------------


def frames(*parts: bytes) -> list[str]:
    return [frame.removeprefix("data: ") for frame in b"".join(parts).decode().split("\n\n") if frame]


def a_stream(*, include_usage: bool) -> list[str]:
    stream = ChatAnswer(answer_id="chatcmpl-1", model="m", created_s=7, n=1, include_usage=include_usage)
    return frames(
        stream.opening(Started(3)),
        stream.content(Text('a "b"\n', 1)),
        stream.content(Ended(0, "stop", 2)),
        stream.closing(Finished("stop", 3, 2)),
    )


def two_choices(*, include_usage: bool) -> bytes:
    """The second choice ends first."""
    stream = ChatAnswer(answer_id="chatcmpl-1", model="m", created_s=7, n=2, include_usage=include_usage)
    return b"".join(
        [
            stream.opening(Started(3)),
            stream.content(Text("a", 1)),
            stream.content(Text("b", 2, 1)),
            stream.content(Ended(1, "stop", 3)),
            stream.content(Text("c", 4)),
            stream.content(Ended(0, "length", 4)),
            stream.closing(Finished("length", 3, 4)),
        ]
    )


def test_without_include_usage_the_usage_rides_on_the_last_choice() -> None:
    role, text, last, done = a_stream(include_usage=False)
    assert json.loads(role)["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert json.loads(text)["choices"][0]["delta"] == {"content": 'a "b"\n'}
    assert json.loads(last)["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert json.loads(last)["usage"]["total_tokens"] == 5
    assert done == "[DONE]"


def test_with_include_usage_it_comes_in_a_chunk_of_its_own() -> None:
    *_, last, usage, done = a_stream(include_usage=True)
    assert "usage" not in json.loads(last)
    assert json.loads(usage)["choices"] == []
    assert json.loads(usage)["usage"]["completion_tokens"] == 2
    assert done == "[DONE]"


HEAD = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m"'
USAGE = (
    '"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,'
    '"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}'
)
TWO_CHOICES = [
    '[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]',
    '[{"index":1,"delta":{"role":"assistant","content":""},"finish_reason":null}]',
    '[{"index":0,"delta":{"content":"a"},"finish_reason":null}]',
    '[{"index":1,"delta":{"content":"b"},"finish_reason":null}]',
    '[{"index":1,"delta":{},"finish_reason":"stop"}]',
    '[{"index":0,"delta":{"content":"c"},"finish_reason":null}]',
    '[{"index":0,"delta":{},"finish_reason":"length"}]',
]


def test_two_choices_stream_with_their_index_and_one_usage_at_the_end() -> None:
    chunks = [f'data: {{{HEAD},"choices":{choices}}}\n\n' for choices in TWO_CHOICES]
    with_usage = f'data: {{{HEAD},"choices":{TWO_CHOICES[-1]},{USAGE}}}\n\n'
    assert two_choices(include_usage=False).decode() == "".join([*chunks[:-1], with_usage, "data: [DONE]\n\n"])


def test_two_choices_with_include_usage_end_with_a_chunk_without_choices() -> None:
    chunks = [f'data: {{{HEAD},"choices":{choices}}}\n\n' for choices in TWO_CHOICES]
    usage = f'data: {{{HEAD},"choices":[],{USAGE}}}\n\n'
    assert two_choices(include_usage=True).decode() == "".join([*chunks, usage, "data: [DONE]\n\n"])


def test_every_chunk_has_the_same_head() -> None:
    heads = [
        {key: json.loads(frame)[key] for key in ("id", "object", "created", "model")}
        for frame in a_stream(include_usage=True)[:-1]
    ]
    assert heads == [{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}] * 4


def test_an_error_after_the_200_is_one_event_and_the_end() -> None:
    error, done = frames(last_events(unavailable("gone", retry_after_s=5)))
    assert json.loads(error)["error"] == {
        "message": "gone",
        "type": "api_error",
        "param": None,
        "code": "service_unavailable",
    }
    assert done == "[DONE]"


def test_a_whole_answer_has_its_choices_in_order_and_the_counts() -> None:
    choices = [Choice([Passage("text", "hi")], reason="length"), Choice(reason="stop")]
    answer = ChatAnswer(answer_id="chatcmpl-1", model="m", created_s=7, n=2, include_usage=False)
    whole = answer.whole(choices, Started(3), Finished("length", 3, 4))
    assert whole.decode() == (
        '{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":['
        '{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,'
        '"finish_reason":"length"},'
        '{"index":1,"message":{"role":"assistant","content":"","refusal":null},"logprobs":null,'
        f'"finish_reason":"stop"}}],{USAGE}}}'
    )
