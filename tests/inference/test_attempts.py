"""A gateway's view of an attempt: events in order, nothing twice, nothing missing, one end."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from fleet.reports import NeuronReport
from inference.events import Finished, Started, Text
from inference.gateway.attempts import MOST_MISSED_REPORTS, Attempt, AttemptLost, Attempts
from inference.refusals import Refusal


def report(name: str = "n", *, boot: str = "b", running: tuple[str, ...] = ()) -> NeuronReport:
    return NeuronReport(
        name=name, boot_id=boot, hostname="h", os="o", started_at=0, at=0, harnesses=[], build={}, devices=[],
        models=[], running=list(running),
    )  # fmt: skip


def an_attempt(attempts: Attempts | None = None, *, key_pk: int | None = None) -> Attempt:
    attempt = Attempt("a", model="m", neuron=report(), key_pk=key_pk)
    if attempts is not None:
        attempts.open(attempt)
    return attempt


async def test_events_come_in_order_and_together() -> None:
    attempt = an_attempt()
    attempt.push(0, Started(3))
    attempt.push(1, Text("a", 1))
    assert await attempt.events() == [Started(3), Text("a", 1)]
    attempt.push(2, Finished("stop", 3, 2))
    assert await attempt.events() == [Finished("stop", 3, 2)]


async def test_an_event_sent_twice_is_taken_once() -> None:
    attempt = an_attempt()
    for _ in range(2):
        attempt.push(0, Started(3))
    attempt.push(1, Text("a", 1))
    assert await attempt.events() == [Started(3), Text("a", 1)]


async def test_a_gap_ends_the_attempt_and_nothing_is_dropped_silently() -> None:
    attempt = an_attempt()
    attempt.push(0, Started(3))
    attempt.push(2, Text("b", 2))
    assert await attempt.events() == [Started(3)]
    with pytest.raises(AttemptLost):
        await attempt.events()


async def test_nothing_comes_after_the_final_event() -> None:
    attempt = an_attempt()
    attempt.push(0, Finished("stop", 3, 2))
    attempt.push(1, Text("late", 3))
    attempt.fail(Refusal("late"))
    assert await attempt.events() == [Finished("stop", 3, 2)]


async def test_waiting_is_woken_by_an_event_and_bounded_in_time() -> None:
    attempt = an_attempt()
    waiting = asyncio.create_task(attempt.events())
    await asyncio.sleep(0)
    attempt.push(0, Started(1))
    assert await waiting == [Started(1)]
    with pytest.raises(TimeoutError):
        await attempt.events(timeout_s=0.01)


async def test_another_boot_of_the_neuron_loses_the_attempt() -> None:
    attempts = Attempts()
    attempt = an_attempt(attempts)
    attempts.check(report(boot="b"))
    assert not attempt.ended
    attempts.check(report(boot="c"))
    with pytest.raises(AttemptLost):
        await attempt.events()


async def test_lasting_absence_from_reports_loses_a_started_attempt() -> None:
    attempts = Attempts()
    attempt = an_attempt(attempts)
    attempt.push(0, Started(1))
    for _ in range(MOST_MISSED_REPORTS - 1):
        attempts.check(report())
    attempts.check(report(running=("a",)))
    for _ in range(MOST_MISSED_REPORTS - 1):
        attempts.check(report())
    assert not attempt.ended
    attempts.check(report())
    assert attempt.ended
    assert attempt.lost
    assert not attempt.over


async def test_an_order_that_nobody_took_may_wait_for_long_unless_redis_was_away_meanwhile() -> None:
    attempts = Attempts()
    attempt = an_attempt(attempts)
    for _ in range(10 * MOST_MISSED_REPORTS):
        attempts.check(report())
    assert not attempt.lost
    attempts.doubt()
    attempts.check(report(running=("a",)))
    for _ in range(MOST_MISSED_REPORTS - 1):
        attempts.check(report())
    assert not attempt.lost
    attempts.check(report())
    assert attempt.lost
    assert not attempt.over


async def test_a_final_record_of_the_neuron_stands_in_for_a_lost_final_event() -> None:
    attempts = Attempts()
    attempt = an_attempt(attempts)
    attempt.push(0, Started(3))
    attempts.check(msgspec.structs.replace(report(), finals={"a": (3, 7, 0, 0)}))
    assert attempt.over
    assert not attempt.estimated
    assert attempt.usage == (3, 7, 0, 0)
    with pytest.raises(AttemptLost):
        await asyncio.wait_for(drained(attempt), 1)


async def drained(attempt: Attempt) -> None:
    while True:
        await attempt.events()


async def test_what_comes_after_the_consumers_end_still_counts() -> None:
    attempt = an_attempt()
    attempt.push(0, Started(3))
    attempt.fail(Refusal("revoked"))
    attempt.push(1, Text("a", 4))
    attempt.push(2, Finished("cancelled", 3, 5))
    assert attempt.usage == (3, 5, 0, 0)
    assert attempt.over
    assert not attempt.estimated


async def test_what_comes_after_a_fence_counts_for_nothing() -> None:
    attempt = an_attempt()
    attempt.push(0, Started(3))
    attempt.push(1, Text("a", 4))
    attempt.lose(AttemptLost("gone"))
    await attempt.conclusion(1)
    attempt.fence()
    attempt.push(2, Finished("stop", 3, 9))
    await attempt.closing()
    assert attempt.estimated
    assert attempt.usage == (3, 4, 0, 0)


async def test_the_stream_is_kept_from_the_oldest_attempt_that_is_not_settled() -> None:
    attempts = Attempts()
    assert attempts.oldest_position("9-0") == "9-0"
    for name, position in (("a", "10-2"), ("b", "9-15"), ("c", "10-0")):
        attempt = Attempt(name, model="m", neuron=report(), key_pk=None)
        attempt.first_position = position
        attempts.open(attempt)
    assert attempts.oldest_position("11-0") == "9-15"


async def test_silent_neurons_lose_their_attempts() -> None:
    attempts = Attempts()
    attempt = an_attempt(attempts)
    attempts.lose_neurons(["other"])
    assert not attempt.ended
    attempts.lose_neurons(["n"])
    assert attempt.ended


async def test_only_the_attempts_of_these_keys_are_ended() -> None:
    attempts = Attempts()
    attempt = an_attempt(attempts, key_pk=5)
    assert attempts.fail_where([4], Refusal("no")) == []
    assert attempts.fail_where([5], Refusal("no")) == [attempt]
    assert attempts.fail_where([5], Refusal("no")) == []
    attempts.close(attempt)
    assert len(attempts) == 0
