"""LiteLLM's `completion` by the prefix of a model's name: the same features over Chat Completions and over Messages."""

from __future__ import annotations

import json
from typing import Any, Literal

import litellm
from features import CITIES, CITY, FIRST_WORD, LAST_WORD, MODEL, THOUGHT, feature, lookup, raises, run
from pydantic import BaseModel

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "lookup", "parameters": CITY}}]


class Weather(BaseModel):
    city: Literal["Paris", "Tokyo"]
    rain: bool


def try_all(prefix: str) -> None:
    """LiteLLM takes the base URL and the key of this provider from the environment, as the SDKs do."""
    asked: dict[str, Any] = {"model": f"{prefix}/{MODEL}", "messages": HELLO, "max_tokens": 2000, "num_retries": 0}

    @feature
    def text() -> None:
        assert litellm.completion(**asked).choices[0].message.content == FIRST_WORD

    @feature
    def stream() -> None:
        chunks = list(litellm.completion(**asked, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == FIRST_WORD
        assert litellm.stream_chunk_builder(chunks).choices[0].message.content == FIRST_WORD

    @feature
    async def asynchronous() -> None:
        chunks = await litellm.acompletion(**asked, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in chunks]) == FIRST_WORD

    @feature
    def tools() -> None:
        for choice in ("auto", "required", {"type": "function", "function": {"name": "lookup"}}):
            answer = litellm.completion(**asked, tools=TOOLS, tool_choice=choice)
            assert answer.choices[0].finish_reason == "tool_calls", choice
            (call,) = answer.choices[0].message.tool_calls
            assert json.loads(call.function.arguments)["city"] in CITIES
        chunks = list(litellm.completion(**asked, tools=TOOLS, stream=True))
        (call,) = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls
        assert json.loads(call.function.arguments)["city"] in CITIES

    @feature
    def loop() -> None:
        messages = [*HELLO]
        while True:
            message = litellm.completion(**{**asked, "messages": messages}, tools=TOOLS).choices[0].message
            if not message.tool_calls:
                break
            messages.append(message)
            for call in message.tool_calls:
                content = lookup(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
        assert message.content == LAST_WORD
        assert len(messages) == 1 + 2 * len(CITIES)

    @feature
    def structured() -> None:
        answer = litellm.completion(**asked, response_format=Weather)
        Weather.model_validate_json(answer.choices[0].message.content)

    @feature
    def reasoning() -> None:
        fields = {"reasoning_effort": "low", "allowed_openai_params": ["reasoning_effort"]}
        message = litellm.completion(**asked, **fields).choices[0].message
        assert message.reasoning_content.strip() == THOUGHT
        assert message.content == FIRST_WORD

    @feature
    def usage() -> None:
        used = litellm.completion(**asked).usage
        assert used.total_tokens == used.prompt_tokens + used.completion_tokens
        *_, last = litellm.completion(**asked, stream=True, stream_options={"include_usage": True})
        assert last.usage.total_tokens == used.total_tokens

    @feature
    def errors() -> None:
        long: list[Any] = [{"role": "user", "content": "too long " * 140_000}]
        for expected, fields in (
            (litellm.AuthenticationError, {"api_key": "wrong"}),
            (litellm.NotFoundError, {"model": f"{prefix}/nothing-like-it"}),
            (litellm.ContextWindowExceededError, {"messages": long}),
        ):
            with raises(expected):
                litellm.completion(**{**asked, **fields})

    run()
