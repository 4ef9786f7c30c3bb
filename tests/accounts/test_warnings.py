"""Warnings reach the log, the metric and the webhooks: signed, tried again, and at last given up."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone
from prometheus_client import REGISTRY

from accounts import warnings
from accounts.accounts import open_account
from accounts.booking.operations import Limits
from accounts.budgets import set_limits
from accounts.keys import issue_key
from accounts.models import Account, ApiKey, Budget, BudgetWarning, Delivery, Webhook
from accounts.warnings import announce_warnings, deliver_due, message, new_secret
from tests.accounts.booked import ME, use
from tests.accounts.conftest import PEPPERS

pytestmark = pytest.mark.django_db

TOKENS, USD = Budget.Unit.TOKENS, Budget.Unit.NANO_USD


@dataclass
class Receiver:
    """A webhook's other end: a real HTTP server that keeps what it got and answers with `status`."""

    url: str
    status: int = 204
    calls: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: threading.Event = field(default_factory=threading.Event)

    @property
    def documents(self) -> list[dict[str, object]]:
        return [json.loads(body) for _, _, body in self.calls]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            received.calls.append((self.path, headers, self.rfile.read(length)))
            received.answers.wait(20)
            self.send_response(received.status)
            if received.status == 302:
                self.send_header("Location", f"{received.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Receiver(f"http://127.0.0.1:{server.server_port}")
    received.answers.set()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield received
    received.answers.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def key(account: Account) -> ApiKey:
    return issue_key(account=account, peppers=PEPPERS)[0]


def warn(budget: Budget, percent: int = 80) -> BudgetWarning:
    return BudgetWarning.objects.create(
        budget=budget, window_number=1, percent=percent, spent=800, cap=1000, at=timezone.now()
    )


@pytest.fixture
def budget(account: Account) -> Budget:
    return set_limits(account, TOKENS, Limits(1000, "day", None, "Europe/Berlin"), author=ME)


def counted(owner: str, unit: str, percent: str) -> float:
    labels = {"owner": owner, "unit": unit, "percent": percent}
    return REGISTRY.get_sample_value("helexa_budget_warnings_total", labels) or 0


class TestAnnouncing:
    def test_what_was_spent_is_announced_once(self, key: ApiKey, capsys: pytest.CaptureFixture[str]) -> None:
        set_limits(key, TOKENS, Limits(180, "balance"), author=ME)
        before = counted("key", "tokens", "80")
        use(key, 100, 50)
        assert announce_warnings() == 1
        assert counted("key", "tokens", "80") == before + 1
        assert announce_warnings() == 0
        use(key, 10, 20)
        assert announce_warnings() == 1
        assert BudgetWarning.objects.filter(announced_at=None).count() == 0

    def test_it_goes_to_the_webhooks_of_the_account_and_of_everybody(self, budget: Budget, account: Account) -> None:
        mine = Webhook.objects.create(account=account, url="http://mine.example", secret="s")
        everybodys = Webhook.objects.create(account=None, url="http://all.example", secret="s")
        Webhook.objects.create(account=open_account("physics"), url="http://theirs.example", secret="s")
        Webhook.objects.create(account=account, url="http://off.example", secret="s", enabled=False)
        warn(budget)
        announce_warnings()
        assert set(Delivery.objects.values_list("webhook", flat=True)) == {mine.pk, everybodys.pk}

    def test_the_message_names_account_cap_and_window(self, budget: Budget, key: ApiKey) -> None:
        warning = warn(budget)
        assert message(warning) == {
            "type": "budget.warning",
            "id": f"warning_{warning.pk}",
            "at": warning.at.isoformat(),
            "account": "chemistry",
            "key_id": None,
            "unit": "tokens",
            "percent": 80,
            "spent": 800,
            "cap": 1000,
            "window": "calendar:day@Europe/Berlin",
            "window_number": 1,
        }
        in_usd = message(warn(set_limits(key, USD, Limits(10**9, "balance"), author=ME)))
        assert (in_usd["unit"], in_usd["spent"], in_usd["cap"]) == ("usd", "0.0000008", "0.000001")
        assert (in_usd["account"], in_usd["key_id"]) == ("chemistry", key.key_id)


class TestDelivery:
    @pytest.fixture
    def webhook(self, receiver: Receiver, account: Account) -> Webhook:
        return Webhook.objects.create(account=account, url=f"{receiver.url}/hook", secret=new_secret())

    @pytest.fixture
    def delivery(self, webhook: Webhook, budget: Budget) -> Delivery:
        warn(budget)
        announce_warnings()
        return Delivery.objects.get()

    def test_it_works(self, delivery: Delivery, webhook: Webhook, receiver: Receiver) -> None:
        now = timezone.now()
        assert deliver_due(now) == 1
        ((path, headers, body),) = receiver.calls
        assert (path, headers["content-type"]) == ("/hook", "application/json")
        assert json.loads(body) == message(delivery.warning)
        digest = hmac.new(webhook.secret.encode(), f"{int(now.timestamp())}.".encode() + body, sha256).hexdigest()
        assert headers["x-helexa-signature"] == f"t={int(now.timestamp())},v1={digest}"
        delivery.refresh_from_db()
        assert (delivery.delivered_at, delivery.next_attempt_at, delivery.attempts) == (now, None, 1)
        assert deliver_due(now + timedelta(days=1)) == 0

    def test_a_failure_is_tried_again_later_and_later(self, delivery: Delivery, receiver: Receiver) -> None:
        receiver.status = 500
        now = timezone.now()
        pauses = []
        for _ in range(3):
            deliver_due(now)
            delivery.refresh_from_db()
            pauses.append((due(delivery) - now).total_seconds())
            assert deliver_due(due(delivery) - timedelta(seconds=1)) == 0
            now = due(delivery)
        assert pauses == [30, 60, 120]
        assert delivery.last_error == "answered 500"
        receiver.status = 200
        deliver_due(now)
        delivery.refresh_from_db()
        assert (delivery.delivered_at, delivery.last_error) == (now, "")
        assert len({document["id"] for document in receiver.documents}) == 1

    def test_it_is_given_up_after_ten_attempts_and_keeps_the_reason(
        self, delivery: Delivery, receiver: Receiver
    ) -> None:
        receiver.status = 410
        now = timezone.now()
        while Delivery.objects.exclude(next_attempt_at=None).exists():
            deliver_due(now)
            now += timedelta(days=1)
        delivery.refresh_from_db()
        assert (delivery.attempts, delivery.last_error, delivery.delivered_at) == (10, "answered 410", None)
        assert len(receiver.calls) == 10

    def test_a_redirect_is_not_followed(self, delivery: Delivery, receiver: Receiver) -> None:
        receiver.status = 302
        deliver_due(timezone.now())
        assert [path for path, _, _ in receiver.calls] == ["/hook"]
        delivery.refresh_from_db()
        assert delivery.last_error == "answered 302"

    def test_a_receiver_that_does_not_answer_holds_nobody_up(
        self, delivery: Delivery, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(warnings, "CALL_LIMIT_S", 0.3)
        receiver.answers.clear()
        deliver_due(timezone.now())
        delivery.refresh_from_db()
        assert delivery.last_error == "no answer within 0.3 s"

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[broken", "ftp://127.0.0.1/"])
    def test_an_address_that_cannot_be_called_is_an_error_like_any_other(
        self, delivery: Delivery, webhook: Webhook, url: str
    ) -> None:
        Webhook.objects.filter(pk=webhook.pk).update(url=url)
        deliver_due(timezone.now())
        delivery.refresh_from_db()
        assert delivery.attempts == 1
        assert delivery.last_error

    def test_what_one_gateway_has_claimed_another_leaves_alone(self, delivery: Delivery, receiver: Receiver) -> None:
        now = timezone.now()
        claimed_until = now + warnings.CLAIM
        Delivery.objects.update(next_attempt_at=claimed_until)  # as _claim does, before its gateway died
        assert deliver_due(now) == 0
        assert deliver_due(claimed_until) == 1
        assert len(receiver.calls) == 1

    def test_a_webhook_that_was_switched_off_gets_nothing(self, delivery: Delivery, receiver: Receiver) -> None:
        Webhook.objects.update(enabled=False)
        assert deliver_due(timezone.now()) == 0
        assert receiver.calls == []


def due(delivery: Delivery) -> datetime:
    assert delivery.next_attempt_at is not None
    return delivery.next_attempt_at
