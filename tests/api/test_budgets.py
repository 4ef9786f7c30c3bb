"""Caps over /api/: who sets them, how they stand, and what is refused with which sentence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Budget
from tests.accounts.booked import reserve, use
from tests.api.conftest import World

JSON: dict[str, Any] = {"content_type": "application/json"}


def key_url(world: World, name: str = "member's key", unit: str = "tokens") -> str:
    return f"/api/keys/{world.keys[name].row.key_id}/budgets/{unit}"


def test_it_works(world: World) -> None:
    owner = world.as_("owner")
    answer = owner.put(key_url(world), {"cap": 5000, "window": "calendar:month@Europe/Berlin"}, **JSON)
    assert answer.status_code == 200
    key = world.keys["member's key"].row
    use(key, 100, 50)
    reserve(key, 10, 20)
    (cap,) = owner.get(f"/api/budgets?key={key.key_id}").json()["results"]
    assert cap.pop("resets_at").endswith("Z")
    assert cap == {
        "id": answer.json()["id"],
        "account": None,
        "key": key.key_id,
        "unit": "tokens",
        "window": "calendar:month@Europe/Berlin",
        "cap": 5000,
        "spent": 150,
        "reserved": 30,
        "left": 4820,
    }


def test_dollars_are_decimal_strings(world: World) -> None:
    cap = world.as_("owner").put(key_url(world, unit="usd"), {"cap": "12.5"}, **JSON).json()
    assert (cap["unit"], cap["window"], cap["cap"], cap["spent"], cap["left"]) == (
        "usd",
        "balance",
        "12.50",
        "0.00",
        "12.50",
    )
    assert Budget.objects.get(pk=cap["id"]).cap == 12_500_000_000
    use(world.keys["member's key"].row, 1_000, 0)
    (cap,) = world.as_("member").get("/api/budgets").json()["results"]
    assert (cap["spent"], cap["left"]) == ("0.001", "12.499")


def test_owners_cap_keys_and_operators_cap_accounts(world: World) -> None:
    url = f"/api/accounts/{world.chemistry.pk}/budgets/tokens"
    assert world.as_("owner").put(url, {"cap": 10**12}, **JSON).status_code == 403
    assert world.as_("account key").put(url, {"cap": 10**12}, **JSON).status_code == 403
    assert world.as_("operator key").put(url, {"cap": 20_000}, **JSON).json()["left"] == 19_850
    row = Budget.objects.get(account=world.chemistry)
    assert row.history.latest().history_change_reason.startswith("key key_")


def test_a_cap_is_lifted_with_null(world: World) -> None:
    owner, url = world.as_("owner"), key_url(world, "colleague's key", "usd")
    lifted = owner.put(url, {"cap": None, "window": "balance"}, **JSON).json()
    assert (lifted["cap"], lifted["left"]) == (None, None)
    assert "no cap" in owner.put(key_url(world), {"cap": None}, **JSON).json()["error"]["message"]


def test_the_second_of_two_who_change_a_cap_sees_what_the_first_did(world: World) -> None:
    owner, url = world.as_("owner"), key_url(world)
    owner.put(url, {"cap": 1000}, **JSON)
    seen = {"cap": 1000, "window": "balance"}
    assert owner.put(url, {"cap": 2000, "seen": seen}, **JSON).status_code == 200
    second = owner.put(url, {"cap": 3000, "seen": seen}, **JSON)
    assert second.status_code == 400
    assert "Somebody else changed this budget meanwhile" in second.json()["error"]["message"]
    assert owner.get("/api/budgets?key=" + world.keys["member's key"].row.key_id).json()["results"][0]["cap"] == 2000


def test_a_window_that_is_over_is_shown_turned_over_though_nobody_booked_since(world: World) -> None:
    key = world.keys["member's key"].row
    world.as_("owner").put(key_url(world), {"cap": 1000, "window": "rolling:60"}, **JSON)
    use(key, 100, 50)
    member = world.as_("member")
    (running,) = member.get("/api/budgets").json()["results"]
    assert (running["spent"], running["left"], running["resets_at"] is None) == (150, 850, False)
    Budget.objects.filter(key=key).update(window_ends_at=timezone.now() - timedelta(seconds=1))
    (over,) = member.get("/api/budgets").json()["results"]
    assert (over["spent"], over["left"], over["resets_at"]) == (0, 1000, None)
    assert Budget.objects.get(key=key).spent == 150


@pytest.mark.parametrize(
    ("unit", "sent", "field", "sentence"),
    [
        ("tokens", {}, "cap", "This field is required."),
        ("tokens", {"cap": 0}, "cap", "0 tokens is too little: it must be more than 0."),
        ("tokens", {"cap": -5}, "cap", "-5 tokens is too little"),
        ("tokens", {"cap": 1.5}, "cap", "Write tokens as a whole number"),
        ("tokens", {"cap": float("nan")}, "cap", "Write tokens as a whole number"),
        ("tokens", {"cap": True}, "cap", "Write tokens as a whole number"),
        ("tokens", {"cap": "500"}, "cap", "'500' is not a whole number; write tokens as 50000, without quotes."),
        ("tokens", {"cap": 10**18 + 1}, "cap", "is too much; the most is"),
        ("tokens", {"cap": 10**4000}, "cap", "the most is"),
        ("usd", {"cap": "NaN"}, "cap", "'NaN' is not an amount in dollars; write it as 12.50."),
        ("usd", {"cap": "-1"}, "cap", "-1.00 USD is too little"),
        ("usd", {"cap": "0"}, "cap", "0.00 USD is too little"),
        ("usd", {"cap": "0.0000000001"}, "cap", "An amount in dollars has at most nine decimals."),
        ("usd", {"cap": "1e999999"}, "cap", "dollars are too many"),
        ("usd", {"cap": 1.5}, "cap", "dollars as a string"),
        ("tokens", {"cap": 5, "window": "rolling:0"}, "window", "A rolling window lasts from 1 to"),
        ("tokens", {"cap": 5, "window": "calendar:day@Mars/Olympus"}, "window", "is not a time zone"),
        ("tokens", {"cap": 5, "window": "sometimes"}, "window", "'sometimes' is not a window"),
        ("tokens", {"cap": 5, "window": "x" * 10_000}, "window", "no more than 100 characters"),
        ("tokens", {"cap": 5, "seen": {"cap": 0, "window": "balance"}}, "seen.cap", "too little"),
        ("tokens", {"cap": 5, "reason": "a\x07"}, "reason", "Use one line of text"),
    ],
)
def test_it_rejects_bad_input_with_a_sentence(
    world: World, unit: str, sent: dict[str, Any], field: str, sentence: str
) -> None:
    answer = world.as_("owner").put(key_url(world, unit=unit), sent, **JSON)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["field"] == field
    assert sentence in error["message"]
    assert len(error["message"]) < 400
    assert not Budget.objects.filter(key=world.keys["member's key"].row).exists()
