"""The openai SDK on Chat Completions, Completions and Models, where OPENAI_BASE_URL and OPENAI_API_KEY say."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
from features import CITIES, CITY, FIRST_WORD, LAST_WORD, MODEL, THOUGHT, feature, lookup, raises, run
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

client = OpenAI(max_retries=0)
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "lookup", "parameters": CITY, "strict": True}}]


class Weather(BaseModel):
    city: Literal["Paris", "Tokyo"]
    rain: bool


@feature
def text() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO)
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == (FIRST_WORD, "stop")
    assert answer._request_id


@feature
def stream() -> None:
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    ]
    assert "".join(pieces) == FIRST_WORD
    assert len(pieces) > 5


@feature
async def asynchronous() -> None:
    async with AsyncOpenAI(max_retries=0) as client:
        whole = await client.chat.completions.create(model=MODEL, messages=HELLO)
        chunks = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in chunks]
        async with client.chat.completions.stream(model=MODEL, messages=HELLO) as events:
            helped = await events.get_final_completion()
    assert whole.choices[0].message.content == "".join(pieces) == helped.choices[0].message.content == FIRST_WORD


@feature
def stream_helper() -> None:
    with client.chat.completions.stream(model=MODEL, messages=HELLO) as events:
        kinds = [event.type for event in events]
        final = events.get_final_completion()
    assert "content.delta" in kinds
    assert "content.done" in kinds
    assert final.choices[0].message.content == FIRST_WORD


@feature
def tools() -> None:
    for choice in ("auto", "required", {"type": "function", "function": {"name": "lookup"}}):
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, tools=TOOLS, tool_choice=choice)
        assert answer.choices[0].finish_reason == "tool_calls", choice
        (call,) = answer.choices[0].message.tool_calls
        assert call.function.name == "lookup"
        assert json.loads(call.function.arguments)["city"] in CITIES
    declined = client.chat.completions.create(model=MODEL, messages=HELLO, tools=TOOLS, tool_choice="none")
    assert declined.choices[0].message.tool_calls is None


@feature
def streamed_tools() -> None:
    for choice in ("auto", "required"):
        with client.chat.completions.stream(model=MODEL, messages=HELLO, tools=TOOLS, tool_choice=choice) as events:
            done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
            (called,) = events.get_final_completion().choices[0].message.tool_calls
        assert [event.arguments for event in done] == [called.function.arguments]
        assert called.function.parsed_arguments["city"] in CITIES


@feature
def loop() -> None:
    messages = [*HELLO]
    while True:
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS)
        message = answer.choices[0].message
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
    parsed = client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Weather)
    assert isinstance(parsed.choices[0].message.parsed, Weather)
    with client.chat.completions.stream(model=MODEL, messages=HELLO, response_format=Weather) as events:
        assert isinstance(events.get_final_completion().choices[0].message.parsed, Weather)


@feature
def reasoning() -> None:
    message = client.chat.completions.create(model=MODEL, messages=HELLO, reasoning_effort="low").choices[0].message
    assert message.reasoning_content.strip() == THOUGHT  # what the SDK has no name for is there all the same
    assert message.content == FIRST_WORD


@feature
def usage() -> None:
    whole = client.chat.completions.create(model=MODEL, messages=HELLO).usage
    *_, last = client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    assert last.usage.total_tokens == whole.total_tokens == whole.prompt_tokens + whole.completion_tokens
    assert whole.completion_tokens_details.reasoning_tokens == 0


@feature
def errors() -> None:
    cases = [
        (openai.BadRequestError, {"temperature": 9}, client),
        (openai.NotFoundError, {"model": "nothing-like-it"}, client),
        (openai.AuthenticationError, {}, client.with_options(api_key="wrong")),
    ]
    for expected, fields, asking in cases:
        for streamed in (False, True):
            with raises(expected) as raised:
                asking.chat.completions.create(**{"model": MODEL, "messages": HELLO, "stream": streamed, **fields})
            assert raised[0].request_id
            assert raised[0].type


@feature
def logprobs() -> None:
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, logprobs=True, top_logprobs=2, n=2)
    for choice in answer.choices:
        assert "".join(token.token for token in choice.logprobs.content).startswith(FIRST_WORD)
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)


@feature
def completions() -> None:
    begun, goes_on = FIRST_WORD[:9], FIRST_WORD[9:]
    asked: dict[str, Any] = {"model": MODEL, "max_tokens": 20}
    answer = client.completions.create(**asked, prompt=[begun, begun], logprobs=1, echo=True)
    assert [choice.text for choice in answer.choices] == [FIRST_WORD, FIRST_WORD]
    chunks = list(client.completions.create(**asked, prompt=begun, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == goes_on
    assert chunks[-1].choices[0].finish_reason == "stop"


@feature
def models() -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


run()
