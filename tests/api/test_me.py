"""Who am I, and what is left: for a key of any scope, and for people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.booking.operations import Limits
from accounts.budgets import set_limits
from accounts.models import ApiKey, Budget
from tests.accounts.booked import ME, use
from tests.api.conftest import World


def test_a_key_of_scope_inference_sees_what_it_is_held_to(world: World) -> None:
    key = world.keys["colleague's key"]
    me = key.client.get("/api/me").json()
    assert (me["name"], me["operator"]) == (key.row.key_id, False)
    assert (me["key"]["scope"], me["key"]["label"]) == ("inference", "theirs")
    assert [(account["name"], account["state"], account["role"]) for account in me["accounts"]] == [
        ("chemistry", "active", None)
    ]
    account_cap, key_cap = me["caps"]
    assert account_cap.pop("id")
    assert account_cap == {
        "account": world.chemistry.pk,
        "key": None,
        "unit": "tokens",
        "window": "balance",
        "cap": 10_000,
        "spent": 150,
        "reserved": 0,
        "left": 9_850,
        "resets_at": None,
    }
    assert (key_cap["key"], key_cap["unit"], key_cap["left"]) == (key.row.key_id, "usd", "4.9998")
    assert key_cap["resets_at"] is not None


def test_a_window_that_is_over_is_shown_turned_over(world: World) -> None:
    key = world.keys["member's key"]
    set_limits(key.row, "tokens", Limits(1000, "rolling", 60), author=ME)
    use(key.row, 100, 50)
    assert _cap(key.client.get("/api/me").json(), key.row)["left"] == 850
    Budget.objects.filter(key=key.row).update(window_ends_at=timezone.now() - timedelta(seconds=1))
    assert _cap(key.client.get("/api/me").json(), key.row)["left"] == 1000


def _cap(me: dict[str, Any], key: ApiKey) -> dict[str, Any]:
    cap: dict[str, Any] = next(cap for cap in me["caps"] if cap["key"] == key.key_id)
    return cap


def test_people_see_their_accounts_and_roles(world: World) -> None:
    me = world.as_("auditor").get("/api/me").json()
    assert (me["name"], me["operator"], me["key"]) == ("auditor", False, None)
    assert [(account["name"], account["role"]) for account in me["accounts"]] == [("chemistry", "auditor")]
    assert len(me["caps"]) == 2
    assert world.as_("operator").get("/api/me").json()["operator"] is True
    newcomer = world.as_("newcomer").get("/api/me").json()
    assert (newcomer["accounts"], newcomer["caps"]) == ([], [])


def test_being_asked_counts_as_use_of_the_key(world: World) -> None:
    key = world.keys["member's key"]
    assert key.row.last_used_at is None
    key.client.get("/api/me")
    key.row.refresh_from_db()
    assert key.row.last_used_at is not None
    assert key.row.history.count() == 1
