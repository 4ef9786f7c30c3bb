"""Budgets that passed 80 or 100 % of their cap are announced: a log line, a metric, and a webhook's signed call.

A settle leaves the warning's row; everything here runs later, in a gateway's periodic work, and in no transaction of
a budget. What is to be sent stands in an outbox first (Delivery), so that an announcement outlives whoever was making
it; it may arrive twice, and its `id` tells a receiver so.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from prometheus_client import Counter

from accounts.models import Budget, BudgetWarning, Delivery, Webhook
from accounts.typed import format_window
from helexa.usd import format_usd

log = structlog.get_logger(__name__)

announced = Counter(
    "helexa_budget_warnings", "Budgets that passed a part of their cap, once per window.", ("owner", "unit", "percent")
)

#: What one call of either function takes on.
BATCH = 16

MOST_ATTEMPTS = 10
#: The pause after the first failure; each further one is twice as long, which makes four hours in all.
FIRST_PAUSE = timedelta(seconds=30)
#: For one call, connecting and answering together. Its claim lasts longer, so that no two gateways send the same.
CALL_LIMIT_S = 5.0
CLAIM = timedelta(seconds=60)

SIGNATURE_HEADER = "x-helexa-signature"
MAX_ERROR_CHARACTERS = 200


def new_secret() -> str:
    """A webhook's secret, to be shown once to whoever sets up the receiver."""
    return f"whsec_{secrets.token_urlsafe(32)}"


def sign(secret: str, at_s: int, body: bytes) -> str:
    """The value of `x-helexa-signature`: `t=SECONDS,v1=HEX`, an HMAC-SHA256 of `SECONDS.body` under the secret.

    A receiver computes it from the raw body, compares in constant time, and refuses what is older than some minutes.
    """
    digest = hmac.digest(secret.encode(), b"%d.%s" % (at_s, body), sha256).hex()
    return f"t={at_s},v1={digest}"


def announce_warnings() -> int:
    """Log and count the warnings that nobody has announced, and put a delivery for each webhook into the outbox.

    Returns how many there were, at most BATCH. Several gateways may call it at once: each warning is one's.
    """
    with transaction.atomic():
        unannounced = BudgetWarning.objects.filter(announced_at=None).order_by("id")
        whole = unannounced.select_related("budget__account", "budget__key__account")
        warnings = list(whole.select_for_update(skip_locked=True, of=("self",))[:BATCH])
        BudgetWarning.objects.filter(pk__in=[warning.pk for warning in warnings]).update(announced_at=timezone.now())
        for warning in warnings:
            _put_into_outbox(warning)
    for warning in warnings:
        _tell(warning)
    return len(warnings)


def _put_into_outbox(warning: BudgetWarning) -> None:
    mine = Webhook.objects.filter(Q(account=None) | Q(account=_account(warning.budget)), enabled=True)
    Delivery.objects.bulk_create(
        [Delivery(warning=warning, webhook=webhook) for webhook in mine], ignore_conflicts=True
    )


def _tell(warning: BudgetWarning) -> None:
    budget = warning.budget
    announced.labels(_owner_kind(budget), budget.unit, str(warning.percent)).inc()
    log.warning(
        "budget_warning",
        account=_account(budget).name,
        key_id=budget.key.key_id if budget.key else None,
        unit=budget.unit,
        percent=warning.percent,
        spent=warning.spent,
        cap=warning.cap,
        window=format_window(budget),
        window_number=warning.window_number,
    )


@dataclass(frozen=True)
class _Call:
    """One delivery that this process has claimed."""

    delivery: Delivery
    url: str
    headers: dict[str, str]
    body: bytes


def deliver_due(now: datetime) -> int:
    """Send what is due in the outbox, at most BATCH calls side by side; how many were tried.

    Takes CALL_LIMIT_S at most, whatever the receivers do. A call that fails is tried again with growing pauses and
    given up after MOST_ATTEMPTS, its last error kept. Nothing follows a redirect: it would carry the signature away.
    """
    calls = [_call(delivery, now) for delivery in _claim(now)]
    if not calls:
        return 0
    for call, error in zip(calls, asyncio.run(_send_all(calls)), strict=True):
        _write_down(call.delivery, error, now)
    return len(calls)


def _claim(now: datetime) -> list[Delivery]:
    """Due deliveries, which nobody else sends until the claim ends. Whoever dies meanwhile leaves them due again."""
    due = Delivery.objects.filter(next_attempt_at__lte=now, webhook__enabled=True).order_by("next_attempt_at")
    with transaction.atomic():
        claimed = list(
            due.select_related(
                "webhook", "warning__budget__account", "warning__budget__key__account"
            ).select_for_update(skip_locked=True, of=("self",))[:BATCH]
        )
        Delivery.objects.filter(pk__in=[delivery.pk for delivery in claimed]).update(next_attempt_at=now + CLAIM)
    return claimed


def _call(delivery: Delivery, now: datetime) -> _Call:
    body = json.dumps(message(delivery.warning)).encode()
    signature = sign(delivery.webhook.secret, int(now.timestamp()), body)
    headers = {"content-type": "application/json", "user-agent": "helexa", SIGNATURE_HEADER: signature}
    return _Call(delivery, delivery.webhook.url, headers, body)


def message(warning: BudgetWarning) -> dict[str, Any]:
    """The body of a webhook's call. `id` is the same at every attempt; amounts are tokens or decimal dollars."""
    budget = warning.budget
    in_usd = budget.unit == Budget.Unit.NANO_USD
    return {
        "type": "budget.warning",
        "id": f"warning_{warning.pk}",
        "at": warning.at.isoformat(),
        "account": _account(budget).name,
        "key_id": budget.key.key_id if budget.key else None,
        "unit": "usd" if in_usd else "tokens",
        "percent": warning.percent,
        "spent": format_usd(warning.spent) if in_usd else warning.spent,
        "cap": format_usd(warning.cap) if in_usd else warning.cap,
        "window": format_window(budget),
        "window_number": warning.window_number,
    }


async def _send_all(calls: Sequence[_Call]) -> list[str]:
    async with httpx.AsyncClient(follow_redirects=False, timeout=CALL_LIMIT_S, trust_env=False) as client:
        return list(await asyncio.gather(*(_send(client, call) for call in calls)))


async def _send(client: httpx.AsyncClient, call: _Call) -> str:
    """Why the call failed; empty if the receiver took it. Of the answer nothing but its status is read."""
    try:
        async with (
            asyncio.timeout(CALL_LIMIT_S),
            client.stream("POST", call.url, content=call.body, headers=call.headers) as answer,
        ):
            return "" if answer.is_success else f"answered {answer.status_code}"
    except TimeoutError:
        return f"no answer within {CALL_LIMIT_S:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        return str(fault) or type(fault).__name__


def _write_down(delivery: Delivery, error: str, now: datetime) -> None:
    delivery.attempts += 1
    delivery.last_error = error[:MAX_ERROR_CHARACTERS]
    if not error:
        delivery.delivered_at, delivery.next_attempt_at = now, None
    elif delivery.attempts >= MOST_ATTEMPTS:
        delivery.next_attempt_at = None
        log.warning("webhook_given_up", url=delivery.webhook.url, attempts=delivery.attempts, error=error)
    else:
        delivery.next_attempt_at = now + FIRST_PAUSE * 2 ** (delivery.attempts - 1)
    delivery.save(update_fields=["attempts", "last_error", "delivered_at", "next_attempt_at"])


def _owner_kind(budget: Budget) -> str:
    return "key" if budget.key_id else "account"


def _account(budget: Budget) -> Any:
    return budget.account if budget.key is None else budget.key.account
