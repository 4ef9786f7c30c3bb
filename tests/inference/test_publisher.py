"""A neuron's events reach the gateway's stream numbered and whole, through a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from inference import wire
from inference.events import Ended, Event, Failed, Finished, Started, Text
from inference.worker import final_records
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


def test_the_choices_of_a_whole_answer_travel_each_in_one_piece(client: redis.Redis, publisher: Publisher) -> None:
    publisher.open("x", gateway="g", stream=False)
    texts: list[Event] = [Text("a", 1, 0), Text("b", 2, 1), Text("c", 3, 0), Text("d", 4, 1)]
    ends: list[Event] = [Ended(0, "stop", 4), Ended(1, "stop", 4), Finished("stop", 3, 4)]
    publisher.publish([("x", event) for event in [Started(3), *texts, *ends]])
    publisher.stop()
    # The count is the newest one: all that was sampled until then is on its way with it.
    assert [event for _, _, event in published(client, "g")] == [Started(3), Text("ac", 4, 0), Text("bd", 4, 1), *ends]


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


# -- final records -------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record counts as unsettled from its first moment."""
    monkeypatch.setattr(final_records, "UNSETTLED_AFTER_S", 0.0)


@pytest.mark.usefixtures("at_once")
def test_what_an_attempt_came_to_is_kept_until_it_is_settled(publisher: Publisher) -> None:
    for attempt in ("x", "y"):
        publisher.open(attempt, gateway="g", stream=True)
        publisher.publish(a_run(attempt))
    publisher.stop()
    assert publisher.final_records.unsettled() == {"x": (3, 2, 0, 0), "y": (3, 2, 0, 0)}
    publisher.settled(["x"])
    assert publisher.final_records.unsettled() == {"y": (3, 2, 0, 0)}


@pytest.mark.usefixtures("at_once")
def test_an_attempt_that_broke_is_kept_and_one_that_was_refused_is_not(publisher: Publisher) -> None:
    ends = {"refused": Failed("grant_exceeded", "no"), "broke": Failed(None, "broke", {}, 3, 2)}
    for attempt, end in ends.items():
        publisher.open(attempt, gateway="g", stream=True)
        publisher.publish([(attempt, end)])
    publisher.stop()
    assert publisher.final_records.unsettled() == {"broke": (3, 2, 0, 0)}


@pytest.mark.usefixtures("at_once")
def test_an_attempt_that_is_settled_before_it_ends_leaves_no_record(publisher: Publisher) -> None:
    publisher.open("x", gateway="g", stream=True)
    publisher.settled(["x"])
    publisher.publish(a_run("x"))
    publisher.stop()
    assert publisher.open_attempts == []
    assert publisher.final_records.unsettled() == {}


@pytest.mark.usefixtures("at_once")
def test_what_redis_never_acknowledged_is_no_record() -> None:
    with redis.Redis(port=1) as nobody:  # nothing listens there
        publisher = Publisher(nobody, on_outage=lambda: None)
        publisher.open("x", gateway="g", stream=True)
        publisher.publish(a_run("x"))
        publisher.start()
        publisher.stop()
    assert publisher.final_records.unsettled() == {}
