"""A background response outlives its client and ends whatever dies: with a reason, billed once, every event once."""

from __future__ import annotations

from typing import Any

import openai
import psutil
import pytest
from openai import OpenAI

from tests.failures.conftest import Up
from tests.failures.test_deaths import FINISHED_LATER, gateways_of, well_again
from tests.failures.test_orphans import booked_for, clean_books, insist_on_clean_books
from tests.models import LASTING
from tests.stack.running import PATIENCE_S, wait_until

__all__ = ["clean_books"]  # a fixture


def client_of(up: Up, url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=up.key, max_retries=0, timeout=PATIENCE_S)


def begun(up: Up, gateway: dict[str, Any], *, max_output_tokens: int = LASTING) -> list[Any]:
    """The events of a background response up to its third piece of text; then its client leaves."""
    stream = client_of(up, gateway["url"]).responses.create(
        model="tiny", input="hello", max_output_tokens=max_output_tokens, background=True, stream=True
    )
    events = []
    for event in stream:
        events.append(event)
        if [one.type for one in events].count("response.output_text.delta") == 3:
            break
    stream.close()
    return events


def ended(client: OpenAI, response_id: str) -> Any:
    def look() -> Any:
        try:
            response = client.responses.retrieve(response_id)
        except openai.APIError:
            return None
        return None if response.status in ("queued", "in_progress") else response

    return wait_until(look, what="the response to end")


def insist_on_every_event_once(up: Up, gateway: dict[str, Any], seen: list[Any], response: Any) -> None:
    """The SDK raises where it meets the error; what came before it is the whole log."""
    events = [*seen]
    follow = client_of(up, gateway["url"]).responses.retrieve(
        response.id, stream=True, starting_after=seen[-1].sequence_number
    )
    try:
        for event in follow:
            events.append(event)
    except openai.APIError:
        assert response.status == "failed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == response.output_text


@pytest.mark.parametrize("also", [None, "runworker"])
def test_its_gateway_dies_and_another_ends_it_with_what_was_made(up: Up, also: str | None) -> None:
    first, other = gateways_of(up)
    seen = begun(up, first)
    psutil.Process(first["pid"]).kill()
    if also is not None:
        up.child(also).kill()
    response = ended(client_of(up, other["url"]), seen[0].response.id)
    assert (response.status, response.error.code) == ("failed", "server_error")
    assert "gateway" in response.error.message
    assert response.output_text
    insist_on_every_event_once(up, other, seen, response)
    insist_on_clean_books(up)
    booked = booked_for(up, "req_" + response.id.removeprefix("resp_"))
    assert len([entry for entry in booked["entries"] if entry["kind"] == "usage"]) == 1
    wait_until(lambda: len(gateways_of(up)) == 2, what="a new gateway")


def test_its_neuron_dies_and_it_fails_with_what_was_made(up: Up) -> None:
    first, other = gateways_of(up)
    seen = begun(up, first)
    up.child("runworker").kill()
    response = ended(client_of(up, other["url"]), seen[0].response.id)
    assert (response.status, response.error.code) == ("failed", "server_error")
    assert "service_unavailable" in response.error.message
    assert response.output_text
    insist_on_every_event_once(up, other, seen, response)
    wait_until(lambda: well_again(up), what="the neuron to be back")
    insist_on_clean_books(up)
    booked = booked_for(up, "req_" + response.id.removeprefix("resp_"))
    assert len([entry for entry in booked["entries"] if entry["kind"] == "usage"]) == 1


def test_it_goes_on_when_its_gateway_is_asked_to_stop(up: Up) -> None:
    first, other = gateways_of(up)
    seen = begun(up, first, max_output_tokens=FINISHED_LATER)
    psutil.Process(first["pid"]).terminate()
    response = ended(client_of(up, other["url"]), seen[0].response.id)
    assert (response.status, response.usage.output_tokens) == ("incomplete", FINISHED_LATER)
    insist_on_every_event_once(up, other, seen, response)
    wait_until(lambda: len(gateways_of(up)) == 2, what="a new gateway")


def test_a_stream_whose_neuron_dies_is_stored_as_failed(up: Up) -> None:
    client = client_of(up, up.url)
    texts: list[str] = []
    with pytest.raises(openai.APIError):  # noqa: PT012 - it comes with the rest of the stream
        stream = client.responses.create(model="tiny", input="hello", max_output_tokens=LASTING, stream=True)
        for event in stream:
            if event.type == "response.output_text.delta":
                texts.append(event.delta)
                if len(texts) == 3:
                    up.child("runworker").kill()
            if event.type == "response.created":
                response_id = event.response.id
    response = client.responses.retrieve(response_id)
    assert (response.status, response.error.code) == ("failed", "server_error")
    assert response.output_text == "".join(texts)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="tiny", input="more", previous_response_id=response_id)
    assert refused.value.param == "previous_response_id"
