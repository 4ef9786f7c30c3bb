"""Messages as the anthropic SDK sees them, from a real torch model: sync and async, helpers, counts, key headers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from pydantic import BaseModel

from tests.inference.messages.message_stream import message_of
from tests.models import tiny_tokenizer
from tests.stack.running import Key, Stack

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


@pytest.fixture
def client(url: str, key: Key) -> Anthropic:
    return Anthropic(base_url=url, api_key=key.secret, max_retries=0)


def post(url: str, key: Key, path: str = "/v1/messages", **fields: Any) -> httpx.Response:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 8, **fields}
    return httpx.post(url + path, json=body, headers=key.headers, timeout=60)


def count(url: str, key: Key, **fields: Any) -> int:
    counted: int = post(url, key, "/v1/messages/count_tokens", **fields).json()["input_tokens"]
    return counted


def used(message: dict[str, Any]) -> int:
    usage: dict[str, int] = message["usage"]
    return usage["input_tokens"] + usage["cache_read_input_tokens"]


# -- the SDK ---------------------------------------------------------------------------------------


def test_the_sdk_gets_a_whole_message(client: Anthropic, stack: Stack) -> None:
    message = client.messages.create(model=stack.model, max_tokens=8, messages=HELLO)
    assert (message.type, message.role, message.model, message.stop_reason) == (
        "message",
        "assistant",
        stack.model,
        "max_tokens",
    )
    assert [block.type for block in message.content] == ["text"]
    assert message.usage.output_tokens == 8
    assert message._request_id is not None
    assert message.id == message._request_id.replace("req_", "msg_")


def test_the_sdk_streams_in_many_pieces_and_its_helper_puts_them_together(client: Anthropic, stack: Stack) -> None:
    with client.messages.stream(model=stack.model, max_tokens=40, messages=HELLO) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 8
    assert message.content[0].type == "text"
    assert message.content[0].text == "".join(pieces)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 40)


async def test_the_async_sdk_streams(url: str, key: Key, stack: Stack) -> None:
    async with AsyncAnthropic(base_url=url, api_key=key.secret, max_retries=0) as client:
        async with client.messages.stream(model=stack.model, max_tokens=9, messages=HELLO) as stream:
            types = [event.type async for event in stream]
            message = await stream.get_final_message()
        whole = await client.messages.create(model=stack.model, max_tokens=9, messages=HELLO)
    assert (types[0], types[-1]) == ("message_start", "message_stop")
    assert message.usage.output_tokens == whole.usage.output_tokens == 9


def test_the_beta_client_gets_the_same_endpoint(client: Anthropic, stack: Stack) -> None:
    message = client.beta.messages.create(model=stack.model, max_tokens=3, messages=HELLO, betas=["of-tomorrow"])
    assert message.usage.output_tokens == 3


def test_the_parse_helper_gets_an_object_of_its_schema(client: Anthropic, stack: Stack) -> None:
    class Weather(BaseModel):
        rain: bool

    message = client.messages.parse(model=stack.model, max_tokens=100, messages=HELLO, output_format=Weather)
    assert isinstance(message.parsed_output, Weather)
    assert message.stop_reason == "end_turn"


# -- both ways the same ------------------------------------------------------------------------------


def test_a_whole_message_equals_its_stream(url: str, key: Key) -> None:
    fields = {"temperature": 0, "max_tokens": 30}
    whole = post(url, key, **fields).json()
    streamed = post(url, key, stream=True, **fields)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    read = message_of(streamed.content)
    assert read["content"] == whole["content"]
    assert (used(read), read["usage"]["output_tokens"]) == (used(whole), whole["usage"]["output_tokens"])


def test_a_stop_sequence_ends_the_answer_is_named_and_is_not_in_it(url: str, key: Key) -> None:
    text = post(url, key, temperature=0, max_tokens=40).json()["content"][0]["text"]
    stop = text[10:13]
    stopped = post(url, key, temperature=0, max_tokens=40, stop_sequences=["no such text", stop]).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", stop)
    assert stopped["content"][0]["text"] == text[: text.index(stop)]


def test_an_answer_that_was_begun_goes_on(url: str, key: Key) -> None:
    """The prompt ends with what was begun, and with no end of a turn behind it."""
    begun = "Well, it is"
    turns = [*HELLO, {"role": "assistant", "content": begun}]
    before, after = (used(post(url, key, messages=messages).json()) for messages in (HELLO, turns))
    assert after == before + len(tiny_tokenizer().encode(begun))


def test_no_output_at_all_fills_the_cache_and_is_whole(url: str, key: Key) -> None:
    message = post(url, key, max_tokens=0).json()
    assert (message["content"], message["stop_reason"], message["usage"]["output_tokens"]) == ([], "max_tokens", 0)
    assert message_of(post(url, key, max_tokens=0, stream=True).content)["content"] == []


def test_a_bound_beyond_the_context_is_cut_to_it(url: str, key: Key) -> None:
    message = post(url, key, max_tokens=64_000).json()
    assert message["stop_reason"] == "max_tokens"
    assert used(message) + message["usage"]["output_tokens"] == 2048


def test_a_prompt_that_was_seen_before_is_counted_apart(url: str, key: Key) -> None:
    turns = [{"role": "user", "content": "the river runs past the old town " * 20}]
    first, second = (post(url, key, messages=turns).json()["usage"] for _ in range(2))
    assert second["cache_read_input_tokens"] > 0
    assert second["input_tokens"] + second["cache_read_input_tokens"] == (
        first["input_tokens"] + first["cache_read_input_tokens"]
    )
    assert first["cache_creation_input_tokens"] == second["cache_creation_input_tokens"] == 0


# -- counting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": "You help."},
        {"tools": [{"name": "weather", "input_schema": {"type": "object"}}]},
        {"thinking": {"type": "adaptive"}},
        {"messages": [*HELLO, {"role": "assistant", "content": "Well,"}]},
    ],
)
def test_what_is_counted_is_what_is_used(url: str, key: Key, fields: dict[str, Any]) -> None:
    assert count(url, key, **fields) == used(post(url, key, max_tokens=1, **fields).json())


def test_the_sdk_counts(client: Anthropic, stack: Stack, url: str, key: Key) -> None:
    counted = client.messages.count_tokens(model=stack.model, messages=HELLO)
    assert counted.input_tokens == count(url, key)


def test_counting_costs_nothing_and_works_with_an_exhausted_budget(url: str, stack: Stack) -> None:
    empty = stack.issue_key("spent", "--cap", "1")
    assert post(url, empty).status_code == 429
    assert count(url, empty) > 1
    assert stack.rows("SELECT count(*) FROM accounts_reservation r WHERE r.key_id = (%s)", key_pk(stack, empty)) == [
        (0,)
    ]


def key_pk(stack: Stack, key: Key) -> int:
    ((found,),) = stack.rows("SELECT id FROM accounts_apikey WHERE key_id = %s", key.key_id)
    pk: int = found
    return pk


# -- who asks, and how ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21", "2030-01-01", None])
@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_either_key_header_and_any_version_is_taken(url: str, key: Key, header: str, version: str | None) -> None:
    secret = key.secret if header == "x-api-key" else f"Bearer {key.secret}"
    headers = {header: secret, **({"anthropic-version": version} if version else {})}
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 1, "temperature": 0.5}
    answered = httpx.post(f"{url}/v1/messages?beta=true", json=body, headers=headers, timeout=60)
    assert answered.status_code == 200, answered.text


def test_of_two_keys_only_x_api_key_is_judged(url: str, key: Key) -> None:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 1}
    headers = {"authorization": "Bearer of-somebody-else", "x-api-key": key.secret}
    assert httpx.post(f"{url}/v1/messages", json=body, headers=headers, timeout=60).status_code == 200


def test_an_answer_has_its_request_id_under_both_names(url: str, key: Key) -> None:
    headers = post(url, key).headers
    assert headers["request-id"] == headers["x-request-id"]
