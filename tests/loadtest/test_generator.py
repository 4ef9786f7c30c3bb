"""The generator against servers that answer well, badly, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from helexa.loadtest import generator
from helexa.loadtest.generator import NothingAnsweredError, Plan, measure
from helexa.loadtest.round import percentile_ms
from tests.loadtest.conftest import Serve
from tests.loadtest.wire import chunked, completion, stream, with_length


def plan(url: str, *, clients: int = 2) -> Plan:
    return Plan(url=url, path="/v1", key="sk-test", model="echo", clients=[clients], seconds=0.2, rounds=2)


def right(streamed: bool) -> bytes:
    return chunked(stream()) if streamed else with_length(completion())


async def test_right_answers_are_counted_and_timed(serve: Serve) -> None:
    url = await serve(lambda _, streamed: right(streamed))
    result = await measure(plan(url))
    assert result.faults == {}
    assert set(result.clients) == {"2"}
    whole, streamed = result.clients["2"].whole, result.clients["2"].stream
    assert whole.per_second > 0
    assert whole.p50_ms is not None
    assert whole.p99_ms is not None
    assert 0 < whole.p50_ms <= whole.p99_ms
    assert streamed.per_second > 0
    assert streamed.first_token_p50_ms is not None
    assert streamed.p50_ms is not None
    assert 0 < streamed.first_token_p50_ms <= streamed.p50_ms


@pytest.mark.parametrize(
    ("streamed", "wrong", "fault"),
    [
        (True, chunked(stream(33)), "33 chunks with text instead of 34"),
        (True, chunked(stream(end=b"")), "the stream did not end with [DONE]"),
        (False, with_length(completion(33)), "33 words instead of 34"),
        (
            False,
            with_length(b'{"error":{"message":"No neuron is healthy now."}}', "503 Service Unavailable"),
            "status 503: No neuron is healthy now.",
        ),
        (True, b"", "the server closed the connection before the answer had ended"),
    ],
)
async def test_a_wrong_answer_among_right_ones_is_a_fault(
    serve: Serve, streamed: bool, wrong: bytes, fault: str
) -> None:
    """And what comes after it is measured as before."""
    url = await serve(lambda number, asked: wrong if asked is streamed and number % 7 == 3 else right(asked))
    result = await measure(plan(url))
    assert set(result.faults) == {fault}
    assert result.clients["2"].whole.per_second > 0
    assert result.clients["2"].stream.per_second > 0


async def test_streams_of_a_server_that_spaces_its_json_are_right_too(serve: Serve) -> None:
    url = await serve(lambda _, streamed: chunked(stream(compact=False)) if streamed else right(streamed))
    result = await measure(plan(url, clients=1))
    assert result.faults == {}
    assert result.clients["1"].stream.first_token_p50_ms is not None


async def test_a_connection_that_the_server_closes_after_an_answer_is_no_fault(serve: Serve) -> None:
    def closing(streamed: bool) -> bytes:
        return right(streamed).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    result = await measure(plan(await serve(lambda _, streamed: closing(streamed))))
    assert result.faults == {}


async def test_a_server_that_answers_nothing_right_is_not_measured(serve: Serve) -> None:
    refusal = with_length(b'{"error":{"message":"The API key is wrong."}}', "401 Unauthorized")
    with pytest.raises(NothingAnsweredError, match=r"gives no right answer: status 401: The API key is wrong\.$"):
        await measure(plan(await serve(lambda _, __: refusal)))


async def test_an_answer_that_never_ends_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "PATIENCE_S", 0.1)
    url = await serve(lambda number, streamed: right(streamed)[:-1] if number == 9 else right(streamed))
    async with asyncio.timeout(20):
        result = await measure(plan(url))
    assert result.faults == {"no answer within 0.1 s after the end of the round": 1}


def test_a_percentile_is_one_of_the_times() -> None:
    times_s = [number / 1000 for number in range(1, 201)]
    assert percentile_ms(times_s, 0.5) == 100.0
    assert percentile_ms(times_s, 0.99) == 198.0
    assert percentile_ms(times_s[:1], 0.99) == 1.0
    assert percentile_ms([], 0.5) is None
