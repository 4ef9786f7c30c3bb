"""Responses in the background: followed from any gateway, cancelled, and outliving whoever asked."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
import redis
from openai import OpenAI

from tests.models import LASTING
from tests.stack.conftest import Key, Stack
from tests.stack.running import wait_until
from tests.stack.test_responses import ask, client, other_client, stored_rows

__all__ = ["client", "other_client"]  # fixtures

RUNNING = {"queued", "in_progress"}


def ended(client: OpenAI, response_id: str) -> Any:
    def look() -> Any:
        response = client.responses.retrieve(response_id)
        return None if response.status in RUNNING else response

    return wait_until(look, what="the response to end")


def settled(stack: Stack, response_id: str) -> list[tuple[Any, ...]]:
    """The states of its reservation, and the tokens it was billed."""
    return stack.rows(
        "SELECT r.state, e.completion_tokens FROM accounts_reservation r LEFT JOIN accounts_entry e"
        " ON e.reservation_id = r.id WHERE r.id = %s::uuid",
        response_id.removeprefix("resp_"),
    )


def test_it_is_queued_at_once_and_ends_by_itself(stack: Stack, client: OpenAI, other_client: OpenAI) -> None:
    queued = ask(client, background=True)
    assert (queued.status, queued.background, queued.output, queued.usage) == ("queued", True, [], None)
    response = ended(other_client, queued.id)
    assert (response.status, response.usage.output_tokens) == ("incomplete", 6)
    assert response.output_text == ask(client).output_text
    assert settled(stack, queued.id) == [("settled", 6)]
    continued = ask(client, input="more", previous_response_id=queued.id)
    assert continued.usage.input_tokens > response.usage.input_tokens


def test_a_client_that_left_resumes_at_the_other_gateway_with_every_event_once(
    client: OpenAI, other_client: OpenAI
) -> None:
    stream = ask(client, background=True, stream=True, max_output_tokens=300)
    seen = [next(stream) for _ in range(8)]
    stream.close()
    response_id = seen[0].response.id
    rest = list(other_client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number))
    events = [*seen, *rest]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    final = events[-1].response
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == final.output_text
    assert other_client.responses.retrieve(response_id).to_dict() == final.to_dict()


def test_the_streaming_helper_replays_what_is_over(client: OpenAI, other_client: OpenAI) -> None:
    response = ended(client, ask(client, background=True).id)
    with other_client.responses.stream(response_id=response.id, starting_after=3) as stream:
        numbers = [event.sequence_number for event in stream]
    assert numbers[0] == 4


def test_it_is_cancelled_from_anywhere_and_billed_what_was_made(
    stack: Stack, client: OpenAI, other_client: OpenAI, lasting: str
) -> None:
    stream = ask(client, model=lasting, background=True, stream=True, max_output_tokens=LASTING)
    response_id = next(stream).response.id
    next(event for event in stream if event.type == "response.output_text.delta")
    cancelled = other_client.responses.cancel(response_id)
    assert (cancelled.status, cancelled.output[0].status) == ("cancelled", "incomplete")
    assert cancelled.output_text
    assert {event.type for event in stream} <= {"response.output_text.delta"}  # there is no event for it: it ends
    assert other_client.responses.cancel(response_id).to_dict() == cancelled.to_dict()
    ((state, billed),) = wait_until(
        lambda: [row for row in settled(stack, response_id) if row[0] != "open"], what="the settle"
    )
    assert (state, 0 < billed < LASTING) == ("settled", True)


def test_what_has_ended_stays_as_it_is_when_it_is_cancelled(client: OpenAI) -> None:
    response = ended(client, ask(client, background=True).id)
    assert client.responses.cancel(response.id).to_dict() == response.to_dict()


def test_only_what_is_there_and_in_the_background_can_be_cancelled(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(ask(client).id)
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel("resp_" + "0" * 32)


def test_only_what_is_in_the_background_can_be_streamed_again(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.retrieve(ask(client).id, stream=True)
    assert refused.value.param == "stream"


def test_a_log_that_is_gone_is_400_and_the_response_is_still_there(stack: Stack, client: OpenAI) -> None:
    response = ended(client, ask(client, background=True).id)
    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as store:
        assert store.delete(f"helexa:response:{response.id.removeprefix('resp_')}:events") == 1
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.retrieve(response.id, stream=True)
    assert refused.value.param == "stream"
    assert client.responses.retrieve(response.id).status == "incomplete"


def test_a_deleted_response_stops_and_does_not_come_back(stack: Stack, client: OpenAI, lasting: str) -> None:
    response_id = ask(client, model=lasting, background=True, max_output_tokens=LASTING).id
    client.responses.delete(response_id)
    wait_until(
        lambda: [row for row in settled(stack, response_id) if row[0] != "open"], what="what was made to be settled"
    )
    assert stored_rows(stack, response_id) == 0
    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as store:
        key = f"helexa:response:{response_id.removeprefix('resp_')}:events"
        wait_until(lambda: not store.exists(key), what="its events to be dropped")


def test_a_queued_parent_cannot_be_continued(client: OpenAI, lasting: str) -> None:
    response_id = ask(client, model=lasting, background=True, max_output_tokens=LASTING).id
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, previous_response_id=response_id)
    assert (refused.value.param, refused.value.code) == ("previous_response_id", None)
    client.responses.cancel(response_id)


def test_a_client_that_leaves_before_it_has_begun_leaves_nothing_behind(
    stack: Stack, server: str, url: str, key: Key
) -> None:
    def rows() -> set[Any]:
        return {row[0] for row in stack.rows("SELECT id FROM inference_storedresponse")}

    before = rows()
    host = urlsplit(url)
    body = json.dumps({"model": "tiny", "input": "hello", "background": True}).encode()
    head = (
        f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key.secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with redis.Redis.from_url(stack.environment["REDIS_URL"]) as store:
        store.client_pause(10_000, all=False)  # nothing can be written: it is stored, and has no event yet
        try:
            with socket.create_connection((str(host.hostname), int(host.port or 0))) as client:
                client.sendall(head.encode() + body)
                (response,) = wait_until(lambda: rows() - before, what="its row")
            request = f"req_{response.hex}"
            wait_until(lambda: request in stack.log(server).read_text(), what="the gateway to see that it left")
        finally:
            store.client_unpause()
    wait_until(lambda: not rows() - before, what="it to be forgotten")
    wait_until(lambda: settled(stack, f"resp_{response.hex}") == [("released", None)], what="its release")


def test_what_is_not_to_be_stored_can_be_fetched_and_not_continued(client: OpenAI) -> None:
    response = ended(client, ask(client, background=True, store=False).id)
    assert response.store is False
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, previous_response_id=response.id)
    assert refused.value.code == "previous_response_not_found"


def test_what_can_be_known_is_refused_plainly(stack: Stack, client: OpenAI, url: str) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(client, background=True, model="nowhere")
    assert unknown.value.code == "model_not_found"
    before = stack.rows("SELECT count(*) FROM inference_storedresponse")
    capped = stack.issue_key("capped-background", "--cap", "50")
    poor = OpenAI(base_url=f"{url}/v1", api_key=capped.secret, max_retries=0)
    with pytest.raises(openai.RateLimitError) as refused:
        ask(poor, background=True, max_output_tokens=1000)
    assert refused.value.code == "insufficient_quota"
    assert stack.rows("SELECT count(*) FROM inference_storedresponse") == before


def test_what_only_a_neuron_can_refuse_ends_it_failed_with_the_code(
    stack: Stack, client: OpenAI, url: str, key: Key
) -> None:
    response = ended(client, ask(client, background=True, input="hello " * 3000).id)
    assert (response.status, response.error.code) == ("failed", "context_length_exceeded")
    answer = httpx.get(f"{url}/v1/responses/{response.id}?stream=true", headers=key.headers)
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names == ["response.created", "response.queued", "error", "response.failed"]
    with pytest.raises(openai.APIError, match="maximum context length is"):
        list(client.responses.retrieve(response.id, stream=True))
    assert settled(stack, response.id) == [("released", None)]


@pytest.mark.parametrize("after", ["x", "-5", "1e3", "9" * 30])
def test_a_wrong_place_to_resume_is_400_and_named(client: OpenAI, url: str, key: Key, after: str) -> None:
    response = ended(client, ask(client, background=True).id)
    answer = httpx.get(f"{url}/v1/responses/{response.id}?stream=true&starting_after={after}", headers=key.headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "starting_after")
