"""The anthropic SDK on Messages. ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY say where and as whom."""

from __future__ import annotations

from typing import Any, Literal

import anthropic
from anthropic import Anthropic, AsyncAnthropic, beta_tool
from features import CITIES, CITY, FIRST_WORD, LAST_WORD, MODEL, THOUGHT, feature, lookup, raises, run
from pydantic import BaseModel

client = Anthropic(max_retries=0)
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
ASKED: dict[str, Any] = {"model": MODEL, "max_tokens": 1000, "messages": HELLO}
TOOLS: list[Any] = [{"name": "lookup", "description": "How warm it is.", "input_schema": CITY}]
THINKING: dict[str, Any] = {"type": "enabled", "budget_tokens": 1024}


class Weather(BaseModel):
    city: Literal["Paris", "Tokyo"]
    rain: bool


@feature
def text() -> None:
    message = client.messages.create(**ASKED, system="Be kind.")
    assert (message.content[0].text, message.stop_reason) == (FIRST_WORD, "end_turn")
    assert message._request_id


@feature
def stream() -> None:
    events = list(client.messages.create(**ASKED, stream=True))
    pieces = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert "".join(pieces) == FIRST_WORD
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")


@feature
async def asynchronous() -> None:
    async with AsyncAnthropic(max_retries=0) as client:
        whole = await client.messages.create(**ASKED)
        async with client.messages.stream(**ASKED) as events:
            streamed = "".join([piece async for piece in events.text_stream])
    assert whole.content[0].text == streamed == FIRST_WORD


@feature
def stream_helper() -> None:
    with client.messages.stream(**ASKED, tools=TOOLS) as events:
        kinds = [event.type for event in events]
        final = events.get_final_message()
    assert "input_json" in kinds
    assert final.stop_reason == "tool_use"
    assert final.content[-1].input["city"] in CITIES


@feature
def tools() -> None:
    for choice in ({"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "lookup"}):
        message = client.messages.create(**ASKED, tools=TOOLS, tool_choice=choice)
        assert message.stop_reason == "tool_use", choice
        (call,) = [block for block in message.content if block.type == "tool_use"]
        assert call.name == "lookup"
        assert call.input["city"] in CITIES
    declined = client.messages.create(**ASKED, tools=TOOLS, tool_choice={"type": "none"})
    assert declined.stop_reason == "end_turn"


@feature
def loop() -> None:
    messages = [*HELLO]
    while (message := client.messages.create(**{**ASKED, "messages": messages}, tools=TOOLS)).stop_reason == "tool_use":
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": lookup(**block.input)}
            for block in message.content
            if block.type == "tool_use"
        ]
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    assert message.content[0].text == LAST_WORD
    assert len(messages) == 1 + 2 * len(CITIES)


@feature
def tool_runner() -> None:
    """The SDK's own loop."""

    @beta_tool(name="lookup", description="How warm it is.", input_schema=CITY)
    def called(city: str) -> str:
        return lookup(city)

    *_, last = client.beta.messages.tool_runner(**ASKED, tools=[called])
    assert last.content[0].text == LAST_WORD


@feature
def structured() -> None:
    assert isinstance(client.messages.parse(**ASKED, output_format=Weather).parsed_output, Weather)


@feature
def reasoning() -> None:
    for thinking in (THINKING, {"type": "adaptive"}):
        message = client.messages.create(**{**ASKED, "max_tokens": 2000}, thinking=thinking)
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert message.content[0].thinking.strip() == THOUGHT
    turns = [*HELLO, {"role": "assistant", "content": message.content}, *HELLO]
    client.messages.create(**{**ASKED, "messages": turns})


@feature
def usage() -> None:
    whole = client.messages.create(**ASKED).usage
    counted = client.messages.count_tokens(model=MODEL, messages=HELLO).input_tokens
    assert counted == whole.input_tokens + whole.cache_read_input_tokens
    with client.messages.stream(**ASKED) as events:
        assert events.get_final_message().usage.output_tokens == whole.output_tokens


@feature
def errors() -> None:
    cases = [
        (anthropic.BadRequestError, {"max_tokens": -1}, client),
        (anthropic.NotFoundError, {"model": "nothing-like-it"}, client),
        (anthropic.AuthenticationError, {}, client.with_options(api_key="wrong")),
    ]
    for expected, fields, asking in cases:
        for streamed in (False, True):
            with raises(expected) as raised:
                asking.messages.create(**{**ASKED, "stream": streamed, **fields})
            assert raised[0].request_id
            assert raised[0].body["type"] == "error"


@feature
def stop_sequences() -> None:
    message = client.messages.create(**ASKED, stop_sequences=["script"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "script")


@feature
def beta() -> None:
    assert client.beta.messages.create(**ASKED, betas=["of-tomorrow"]).content[0].text == FIRST_WORD


@feature
def models() -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).type == "model"


run()
