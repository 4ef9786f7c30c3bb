"""What attempts came to is kept until it is settled, within bounds."""

from __future__ import annotations

import pytest

from inference.usage import Usage
from inference.worker import final_records
from inference.worker.final_records import KEPT_S, UNSETTLED_AFTER_S, FinalRecords


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(clock: Clock) -> FinalRecords:
    return FinalRecords(clock)


def keep(records: FinalRecords, *attempts: str) -> None:
    for attempt in attempts:
        records.keep(attempt, Usage(3, 2))


def test_only_what_waits_for_its_settle_too_long_is_told(records: FinalRecords, clock: Clock) -> None:
    keep(records, "old")
    clock.now_s += UNSETTLED_AFTER_S
    keep(records, "new")
    assert records.unsettled() == {"old": (3, 2, 0, 0)}


def test_what_is_settled_is_forgotten(records: FinalRecords, clock: Clock) -> None:
    keep(records, "a", "b")
    records.forget(["a", "never heard of"])
    clock.now_s += UNSETTLED_AFTER_S
    assert list(records.unsettled()) == ["b"]


def test_the_oldest_are_told_first_and_not_too_many(
    records: FinalRecords, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_records, "MOST_REPORTED", 2)
    keep(records, "a", "b", "c")
    clock.now_s += UNSETTLED_AFTER_S
    assert list(records.unsettled()) == ["a", "b"]
    records.forget(["a"])
    assert list(records.unsettled()) == ["b", "c"]


def test_the_oldest_make_room(records: FinalRecords, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(final_records, "MOST_RECORDS", 2)
    keep(records, "a", "b", "c")
    clock.now_s += UNSETTLED_AFTER_S
    assert list(records.unsettled()) == ["b", "c"]


def test_after_an_hour_a_record_is_gone(records: FinalRecords, clock: Clock) -> None:
    keep(records, "a")
    clock.now_s += KEPT_S
    assert list(records.unsettled()) == ["a"]
    clock.now_s += 1
    assert records.unsettled() == {}
    assert len(records) == 0
