"""A neuron takes the orders meant for it, begins none that is cancelled already, and says how it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from fleet.live import live_neurons
from fleet.reports import REPORTS_STREAM, control_stream, decode_report
from inference import wire
from inference.events import Failed, Finished, Started
from inference.requests import GenerationRequest
from inference.worker import final_records
from inference.worker.neuron import Neuron
from tests.stack.running import wait_until


@pytest.fixture
def neuron(redis_url: str, tmp_path: Path) -> Iterator[Neuron]:
    neuron = Neuron(redis_url, name="n", devices=["cpu"], harnesses=["echo"], model_cache=tmp_path)
    neuron.start()
    neuron.models.load("m", source="echo", harness="echo")
    wait_until(lambda: neuron.models.harness_of("m") is not None, what="the load")
    yield neuron
    neuron.stop()


def order(
    neuron: Neuron, attempt: str, *, boot_id: str | None = None, model: str = "m", max_tokens: int = 3
) -> wire.Order:
    request = GenerationRequest(
        id=attempt, model=model, messages=[{"role": "user", "content": "a b"}], max_tokens=max_tokens
    )
    return wire.Order("g", boot_id or neuron.boot_id, request)


def published(redis_url: str) -> list[wire.Published]:
    with redis.Redis.from_url(redis_url) as client:
        entries = client.xrange(wire.gateway_stream("g"))
    return [event for _, fields in entries for event in wire.decode_published(fields[wire.EVENTS_FIELD])]


def finals(redis_url: str) -> list[tuple[str, object]]:
    return [(attempt, event) for attempt, _, event in published(redis_url) if isinstance(event, Finished | Failed)]


def test_an_order_runs_from_its_start_to_one_final_event(neuron: Neuron, redis_url: str) -> None:
    neuron.take(order(neuron, "x"))
    wait_until(lambda: finals(redis_url), what="the end")
    events = published(redis_url)
    assert events[0] == ("x", 0, Started(2))
    assert events[-1] == ("x", len(events) - 1, Finished("stop", 2, 3))


def test_an_order_for_another_boot_is_dropped(neuron: Neuron, redis_url: str) -> None:
    neuron.take(order(neuron, "x", boot_id="earlier"))
    neuron.take(order(neuron, "y"))
    wait_until(lambda: finals(redis_url), what="the second to end")
    assert {attempt for attempt, _, _ in published(redis_url)} == {"y"}


def test_a_cancel_that_outruns_its_order_is_remembered(neuron: Neuron, redis_url: str) -> None:
    neuron.cancel("x")
    neuron.take(order(neuron, "x"))
    neuron.take(order(neuron, "y"))
    wait_until(lambda: finals(redis_url), what="the second to end")
    assert {attempt for attempt, _, _ in published(redis_url)} == {"y"}


def test_a_cancel_ends_what_runs_with_its_counts(neuron: Neuron, redis_url: str) -> None:
    neuron.take(order(neuron, "x", max_tokens=10**9))
    wait_until(lambda: published(redis_url), what="the start")
    neuron.cancel("x")
    wait_until(lambda: finals(redis_url), what="the end")
    [(_, final)] = finals(redis_url)
    assert isinstance(final, Finished)
    assert final.reason == "cancelled"


def test_a_model_that_is_not_here_is_refused(neuron: Neuron, redis_url: str) -> None:
    neuron.take(order(neuron, "x", model="other"))
    wait_until(lambda: finals(redis_url), what="the refusal")
    [(_, final)] = finals(redis_url)
    assert isinstance(final, Failed)
    assert final.code == "service_unavailable"


def reported_finals(redis_url: str) -> dict[str, tuple[int, int, int, int]]:
    """Of the newest report."""
    with redis.Redis.from_url(redis_url) as client:
        reports = client.xrevrange(REPORTS_STREAM, count=1)
    return decode_report(reports[0][1][b"r"]).finals if reports else {}


def test_reports_tell_what_was_not_settled_until_it_is(
    neuron: Neuron, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_records, "UNSETTLED_AFTER_S", 0.0)
    for attempt in ("x", "y"):
        neuron.take(order(neuron, attempt))
    wait_until(lambda: reported_finals(redis_url) == {"x": (2, 3, 0, 0), "y": (2, 3, 0, 0)}, what="both to be reported")
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(control_stream("n"), {wire.SETTLED_FIELD: wire.encode_ids(["x"])})
    wait_until(lambda: reported_finals(redis_url) == {"y": (2, 3, 0, 0)}, what="the settled one to be gone")


def test_one_entry_can_cancel_and_settle(neuron: Neuron, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_records, "UNSETTLED_AFTER_S", 0.0)
    neuron.take(order(neuron, "over"))
    neuron.take(order(neuron, "endless", max_tokens=10**9))
    wait_until(lambda: "over" in reported_finals(redis_url), what="the first to be reported")
    both = {wire.CANCEL_FIELD: wire.encode_ids(["endless"]), wire.SETTLED_FIELD: wire.encode_ids(["over"])}
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(control_stream("n"), both)
    wait_until(lambda: list(reported_finals(redis_url)) == ["endless"], what="one to end and the other to be gone")
    assert dict(finals(redis_url)).keys() == {"over", "endless"}


def test_a_cancel_is_heard_while_tasks_pour_in(neuron: Neuron, redis_url: str) -> None:
    neuron.take(order(neuron, "endless", max_tokens=10**9))
    with redis.Redis.from_url(redis_url) as client:
        client.xadd(control_stream("n"), {wire.CANCEL_FIELD: wire.encode_ids(["endless"])})
    poured = 0
    while "endless" not in dict(finals(redis_url)):
        for _ in range(50):
            neuron.take(order(neuron, f"poured-{poured}", max_tokens=1))
            poured += 1
        assert poured < 20_000


def test_reports_tell_what_it_holds_and_the_last_one_says_goodbye(neuron: Neuron, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:

        def reported() -> list[tuple[str, str]]:
            return [(model.id, model.status) for one in live_neurons(client) for model in one.report.models]

        wait_until(lambda: reported() == [("m", "loaded")], what="a report of the load")
        assert [one.healthy for one in live_neurons(client)] == [True]
        neuron.stop()
        [gone] = live_neurons(client)
        assert not gone.healthy
