"""Numbered intervals of a budget, on the database's clock. Plain functions: no clock is read here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from accounts.models import Budget

Window = Budget.Window

CALENDAR = frozenset({Window.DAY, Window.WEEK, Window.MONTH})


def next_boundary(window: str, time_zone: str, now: datetime) -> datetime:
    """When the day, week (Monday first) or month that holds `now` ends in that time zone, in UTC."""
    zone = ZoneInfo(time_zone)
    local = now.astimezone(zone)
    if window == Window.DAY:
        day = local.date() + timedelta(days=1)
    elif window == Window.WEEK:
        day = local.date() + timedelta(days=7 - local.weekday())
    else:
        day = (local.date().replace(day=1) + timedelta(days=32)).replace(day=1)
    # A midnight that a clock change skips is taken with the offset before it: the first moment of the new day.
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def opening_end(window: str, window_seconds: int | None, time_zone: str, now: datetime) -> datetime | None:
    """When a window that opens now ends; None for a balance."""
    if window == Window.ROLLING:
        assert window_seconds is not None, "a constraint of the table"
        return now + timedelta(seconds=window_seconds)
    return next_boundary(window, time_zone, now) if window in CALENDAR else None
