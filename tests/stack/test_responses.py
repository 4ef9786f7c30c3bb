"""The Responses API through the official SDK: created, streamed, stored, continued, listed and deleted."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.models import LASTING
from tests.stack.conftest import Key, Stack
from tests.stack.running import PATIENCE_S, wait_until


@pytest.fixture
def client(url: str, key: Key) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key.secret, max_retries=0, timeout=PATIENCE_S)


@pytest.fixture
def other_client(stack: Stack, server: str, key: Key) -> OpenAI:
    """The same account, at the other gateway."""
    (other,) = [url for name, url in stack.gateways.items() if name in ("daphne", "uvicorn") and name != server]
    return OpenAI(base_url=f"{other}/v1", api_key=key.secret, max_retries=0, timeout=PATIENCE_S)


def ask(client: OpenAI, **fields: Any) -> Any:
    return client.responses.create(
        **{"model": "tiny", "input": "hello", "max_output_tokens": 6, "temperature": 0, **fields}
    )


def stored_rows(stack: Stack, response_id: str) -> int:
    (row,) = stack.rows(
        "SELECT count(*) FROM inference_storedresponse WHERE id = %s::uuid", response_id.removeprefix("resp_")
    )
    return int(row[0])


def test_a_response_is_whole_and_billed_and_can_be_fetched_anywhere(
    stack: Stack, client: OpenAI, other_client: OpenAI
) -> None:
    response = ask(client, instructions="Be kind.", metadata={"a": "b"})
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (response.usage.output_tokens, response.usage.total_tokens - response.usage.input_tokens) == (6, 6)
    assert (response.output[0].type, response.output_text != "") == ("message", True)
    assert (response.instructions, response.metadata, response.store) == ("Be kind.", {"a": "b"}, True)
    assert other_client.responses.retrieve(response.id).to_dict() == response.to_dict()
    (entry,) = stack.rows(
        "SELECT completion_tokens FROM accounts_entry WHERE reservation_id = %s::uuid",
        response.id.removeprefix("resp_"),
    )
    assert entry == (6,)


def test_a_stream_ends_with_what_is_stored(client: OpenAI, other_client: OpenAI) -> None:
    events = list(ask(client, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.incomplete"
    response = events[-1].response
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == response.output_text
    assert other_client.responses.retrieve(response.id).to_dict() == response.to_dict()
    whole = ask(client)
    assert whole.output_text == response.output_text


def test_the_streaming_helper_reads_it(client: OpenAI) -> None:
    with client.responses.stream(model="tiny", input="hello", max_output_tokens=5) as stream:
        kinds = [event.type for event in stream]
    assert kinds[-1] == "response.incomplete"
    assert kinds.count("response.output_text.delta") >= 1


def test_what_is_not_to_be_stored_is_not(stack: Stack, client: OpenAI) -> None:
    response = ask(client, store=False)
    assert (response.store, stored_rows(stack, response.id)) == (False, 0)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_chain_of_turns_is_the_prompt_that_was_said(client: OpenAI, other_client: OpenAI) -> None:
    first = ask(client, input="one", instructions="Only for the first.")
    second = ask(other_client, input="two", previous_response_id=first.id)
    third = ask(client, input=[{"role": "user", "content": "three"}], previous_response_id=second.id)
    whole = ask(
        client,
        store=False,
        input=[
            {"role": "user", "content": "one"},
            *[item.to_dict() for item in first.output],
            {"role": "user", "content": "two"},
            *[item.to_dict() for item in second.output],
            {"role": "user", "content": "three"},
        ],
    )
    assert third.usage.input_tokens == whole.usage.input_tokens
    assert third.output_text == whole.output_text
    assert (third.previous_response_id, third.instructions) == (second.id, None)
    client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, input="four", previous_response_id=third.id)
    assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")


def test_a_chain_that_outgrew_the_model_goes_on_without_its_oldest_turns(client: OpenAI) -> None:
    long = ask(client, input="hello " * 400)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, input="hello " * 200, previous_response_id=long.id)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input")
    asked: dict[str, Any] = {"input": "hello " * 200, "instructions": "Be kind.", "truncation": "auto"}
    cut = ask(client, **asked, previous_response_id=long.id)
    alone = ask(client, input=asked["input"], instructions=asked["instructions"])
    assert (cut.truncation, cut.usage.input_tokens) == ("auto", alone.usage.input_tokens)
    assert cut.output_text == alone.output_text
    counted = client.responses.input_tokens.count(model="tiny", **asked, previous_response_id=long.id)
    assert counted.input_tokens == cut.usage.input_tokens
    with pytest.raises(openai.BadRequestError) as alone_too_long:
        ask(client, input="hello " * 3000, truncation="auto")
    assert alone_too_long.value.code == "context_length_exceeded"


def test_calls_and_reasoning_of_a_turn_are_kept_in_the_chain(client: OpenAI) -> None:
    history: list[Any] = [
        {"role": "user", "content": "weather?"},
        {"type": "reasoning", "id": "rs_x", "summary": [{"type": "summary_text", "text": "look"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
    ]
    answered: list[Any] = [{"type": "function_call_output", "call_id": "c1", "output": "sun"}]
    parent = ask(client, input=history)
    child = ask(client, input=answered, previous_response_id=parent.id)
    assert child.usage.input_tokens > parent.usage.input_tokens
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, input=answered)
    assert refused.value.param == "input[0].call_id"


def test_stored_items_can_be_referred_to(client: OpenAI) -> None:
    first = ask(client)
    items = client.responses.input_items.list(first.id).data
    referred: list[Any] = [
        {"type": "item_reference", "id": items[0].id},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "more"},
    ]
    again = ask(client, input=referred)
    continued = ask(client, input="more", previous_response_id=first.id)
    assert again.usage.input_tokens == continued.usage.input_tokens
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, input=[{"type": "item_reference", "id": "msg_unknown"}])
    assert refused.value.param == "input[0]"


def test_input_items_come_in_pages(client: OpenAI) -> None:
    spoken = [f"item {number}" for number in range(5)]
    response = ask(client, input=[{"role": "user", "content": text} for text in spoken])
    page = client.responses.input_items.list(response.id, limit=2, order="asc")
    assert (len(page.data), page.has_more) == (2, True)
    everything = [item.content[0].text for item in client.responses.input_items.list(response.id, limit=2, order="asc")]
    assert everything == spoken
    assert [item.content[0].text for item in client.responses.input_items.list(response.id)] == spoken[::-1]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", f"limit={'9' * 5000}", "order=up", "after=msg_nowhere"]
)
def test_a_wrong_page_is_400_and_named(url: str, key: Key, client: OpenAI, query: str) -> None:
    response = ask(client)
    answer = httpx.get(f"{url}/v1/responses/{response.id}/input_items?{query}", headers=key.headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, query.split("=", maxsplit=1)[0])


def test_a_deleted_response_is_gone(client: OpenAI, other_client: OpenAI, url: str, key: Key) -> None:
    response = ask(client)
    deleted = httpx.delete(f"{url}/v1/responses/{response.id}", headers=key.headers)
    assert (deleted.status_code, deleted.json()) == (
        200,
        {"id": response.id, "object": "response", "deleted": True},
    )
    for gone in (client.responses.retrieve, other_client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            gone(response.id)


@pytest.mark.parametrize("response_id", ["resp_" + "0" * 32, "resp_", "nothing", "resp_%F0%9F%90%8D", "a" * 500])
def test_an_unknown_id_is_404(url: str, key: Key, response_id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items")):
        answer = httpx.request(method, f"{url}/v1/responses/{response_id}{path}", headers=key.headers)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


def test_nobody_else_reads_or_continues_it(stack: Stack, client: OpenAI, url: str) -> None:
    response = ask(client)
    stranger = OpenAI(base_url=f"{url}/v1", api_key=stack.issue_key("strangers").secret, max_retries=0)
    for ask_for in (stranger.responses.retrieve, stranger.responses.delete, stranger.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask_for(response.id)
    with pytest.raises(openai.BadRequestError) as foreign:
        ask(stranger, previous_response_id=response.id)
    with pytest.raises(openai.BadRequestError) as unknown:
        ask(stranger, previous_response_id="resp_" + "0" * 32)
    assert foreign.value.code == unknown.value.code == "previous_response_not_found"
    with pytest.raises(openai.BadRequestError):
        ask(stranger, input=[{"type": "item_reference", "id": response.output[0].id}])


def test_an_expired_response_is_as_if_it_had_never_been(stack: Stack, client: OpenAI) -> None:
    response = ask(client)
    stack.sql(
        "UPDATE inference_storedresponse SET expires_at = now() - interval '1 second' WHERE id = %s::uuid",
        response.id.removeprefix("resp_"),
    )
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, previous_response_id=response.id)
    assert refused.value.code == "previous_response_not_found"


@pytest.mark.parametrize("stream", [True, False])
def test_what_was_made_for_a_client_that_left_is_kept(
    stack: Stack, url: str, key: Key, lasting: str, stream: bool
) -> None:
    body = {"model": lasting, "input": "hello", "max_output_tokens": LASTING, "stream": stream}
    before = {row[0] for row in stack.rows("SELECT id FROM inference_storedresponse")}
    if stream:
        asked = {"json": body, "headers": key.headers, "timeout": PATIENCE_S}
        with httpx.stream("POST", f"{url}/v1/responses", **asked) as response:
            next(line for line in response.iter_lines() if "output_text.delta" in line)
    else:
        stack.leave_a_whole_answer(f"{url}/v1/responses", body, key)

    def kept() -> list[Any]:
        return [
            row
            for row in stack.rows("SELECT id, status, response FROM inference_storedresponse")
            if row[0] not in before
        ]

    ((_, status, stored),) = wait_until(kept, what="the response to be stored")
    whole = json.loads(bytes(stored))
    assert (status, whole["status"], whole["output"][0]["status"]) == ("incomplete",) * 3
    assert whole["output"][0]["content"][0]["text"]
    assert 0 < whole["usage"]["output_tokens"] < LASTING


def test_contents_are_in_no_log(stack: Stack, client: OpenAI) -> None:
    ask(client, input="a very secret sentence")
    assert not any("very secret" in stack.log(name).read_text() for name in stack.processes)


def test_what_cannot_be_said_yet_is_refused_in_the_envelope(url: str, key: Key) -> None:
    answer = httpx.post(f"{url}/v1/responses/compact", json={}, headers=key.headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")
    answer = httpx.put(f"{url}/v1/responses", json={}, headers=key.headers)
    assert answer.status_code == 405


def test_an_input_too_large_to_be_stored_says_so(stack: Stack, key: Key) -> None:
    small = stack.start_gateway("uvicorn", name="small-store", HELEXA_STORE_MAX_BYTES="2000")
    stack.wait_ready("small-store")
    body = {"model": "tiny", "input": "hello " * 350, "max_output_tokens": 3}

    def answer(**fields: Any) -> httpx.Response:
        return httpx.post(f"{small}/v1/responses", json=body | fields, headers=key.headers, timeout=PATIENCE_S)

    wait_until(lambda: answer(store=False).status_code != 404, what="the model to be seen there")
    refused = answer()
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input")
    assert answer(store=False).status_code == 200
    stack.processes.pop("small-store").terminate()
    stack.gateways.pop("small-store")


FORECAST = {
    "type": "function",
    "name": "forecast",
    "parameters": {
        "type": "object",
        "properties": {"day": {"enum": ["today", "tomorrow"]}},
        "required": ["day"],
        "additionalProperties": False,
    },
    "strict": True,
}


def test_a_call_that_must_be_made_is_an_item_and_its_result_continues_the_turn(
    client: OpenAI, other_client: OpenAI
) -> None:
    asked: dict[str, Any] = {"tools": [FORECAST], "tool_choice": "required", "max_output_tokens": 300}
    whole = ask(client, **asked, parallel_tool_calls=False)
    (call,) = whole.output
    assert (whole.status, call.type, call.name) == ("completed", "function_call", "forecast")
    assert json.loads(call.arguments)["day"] in ("today", "tomorrow")
    with client.responses.stream(
        model="tiny", input="hello", temperature=0, parallel_tool_calls=False, **asked
    ) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    assert "response.function_call_arguments.delta" in kinds
    assert (streamed.output[0].name, streamed.output[0].arguments) == (call.name, call.arguments)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    answer = ask(other_client, input=[result], previous_response_id=whole.id, tools=[FORECAST])
    assert answer.usage.input_tokens > whole.usage.input_tokens
    assert answer.output[0].type == "message"


@pytest.mark.parametrize("tokens", [3, 20, 60])
def test_a_named_call_that_is_cut_is_an_incomplete_call(client: OpenAI, tokens: int) -> None:
    choice = {"type": "function", "name": "forecast"}
    response = ask(
        client, tools=[FORECAST, {**FORECAST, "name": "forget"}], tool_choice=choice, max_output_tokens=tokens
    )
    (call,) = response.output
    assert (response.status, call.type, call.name, call.status) == (
        "incomplete", "function_call", "forecast", "incomplete",
    )  # fmt: skip


def test_a_named_tool_in_a_namespace_comes_back_under_its_own_name(client: OpenAI) -> None:
    group = {"type": "namespace", "name": "weather", "description": "", "tools": [FORECAST]}
    choice = {"type": "function", "name": "forecast", "namespace": "weather"}
    response = ask(client, tools=[group, {"type": "web_search"}], tool_choice=choice, max_output_tokens=60)
    assert (response.output[0].name, response.output[0].namespace) == ("forecast", "weather")


def test_a_custom_tool_comes_back_with_its_raw_input(client: OpenAI) -> None:
    custom = {"type": "custom", "name": "note", "description": "Keeps a note."}
    choice = {"type": "custom", "name": "note"}
    response = ask(client, tools=[custom], tool_choice=choice, max_output_tokens=40)
    assert (response.output[0].type, response.output[0].name) == ("custom_tool_call", "note")
    assert isinstance(response.output[0].input, str)


def test_a_format_is_kept_to_and_parsed(client: OpenAI) -> None:
    class Weather(BaseModel):
        sunny: bool

    response = client.responses.parse(
        model="tiny", input="hello", text_format=Weather, max_output_tokens=60, temperature=0
    )
    assert isinstance(response.output_parsed, Weather)


def test_the_count_of_an_input_is_what_it_is_billed(stack: Stack, client: OpenAI) -> None:
    asked: dict[str, Any] = {"input": "hello", "instructions": "Be kind.", "tools": [FORECAST], "tool_choice": "auto"}
    response = ask(client, **asked)
    counted = client.responses.input_tokens.count(model="tiny", **asked)
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", response.usage.input_tokens)
    more = client.responses.input_tokens.count(model="tiny", input="more", previous_response_id=response.id)
    assert more.input_tokens > 0
