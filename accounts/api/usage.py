"""/api/usage: what was spent, by hour, day, month, key or model; as JSON, or with `?format=csv` as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from accounts.api.fields import Line, Period, Usd
from accounts.api.gated import Gated
from accounts.models import Account, DailySpend, HourlySpend
from accounts.roles import Action
from accounts.usage import By, Spent, usage

#: How far back it goes where `from` is not given.
USUAL_PERIOD = timedelta(days=30)

_FORMS = {By.HOUR: "%Y-%m-%dT%H:00:00Z", By.DAY: "%Y-%m-%d", By.MONTH: "%Y-%m"}


class UsageAsked(Period):
    account = serializers.IntegerField(required=False, min_value=1, max_value=10**18)
    by = serializers.ChoiceField([str(by) for by in By], default=str(By.DAY))
    after = Line(required=False, max_length=200, help_text="The last `group` of the page before.")
    limit = serializers.IntegerField(default=1000, min_value=1, max_value=10_000)


class SpentShown(serializers.Serializer[Spent]):
    group = serializers.CharField(help_text="An hour, day or month (UTC), the id of a key, or a model.")
    requests = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    tokens = serializers.IntegerField()
    usd = Usd(source="nano_usd")


@extend_schema_serializer(many=False)
class UsagePage(serializers.Serializer[Any]):
    next = serializers.URLField(
        allow_null=True, help_text="Also in the header Link, where a table has no place for it."
    )
    results = SpentShown(many=True)


class Table(BaseRenderer):
    """The rows of a page as CSV."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> str:
        if "results" not in data:
            return f"{data['error']['message']}\n"
        table = io.StringIO()
        writer = csv.DictWriter(table, list(SpentShown().fields))
        writer.writeheader()
        writer.writerows(data["results"])
        return table.getvalue()


class Usage(Gated):
    queryset = HourlySpend.objects.none()
    needs = {"list": Action.SEE_USAGE}
    pagination_class = None
    renderer_classes = [JSONRenderer, Table]

    @extend_schema(parameters=[UsageAsked], responses=UsagePage)
    def list(self, request: Request) -> Response:
        """What was spent in a period (by default the last 30 days), of one account or of all you see."""
        asked = self.asked(UsageAsked)
        by = By(asked["by"])
        start, end = _period(asked)
        mine = {"account": self.row(Account, pk=asked["account"])} if "account" in asked else {}
        found = usage(
            self.rows(HourlySpend).filter(**mine),
            self.rows(DailySpend).filter(**mine),
            by=by,
            start=start,
            end=end,
            after=_group_of(asked["after"], by) if "after" in asked else None,
            limit=asked["limit"] + 1,
        )
        rows = [{**SpentShown(spent).data, "group": _text_of(spent.group, by)} for spent in found[: asked["limit"]]]
        more = len(found) > len(rows)
        return _page(request, rows, start, end, after=rows[-1]["group"] if more else None)


def _page(
    request: Request, rows: list[dict[str, Any]], start: datetime, end: datetime, *, after: str | None
) -> Response:
    """A page, and the address of the next one: with its period written out, so that time does not move it."""
    address = None
    if after is not None:
        address = request.build_absolute_uri()
        for name, value in (("from", start.isoformat()), ("to", end.isoformat()), ("after", after)):
            address = replace_query_param(address, name, value)
    response = Response({"next": address, "results": rows})
    if address is not None:
        response["Link"] = f'<{address}>; rel="next"'
    return response


def _period(asked: dict[str, Any]) -> tuple[datetime, datetime]:
    end = asked.get("to", timezone.now())
    start = asked.get("from", end - USUAL_PERIOD)
    if start >= end:
        raise ValidationError({"to": "The period ends before it begins; `to` must be later than `from`."})
    return start, end


def _text_of(group: datetime | str, by: By) -> str:
    return group if isinstance(group, str) else group.strftime(_FORMS[by])


def _group_of(text: str, by: By) -> datetime | str:
    """The group that `_text_of` wrote. Raises ValidationError."""
    if by not in _FORMS:
        return text
    try:
        return datetime.strptime(text, _FORMS[by]).replace(tzinfo=UTC)
    except ValueError:
        raise ValidationError(
            {"after": f"{text[:40]!r} is no {by}; take the last `group` of the page before."}
        ) from None
