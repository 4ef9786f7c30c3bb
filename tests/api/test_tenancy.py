"""Every address of /api/, tried by those it is not for: 401, 403 or 404, and nothing has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.apps import apps
from django.urls import URLPattern, URLResolver, reverse

from accounts.models import ApiKey, Budget, Member
from accounts.roles import Action
from helexa.api.urls import urlpatterns
from tests.api.conftest import World

#: What changes when somebody only looks.
TOUCHED = {"last_used_at", "last_login"}


@dataclass(frozen=True)
class Address:
    """An address with what names its object, a body that the right person could send, and what others get.

    `stranger` is the owner of another account, by session and by key; `member` asks for what is a colleague's.
    """

    stranger: int
    auditor: int
    member: int
    at: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    inference: int = 403
    nobody: int = 401


KEY = {"key_id": "{colleague_key}"}
ACCOUNT = {"pk": "{account}"}
CAP = {"cap": 100, "window": "balance"}

TABLE: dict[tuple[str, str], Address] = {
    ("GET", "account-list"): Address(200, 200, 200),
    ("POST", "account-list"): Address(403, 403, 403, body={"name": "biology"}),
    ("GET", "account-detail"): Address(404, 200, 200, ACCOUNT),
    ("PATCH", "account-detail"): Address(403, 403, 403, ACCOUNT, {"name": "alchemy"}),
    ("POST", "account-suspend"): Address(403, 403, 403, ACCOUNT),
    ("POST", "account-resume"): Address(403, 403, 403, ACCOUNT),
    ("POST", "account-close"): Address(403, 403, 403, ACCOUNT),
    ("PUT", "account-caps-budget"): Address(403, 403, 403, ACCOUNT | {"unit": "tokens"}, CAP),
    ("GET", "budget-list"): Address(200, 200, 200),
    ("GET", "entry-list"): Address(200, 200, 200),
    ("GET", "entry-detail"): Address(404, 200, 404, {"pk": "{entry}"}),
    ("POST", "entry-refund"): Address(403, 403, 403, {"pk": "{entry}"}, {"reason": "broken answer"}),
    ("GET", "key-list"): Address(200, 200, 200),
    ("POST", "key-list"): Address(404, 403, 403, body={"account": "{account}", "scope": "account"}),
    ("GET", "key-detail"): Address(404, 200, 404, KEY),
    ("PATCH", "key-detail"): Address(404, 403, 404, KEY, {"label": "taken"}),
    ("POST", "key-revoke"): Address(404, 403, 404, KEY),
    ("PUT", "key-caps-budget"): Address(404, 403, 403, KEY | {"unit": "tokens"}, CAP),
    ("GET", "me-list"): Address(200, 200, 200, inference=200),
    ("GET", "member-list"): Address(200, 200, 200),
    ("POST", "member-list"): Address(
        404, 403, 403, body={"account": "{account}", "user": "newcomer", "role": "member"}
    ),
    ("PATCH", "member-detail"): Address(404, 403, 403, {"pk": "{membership}"}, {"role": "owner"}),
    ("DELETE", "member-detail"): Address(404, 403, 403, {"pk": "{membership}"}),
    ("GET", "usage-list"): Address(200, 200, 200),
    ("GET", "neuron-list"): Address(403, 403, 403),
    ("GET", "model-list"): Address(403, 403, 403),
    ("POST", "load-list"): Address(403, 403, 403, body={"model": "tiny"}),
    ("POST", "unload-list"): Address(403, 403, 403, body={"model": "tiny"}),
    ("GET", "schema"): Address(200, 200, 200, inference=200, nobody=200),
}

INTRUDERS = {
    "nobody": "nobody",
    "member's key": "inference",
    "foreign key": "stranger",
    "stranger": "stranger",
    "auditor": "auditor",
    "member": "member",
}


def addresses(patterns: list[Any] = urlpatterns) -> Iterator[tuple[str, str]]:
    """Method and name of all there is, from the router."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns)
        else:
            assert isinstance(pattern, URLPattern)
            methods = getattr(pattern.callback, "actions", None) or {"get": "get"}
            # Django adds HEAD to whatever has been asked for once
            yield from ((method.upper(), str(pattern.name)) for method in methods if method != "head")


def views() -> Iterator[Any]:
    stack: list[Any] = list(urlpatterns)
    while stack:
        pattern = stack.pop()
        stack += pattern.url_patterns if isinstance(pattern, URLResolver) else []
        if hasattr(getattr(pattern, "callback", None), "actions"):
            yield pattern.callback


def rows() -> dict[str, list[dict[str, Any]]]:
    """All that accounts and fleet keep, history included."""
    return {
        model._meta.label: [
            {name: value for name, value in row.items() if name not in TOUCHED}
            for row in model._default_manager.order_by("pk").values()
        ]
        for app in ("accounts", "fleet", "auth")
        for model in apps.get_app_config(app).get_models()
    }


def ask(world: World, who: str, method: str, name: str) -> Any:
    address = TABLE[method, name]
    named = {
        "account": world.chemistry.pk,
        "colleague_key": world.keys["colleague's key"].row.key_id,
        "entry": world.entry.pk,
        "membership": Member.objects.get(user=world.people["colleague"]).pk,
    }
    url = reverse(name, kwargs={part: value.format(**named) for part, value in address.at.items()})
    body = {part: value.format(**named) if isinstance(value, str) else value for part, value in address.body.items()}
    return world.as_(who).generic(method, url, json.dumps(body), content_type="application/json")


