"""One good request of each kind on `/v1`, with most of the fields that its dialect knows: what `fuzz` changes."""

from __future__ import annotations

from typing import Any, NamedTuple

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"name": "get_weather", "description": "Weather of a city.", "parameters": SCHEMA}


class Good(NamedTuple):
    """A request that is answered as it stands. `anthropic` is whose envelope its errors have."""

    path: str
    body: dict[str, Any]
    anthropic: bool = False


def _chat(**fields: Any) -> Good:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hello"}], "name": "ann"},
    ]
    return Good("/v1/chat/completions", {"model": "tiny", "max_tokens": 4, "messages": messages, **fields})


def _completion(**fields: Any) -> Good:
    return Good("/v1/completions", {"model": "tiny", "prompt": "hello", "max_tokens": 4, **fields})


def _responses(**fields: Any) -> Good:
    return Good("/v1/responses", {"model": "tiny", "input": "hello", "max_output_tokens": 4, **fields})


def _messages(**fields: Any) -> Good:
    turns = [{"role": "user", "content": "hello"}]
    return Good("/v1/messages", {"model": "tiny", "max_tokens": 4, "messages": turns, **fields}, anthropic=True)


_CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}

GOOD = (
    _chat(),
    _chat(stream=True, stream_options={"include_usage": True}, n=2, stop=["x", "y"], seed=7),
    _chat(
        temperature=0.7,
        top_p=0.9,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias={"5": 1.5},
        logprobs=True,
        top_logprobs=2,
        top_k=5,
        min_p=0.05,
        repetition_penalty=1.1,
        max_completion_tokens=3,
        user="u",
        metadata={"a": "b"},
    ),
    _chat(
        tools=[{"type": "function", "function": WEATHER}],
        tool_choice="auto",
        parallel_tool_calls=False,
        messages=[
            {"role": "developer", "content": "Use tools."},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        ],
    ),
    _chat(
        tools=[{"type": "function", "function": {**WEATHER, "strict": True}}],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        stream=True,
        max_tokens=12,
    ),
    _chat(response_format={"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA, "strict": True}}),
    _chat(response_format={"type": "json_object"}, reasoning_effort="low", chat_template_kwargs={"a": 1}),
    _completion(),
    _completion(prompt=["a", "b"], n=2, best_of=2, echo=True, logprobs=2, stop="x"),
    _completion(prompt=[5, 6, 7], stream=True, stream_options={"include_usage": True}, temperature=0),
    _responses(),
    _responses(stream=True, instructions="Be brief.", temperature=0.5, top_p=0.9, metadata={"a": "b"}),
    _responses(
        store=False,
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None},
            {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            {"type": "message", "role": "developer", "content": "Go on."},
        ],
        tools=[{"type": "function", **WEATHER, "strict": False}, {"type": "custom", "name": "patch"}],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"effort": "low", "summary": "auto"},
        include=["reasoning.encrypted_content"],
        text={"format": {"type": "text"}, "verbosity": "low"},
        truncation="disabled",
    ),
    _responses(text={"format": {"type": "json_schema", "name": "w", "schema": SCHEMA, "strict": True}}),
    Good("/v1/responses/input_tokens", {"model": "tiny", "input": "hello"}),
    _messages(),
    _messages(stream=True, system=[{"type": "text", "text": "Be brief."}], stop_sequences=["x"], temperature=0.5),
    _messages(
        tools=[{"name": "get_weather", "description": "Weather.", "input_schema": SCHEMA}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 1024},
        max_tokens=2000,
        stop_sequences=["e"],
        top_k=5,
        top_p=0.9,
        metadata={"user_id": "u"},
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny", "is_error": False}],
            },
        ],
    ),
    _messages(
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
        messages=[{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "It is"}],
    ),
    Good(
        "/v1/messages/count_tokens",
        {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "system": "Be brief."},
        anthropic=True,
    ),
)
