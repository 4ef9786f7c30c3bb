"""Keys over /api/: made with their secret shown once, changed, revoked; never one that may more than its maker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.keys import find_key
from accounts.models import ApiKey
from tests.api.conftest import PEPPERS, World

JSON: dict[str, Any] = {"content_type": "application/json"}


def test_it_works(world: World) -> None:
    answer = world.as_("owner").post(
        "/api/keys",
        {"account": world.chemistry.pk, "label": "notebook", "allowed_models": ["tiny"], "expires_at": "2100-01-31"},
        **JSON,
    )
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    made = answer.json()
    key = find_key(made["secret"], PEPPERS)
    assert key is not None
    assert (key.account, key.label, key.allowed_models) == (world.chemistry, "notebook", ["tiny"])
    assert key.created_by == world.people["owner"]
    assert made["expires_at"] == "2100-01-31T00:00:00Z"
    assert made["state"] == "active"
    assert key.history.get().history_user == world.people["owner"]


def test_the_secret_is_shown_once(world: World) -> None:
    owner = world.as_("owner")
    made = owner.post("/api/keys", {"account": world.chemistry.pk}, **JSON).json()
    for url in ("/api/keys", f"/api/keys/{made['key_id']}"):
        assert made["secret"] not in owner.get(url).content.decode()


@pytest.mark.parametrize(
    ("who", "scope", "status"),
    [
        ("member", "inference", 201),
        ("member", "account", 403),
        ("owner", "account", 201),
        ("owner", "operator", 403),
        ("account key", "account", 201),
        ("account key", "operator", 403),
        ("operator", "operator", 201),
        ("operator key", "operator", 201),
        ("auditor", "inference", 403),
    ],
)
def test_nobody_makes_a_key_that_may_do_more_than_they_may(world: World, who: str, scope: str, status: int) -> None:
    answer = world.as_(who).post("/api/keys", {"account": world.chemistry.pk, "scope": scope}, **JSON)
    assert answer.status_code == status
    assert ApiKey.objects.filter(account=world.chemistry, scope="operator").exists() == (
        scope == "operator" and status == 201
    )


def test_an_owner_cannot_change_or_revoke_a_key_of_an_operator(world: World) -> None:
    key = world.keys["operator key"].row
    ApiKey.objects.filter(pk=key.pk).update(account=world.chemistry)
    owner = world.as_("owner")
    assert owner.get(f"/api/keys/{key.key_id}").status_code == 200
    assert owner.patch(f"/api/keys/{key.key_id}", {"label": "mine"}, **JSON).status_code == 403
    assert owner.post(f"/api/keys/{key.key_id}/revoke", **JSON).status_code == 403
    key.refresh_from_db()
    assert (key.label, key.revoked_at) == ("", None)


def test_what_is_not_named_stays_as_it_is(world: World) -> None:
    key = world.keys["member's key"].row
    member = world.as_("member")
    answer = member.patch(f"/api/keys/{key.key_id}", {"allowed_models": ["a", "b"]}, **JSON)
    assert answer.status_code == 200
    assert (answer.json()["label"], answer.json()["allowed_models"]) == ("mine", ["a", "b"])
    expires = (timezone.now() + timedelta(days=1)).isoformat()
    assert member.patch(f"/api/keys/{key.key_id}", {"expires_at": expires}, **JSON).status_code == 200
    assert member.patch(f"/api/keys/{key.key_id}", {"expires_at": None}, **JSON).json()["expires_at"] is None
    assert member.patch(f"/api/keys/{key.key_id}", {"account": world.physics.pk}, **JSON).status_code == 200
    key.refresh_from_db()
    assert (key.account, key.allowed_models) == (world.chemistry, ["a", "b"])


def test_a_revoked_key_opens_nothing_more(world: World) -> None:
    key = world.keys["account key"]
    assert key.client.get("/api/me").status_code == 200
    revoked = world.as_("owner").post(f"/api/keys/{key.row.key_id}/revoke", {"reason": "leaked"}, **JSON)
    assert revoked.json()["state"] == "revoked"
    assert key.client.get("/api/me").status_code == 401
    newest = key.row.history.latest()
    assert (newest.history_user, newest.history_change_reason) == (world.people["owner"], "leaked")


def test_what_a_key_changes_is_signed_with_its_id(world: World) -> None:
    actor = world.keys["account key"]
    key = world.keys["member's key"].row
    actor.client.post(f"/api/keys/{key.key_id}/revoke", {"reason": "leaked"}, **JSON)
    newest = key.history.latest()
    assert (newest.history_user, newest.history_change_reason) == (None, f"key {actor.row.key_id}: leaked")


def test_filters(world: World) -> None:
    operator = world.as_("operator")
    labels = [key["label"] for key in operator.get(f"/api/keys?account={world.chemistry.pk}").json()["results"]]
    assert labels == ["", "theirs", "mine"]
    assert operator.get("/api/keys?state=revoked").json()["results"] == []
    pages, url = [], "/api/keys?limit=2"
    while url:
        page = operator.get(url).json()
        pages.append(len(page["results"]))
        url = page["next"]
    assert pages == [2, 2, 2]


@pytest.mark.parametrize(
    ("sent", "field", "sentence"),
    [
        ({"label": "x" * 10_000}, "label", "Ensure this field has no more than 100 characters."),
        ({"label": "a\x07b"}, "label", "Use one line of text without control characters."),
        ({"label": "a\x00b"}, "label", "Null characters are not allowed."),
        ({"label": "\ud800"}, "label", "Use one line of text without control characters."),
        ({"label": 5}, "label", "This must be a string."),
        ({"scope": "root"}, "scope", '"root" is not a valid choice.'),
        ({"allowed_models": "tiny"}, "allowed_models", 'Expected a list of items but got type "str".'),
        ({"allowed_models": ["tiny", "b\x07"]}, "allowed_models.1", "Use one line of text without control characters."),
        ({"expires_at": "2020-01-01"}, "expires_at", "This expiry has passed; choose a date in the future"),
        ({"expires_at": "soon"}, "expires_at", "Datetime has wrong format."),
        ({"account": None}, "account", "This field may not be null."),
        ({"account": 10**30}, "account", "Ensure this value is less than or equal to"),
        ({"account": float("nan")}, "account", "A valid integer is required."),
    ],
)
def test_it_rejects_bad_input_with_a_sentence(world: World, sent: dict[str, Any], field: str, sentence: str) -> None:
    before = ApiKey.objects.count()
    answer = world.as_("owner").post("/api/keys", {"account": world.chemistry.pk, **sent}, **JSON)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["field"] == field
    assert error["message"].startswith(f"{field}: ")
    assert sentence in error["message"]
    assert ApiKey.objects.count() == before