def test_the_table_has_every_address_and_no_other() -> None:
    assert sorted(addresses()) == sorted(TABLE)


def test_every_view_names_an_action_of_the_table_for_each_of_its_methods() -> None:
    for callback in views():
        needs = callback.cls.needs
        assert {name for method, name in callback.actions.items() if method != "head"} <= set(needs), callback.cls
        assert all(needed is None or Action(needed) for needed in needs.values()), callback.cls


@pytest.mark.parametrize(("method", "name"), TABLE)
def test_those_it_is_not_for_change_nothing(world: World, method: str, name: str) -> None:
    before = rows()
    for who, kind in INTRUDERS.items():
        answer = ask(world, who, method, name)
        assert answer.status_code == getattr(TABLE[method, name], kind), (who, answer.content)
        if answer.status_code >= 400:
            assert answer.json()["error"]["message"]
        assert rows() == before, who


@pytest.mark.parametrize(("method", "name"), TABLE)
@pytest.mark.parametrize("who", ["operator", "operator key"])
def test_operators_may_do_all_of_it(world: World, redis_url: str, who: str, method: str, name: str) -> None:
    assert ask(world, who, method, name).status_code in ({200, 201, 202, 204} | ({400} if "load" in name else set()))


@pytest.mark.parametrize("who", ["stranger", "foreign key"])
@pytest.mark.parametrize(
    "url", ["accounts", "budgets", "entries", "keys", "me", "members", "usage?by=key", "usage?format=csv&by=key"]
)
def test_a_list_shows_nothing_of_another_account(world: World, url: str, who: str) -> None:
    text = world.as_(who).get(f"/api/{url}").content.decode()
    ours = ["chemistry", "colleague", world.entry.request_id, *(key.row.key_id for key in world.keys.values())]
    theirs = {world.keys[name].row.key_id for name in ("foreign key", "foreign inference key")}
    assert [name for name in ours if name not in theirs and name in text] == []
    if "usage" not in url:
        caps = [f'"id":{budget.pk},' for budget in Budget.objects.exclude(account=world.physics)]
        assert url != "budgets" or [cap for cap in caps if cap in text] == []


@pytest.mark.parametrize(
    "query",
    ["entries?account={account}", "keys?account={account}", "budgets?account={account}", "usage?account={account}",
     "members?account={account}", "entries?key={key}", "budgets?key={key}"],
)  # fmt: skip
@pytest.mark.parametrize("who", ["stranger", "foreign key"])
def test_a_filter_that_names_a_foreign_row_finds_none(world: World, query: str, who: str) -> None:
    named = {"account": world.chemistry.pk, "key": world.keys["colleague's key"].row.key_id}
    assert world.as_(who).get(f"/api/{query.format(**named)}").status_code == 404


def test_a_member_sees_only_keys_of_its_own_making_and_what_they_spent(world: World) -> None:
    member = world.as_("member")
    assert [key["label"] for key in member.get("/api/keys").json()["results"]] == ["mine"]
    for empty in ("entries", "budgets", "usage"):
        assert member.get(f"/api/{empty}").json()["results"] == []
    colleague = world.as_("colleague")
    assert len(colleague.get("/api/entries").json()["results"]) == 1
    assert [cap["unit"] for cap in colleague.get("/api/budgets").json()["results"]] == ["usd"]


def test_a_role_that_is_taken_away_is_gone_at_the_next_request(world: World) -> None:
    owner = world.as_("owner")
    assert owner.get(f"/api/accounts/{world.chemistry.pk}").status_code == 200
    Member.objects.filter(user=world.people["owner"]).delete()
    assert owner.get(f"/api/accounts/{world.chemistry.pk}").status_code == 403


@pytest.mark.parametrize("role", ["auditor", "member"])
def test_a_role_in_one_account_is_none_in_another(world: World, role: str) -> None:
    """The owner of chemistry may do these things, but not in physics."""
    Member.objects.create(account=world.physics, user=world.people["owner"], role=role)
    key, foreign = world.keys["member's key"].row, world.keys["foreign inference key"].row
    ApiKey.objects.filter(pk=foreign.pk).update(created_by=world.people["owner"])
    before = rows()
    owner, json = world.as_("owner"), {"content_type": "application/json"}
    newcomer = {"user": "newcomer", "role": "member"}
    assert owner.put(f"/api/keys/{foreign.key_id}/budgets/tokens", CAP, **json).status_code == 403
    assert owner.post("/api/members", {"account": world.physics.pk, **newcomer}, **json).status_code == 403
    assert owner.post("/api/keys", {"account": world.physics.pk, "scope": "account"}, **json).status_code == 403
    if role == "auditor":
        assert owner.post(f"/api/keys/{foreign.key_id}/revoke", **json).status_code == 403
    assert rows() == before
    assert owner.put(f"/api/keys/{key.key_id}/budgets/tokens", CAP, **json).status_code == 200
    assert owner.post("/api/members", {"account": world.chemistry.pk, **newcomer}, **json).status_code == 201
