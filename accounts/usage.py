"""What was spent in a period, from the roll-ups: whole days from the daily one, the rest from the hourly one.

Days are in the daily roll-up once they are over, the oldest first and every account's at once; from the first day that
is not there, hours are read. Either way a year of one account is a few thousand rows, however many entries there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import F, Max, Q, QuerySet, Sum
from django.db.models.functions import Collate, TruncDay, TruncMonth

from accounts.models import DailySpend, HourlySpend

DAY = timedelta(days=1)

COUNTED = ("requests", "prompt_tokens", "completion_tokens", "tokens", "nano_usd")


class By(StrEnum):
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    KEY = "key"
    MODEL = "model"


#: What rows are grouped by and ordered in, for both tables. Model ids are ordered by code point, as Python does.
_HOURLY: Mapping[By, Any] = {
    By.HOUR: F("hour"),
    By.DAY: TruncDay("hour", tzinfo=UTC),
    By.MONTH: TruncMonth("hour", tzinfo=UTC),
    By.KEY: F("key__key_id"),
    By.MODEL: Collate("model", "C"),
}
_DAILY: Mapping[By, Any] = {
    By.DAY: F("day"),
    By.MONTH: TruncMonth("day"),
    By.KEY: F("key__key_id"),
    By.MODEL: Collate("model", "C"),
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What one hour, day, month (their beginnings, in UTC), key or model came to. Refunds and corrections are in it."""

    group: datetime | str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    tokens: int
    nano_usd: int


def usage(
    hourly: QuerySet[HourlySpend],
    daily: QuerySet[DailySpend],
    *,
    by: By,
    start: datetime,
    end: datetime,
    after: datetime | str | None = None,
    limit: int,
) -> list[Spent]:
    """The first `limit` groups after the group `after`, of what these rows hold from `start` until before `end`.

    Hours that the period touches count whole.
    """
    first, last = _whole_days(start, end) if by in _DAILY else (start, start)
    hours = hourly.filter(Q(hour__gte=_hour_of(start), hour__lt=end) & ~Q(hour__gte=first, hour__lt=last))
    found = _grouped(hours, _HOURLY[by], after, limit)
    if first < last:
        days = daily.filter(day__gte=first.date(), day__lt=last.date())
        found += _grouped(days, _DAILY[by], after.date() if isinstance(after, datetime) else after, limit)
    return _added_up(found)[:limit]


def _whole_days(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    """The part of a period that the daily roll-up holds: two midnights, the same where it holds none."""
    newest = DailySpend.objects.aggregate(day=Max("day"))["day"]
    first = _midnight((start - timedelta(microseconds=1)).date()) + DAY
    last = min(_midnight(end.date()), _midnight(newest) + DAY) if newest else first
    return first, max(first, last)


def _grouped(rows: QuerySet[Any], group: Any, after: Any, limit: int) -> list[Spent]:
    grouped = rows.annotate(group=group)
    if after is not None:
        grouped = grouped.filter(group__gt=after)
    sums = {f"sum_{name}": Sum(name) for name in COUNTED}
    found = grouped.order_by("group").values_list("group").annotate(**sums)[:limit]
    return [Spent(_moment(group), *(int(total) for total in totals)) for group, *totals in found]


def _added_up(found: Sequence[Spent]) -> list[Spent]:
    """Groups in order, those that both tables have added together."""
    totals: dict[datetime | str, list[int]] = {}
    for spent in found:
        counted = [getattr(spent, name) for name in COUNTED]
        totals[spent.group] = [a + b for a, b in zip(totals.get(spent.group, [0] * len(COUNTED)), counted, strict=True)]
    return [Spent(group, *totals[group]) for group in sorted(totals, key=str)]  # all moments in UTC, or all text


def _moment(group: Any) -> datetime | str:
    return _midnight(group) if isinstance(group, date) and not isinstance(group, datetime) else group


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
