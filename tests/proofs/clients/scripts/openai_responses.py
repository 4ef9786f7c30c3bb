"""The openai SDK on Responses. OPENAI_BASE_URL and OPENAI_API_KEY say where and as whom."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import openai
from features import CITIES, CITY, FIRST_WORD, LAST_WORD, MODEL, THOUGHT, feature, lookup, raises, run
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

client = OpenAI(max_retries=0)
TOOLS: list[Any] = [{"type": "function", "name": "lookup", "parameters": CITY, "strict": True}]


class Weather(BaseModel):
    city: Literal["Paris", "Tokyo"]
    rain: bool


def calls_of(response: Any) -> list[Any]:
    return [item for item in response.output if item.type == "function_call"]


def results_of(response: Any) -> list[Any]:
    return [
        {"type": "function_call_output", "call_id": call.call_id, "output": lookup(**json.loads(call.arguments))}
        for call in calls_of(response)
    ]


@feature
def text() -> None:
    response = client.responses.create(model=MODEL, input="Hello", instructions="Be kind.")
    assert (response.output_text, response.status) == (FIRST_WORD, "completed")


@feature
def stream() -> None:
    events = list(client.responses.create(model=MODEL, input="Hello", stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == FIRST_WORD
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"


@feature
async def asynchronous() -> None:
    async with AsyncOpenAI(max_retries=0) as client:
        whole = await client.responses.create(model=MODEL, input="Hello")
        async with client.responses.stream(model=MODEL, input="Hello") as events:
            kinds = [event.type async for event in events]
            helped = await events.get_final_response()
    assert whole.output_text == helped.output_text == FIRST_WORD
    assert kinds[-1] == "response.completed"


@feature
def stream_helper() -> None:
    with client.responses.stream(model=MODEL, input="Hello", tools=TOOLS) as events:
        kinds = [event.type for event in events]
        final = events.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert calls_of(final)[0].parsed_arguments["city"] in CITIES


@feature
def tools() -> None:
    for choice in ("auto", "required", {"type": "function", "name": "lookup"}):
        response = client.responses.create(model=MODEL, input="Hello", tools=TOOLS, tool_choice=choice)
        (call,) = calls_of(response)
        assert (call.name, call.status) == ("lookup", "completed")
        assert json.loads(call.arguments)["city"] in CITIES


@feature
def hosted_tools() -> None:
    response = client.responses.create(model=MODEL, input="Hello", tools=[{"type": "web_search"}])
    assert response.output_text == FIRST_WORD


@feature
def custom_tools() -> None:
    tool: Any = {"type": "custom", "name": "write", "description": "Takes any text."}
    response = client.responses.create(
        model=MODEL, input="Hello", tools=[tool], tool_choice="required", max_output_tokens=200
    )
    assert [item.type for item in response.output] == ["custom_tool_call"]


@feature
def loop() -> None:
    """Nothing stored: every turn sends all items again."""
    items: list[Any] = [{"role": "user", "content": "Hello"}]
    while calls_of(response := client.responses.create(model=MODEL, input=items, tools=TOOLS, store=False)):
        items += [*response.output, *results_of(response)]
    assert response.output_text == LAST_WORD
    assert len(items) == 1 + 2 * len(CITIES)


@feature
def stored_loop() -> None:
    """Each turn sends the results alone and names the response before."""
    response, rounds = client.responses.create(model=MODEL, input="Hello", tools=TOOLS), 0
    while calls_of(response):
        response = client.responses.create(
            model=MODEL, input=results_of(response), tools=TOOLS, previous_response_id=response.id
        )
        rounds += 1
    assert (response.output_text, rounds) == (LAST_WORD, len(CITIES))


@feature
def structured() -> None:
    assert isinstance(client.responses.parse(model=MODEL, input="Hello", text_format=Weather).output_parsed, Weather)
    with client.responses.stream(model=MODEL, input="Hello", text_format=Weather) as events:
        assert isinstance(events.get_final_response().output_parsed, Weather)


@feature
def reasoning() -> None:
    response = client.responses.create(model=MODEL, input="Hello", reasoning={"effort": "low"})
    thought = response.output[0]
    assert thought.type == "reasoning"
    parts = thought.content or thought.summary
    assert "".join(part.text for part in parts).strip() == THOUGHT
    assert response.usage.output_tokens_details.reasoning_tokens > 0


@feature
def usage() -> None:
    used = client.responses.create(model=MODEL, input="Hello").usage
    assert used.total_tokens == used.input_tokens + used.output_tokens
    counted = client.responses.input_tokens.count(model=MODEL, input="Hello")
    assert counted.input_tokens == used.input_tokens


@feature
def errors() -> None:
    cases = [
        (openai.BadRequestError, {"temperature": 9}, client),
        (openai.BadRequestError, {"previous_response_id": "resp_unknown"}, client),
        (openai.NotFoundError, {"model": "nothing-like-it"}, client),
        (openai.AuthenticationError, {}, client.with_options(api_key="wrong")),
    ]
    for expected, fields, asking in cases:
        with raises(expected) as raised:
            asking.responses.create(**{"model": MODEL, "input": "Hello", **fields})
        assert raised[0].request_id


@feature
def store() -> None:
    made = client.responses.create(model=MODEL, input="Hello")
    assert client.responses.retrieve(made.id).output_text == FIRST_WORD
    (item,) = client.responses.input_items.list(made.id)
    assert (item.type, item.role) == ("message", "user")
    client.responses.delete(made.id)
    with raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


@feature
def background() -> None:
    response = client.responses.create(model=MODEL, input="Hello", background=True)
    until_s = time.monotonic() + 60
    while response.status in ("queued", "in_progress") and time.monotonic() < until_s:
        time.sleep(0.1)
        response = client.responses.retrieve(response.id)
    assert (response.status, response.output_text) == ("completed", FIRST_WORD)
    assert client.responses.cancel(response.id).status == "completed"


@feature
def resumed_stream() -> None:
    """A background response whose stream is left and taken up again, from the event after the last one seen."""
    seen = []
    with client.responses.create(model=MODEL, input="Hello", background=True, stream=True) as events:
        for event in events:
            seen.append(event)
            if len(seen) == 3:
                break
    made: Any = seen[0]
    rest = client.responses.retrieve(made.response.id, stream=True, starting_after=seen[-1].sequence_number)
    seen += list(rest)
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed"


run()
