"""Where calendar windows end: days, weeks and months of a time zone, also where its clocks change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from accounts.booking.windows import Window, next_boundary, opening_end
from tests.accounts.booking.plain import Books, budget


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]  # so many parts make a date


@pytest.mark.parametrize(
    ("window", "zone", "now", "end"),
    [
        ("day", "UTC", utc(2026, 6, 15, 12), utc(2026, 6, 16)),
        ("day", "UTC", utc(2026, 6, 15), utc(2026, 6, 16)),
        ("week", "UTC", utc(2026, 6, 15), utc(2026, 6, 22)),  # a Monday
        ("week", "UTC", utc(2026, 6, 21, 23, 59), utc(2026, 6, 22)),
        ("month", "UTC", utc(2026, 12, 31, 23), utc(2027, 1, 1)),
        ("month", "UTC", utc(2028, 2, 1), utc(2028, 3, 1)),
        ("day", "Europe/Berlin", utc(2026, 6, 15, 21, 59), utc(2026, 6, 15, 22)),
        ("day", "Europe/Berlin", utc(2026, 6, 15, 22), utc(2026, 6, 16, 22)),
        ("day", "Europe/Berlin", utc(2026, 3, 29, 1, 30), utc(2026, 3, 29, 22)),  # 23 hours: clocks go forward
        ("day", "Europe/Berlin", utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 23)),  # 25 hours: and back
        ("day", "Europe/Berlin", utc(2026, 10, 25, 1, 30), utc(2026, 10, 25, 23)),  # the hour that comes twice
        ("week", "Europe/Berlin", utc(2026, 3, 28), utc(2026, 3, 29, 22)),
        ("month", "Europe/Berlin", utc(2026, 10, 1), utc(2026, 10, 31, 23)),
        ("month", "Asia/Kolkata", utc(2026, 6, 30, 18, 29), utc(2026, 6, 30, 18, 30)),
        ("day", "Pacific/Kiritimati", utc(2026, 6, 15, 9), utc(2026, 6, 15, 10)),  # 14 hours ahead
        # In Beirut the clocks went from 0:00 to 1:00 that night: the day begins at 1:00, which is 22:00 UTC.
        ("day", "Asia/Beirut", utc(2026, 3, 28, 12), utc(2026, 3, 28, 22)),
        ("day", "Asia/Beirut", utc(2026, 3, 28, 22), utc(2026, 3, 29, 21)),
    ],
)
def test_a_window_ends_where_the_next_one_begins(window: str, zone: str, now: datetime, end: datetime) -> None:
    assert next_boundary(window, zone, now) == end


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Beirut", "America/Havana", "Africa/Cairo", "UTC"])
@pytest.mark.parametrize("window", ["day", "week", "month"])
def test_windows_of_a_year_follow_each_other(window: str, zone: str) -> None:
    """Each ends later than it begins, and the moment at which one ends is the first of the next."""
    now, ends = utc(2026, 1, 1), []
    while now < utc(2027, 1, 1):
        ends.append(next_boundary(window, zone, now))
        assert ends[-1] > now
        now = ends[-1]
    assert len(ends) == pytest.approx({"day": 366, "week": 53, "month": 13}[window], abs=1)


def test_a_balance_never_ends() -> None:
    assert opening_end(Window.BALANCE, None, "UTC", utc(2026, 1, 1)) is None


def test_several_windows_that_passed_unused_count_as_one() -> None:
    books = Books([budget(100, window="day", window_ends_at=utc(2026, 6, 1), spent=90)])
    books.reserve(1, 1)
    row = books.budgets[0]
    assert (row.spent, row.window_number, row.window_ends_at) == (0, 2, utc(2026, 6, 16))


def test_a_clock_that_went_back_turns_nothing_over_again() -> None:
    books = Books([budget(100, window="day", window_ends_at=utc(2026, 6, 17), spent=90)])
    books.reserve(1, 1)
    assert (books.budgets[0].spent, books.budgets[0].window_number) == (90, 1)
