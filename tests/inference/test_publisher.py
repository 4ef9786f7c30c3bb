"""A neuron's events reach the gateway's stream numbered and whole, through a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from inference import wire
from inference.events import Event, Finished, Started, Text
from inference.worker.publisher import Publisher


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def publisher(client: redis.Redis) -> Publisher:
    publisher = Publisher(client, on_outage=lambda: None)
    publisher.start()
    return publisher


def published(client: redis.Redis, gateway: str) -> list[wire.Published]:
    entries = client.xrange(wire.gateway_stream(gateway))
    return [event for _, fields in entries for event in wire.decode_published(fields[wire.EVENTS_FIELD])]


def a_run(attempt: str) -> list[tuple[str, Event]]:
    return [(attempt, Started(3)), (attempt, Text("a", 1)), (attempt, Text("b", 2)), (attempt, Finished("stop", 3, 2))]


def test_events_of_a_stream_arrive_one_by_one_and_numbered(client: redis.Redis, publisher: Publisher) -> None:
    publisher.open("x", gateway="g", stream=True)
    for event in a_run("x"):
        publisher.publish([event])
    publisher.stop()
    assert published(client, "g") == [
        ("x", 0, Started(3)),
        ("x", 1, Text("a", 1)),
        ("x", 2, Text("b", 2)),
        ("x", 3, Finished("stop", 3, 2)),
    ]


def test_the_text_of_a_whole_answer_travels_together(client: redis.Redis, publisher: Publisher) -> None:
    publisher.open("x", gateway="g", stream=False)
    publisher.publish(a_run("x"))
    publisher.stop()
    assert published(client, "g") == [("x", 0, Started(3)), ("x", 1, Text("ab", 2)), ("x", 2, Finished("stop", 3, 2))]


def test_each_gateway_gets_only_its_own(client: redis.Redis, publisher: Publisher) -> None:
    publisher.open("x", gateway="g", stream=True)
    publisher.open("y", gateway="h", stream=True)
    publisher.publish([("x", Finished("stop", 1, 1)), ("y", Finished("length", 2, 2))])
    publisher.stop()
    assert published(client, "g") == [("x", 0, Finished("stop", 1, 1))]
    assert published(client, "h") == [("y", 0, Finished("length", 2, 2))]


def test_an_attempt_is_open_until_redis_has_its_final_event(client: redis.Redis, publisher: Publisher) -> None:
    publisher.open("x", gateway="g", stream=True)
    publisher.publish([("x", Started(3))])
    assert publisher.open_attempts == ["x"]
    publisher.publish([("x", Finished("stop", 3, 0))])
    publisher.stop()
    assert publisher.open_attempts == []
    assert published(client, "g")[-1] == ("x", 1, Finished("stop", 3, 0))
