"""Two accounts with people, keys, caps and entries. Tests ask as somebody of the first, or as a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from accounts.accounts import open_account
from accounts.booking.operations import Limits
from accounts.budgets import set_limits
from accounts.keys import issue_key, parse_peppers
from accounts.models import Account, ApiKey, Entry, Member
from tests.accounts.booked import ME, use

PEPPERS = parse_peppers(settings.HELEXA_KEY_PEPPER)


@dataclass(frozen=True)
class Secret:
    """A key and what its owner sends."""

    row: ApiKey
    secret: str

    @property
    def client(self) -> Client:
        return Client(headers={"authorization": f"Bearer {self.secret}"})


@dataclass
class World:
    """`owner`, `member`, `colleague` and `auditor` are people of chemistry, `stranger` owns physics."""

    chemistry: Account
    physics: Account
    people: Mapping[str, User]
    keys: Mapping[str, Secret]
    entry: Entry

    def as_(self, name: str) -> Client:
        """A client that is signed in as one of the people, or sends one of the keys; "nobody" is neither."""
        if name == "nobody":
            return Client()
        if name in self.keys:
            return self.keys[name].client
        client = Client()
        client.force_login(self.people[name])
        return client


def make_key(account: Account, *, by: User | None = None, scope: str = "inference", label: str = "") -> Secret:
    key, secret = issue_key(account=account, peppers=PEPPERS, scope=scope, label=label, created_by=by)
    return Secret(key, secret)


@pytest.fixture
def world(db: None) -> World:
    chemistry, physics = open_account("chemistry"), open_account("physics")
    people = {
        name: User.objects.create_user(name, password="correct horse")
        for name in ("operator", "owner", "member", "colleague", "auditor", "stranger", "newcomer")
    }
    people["operator"].is_staff = True
    people["operator"].save()
    for name, role, account in (
        ("owner", "owner", chemistry),
        ("member", "member", chemistry),
        ("colleague", "member", chemistry),
        ("auditor", "auditor", chemistry),
        ("stranger", "owner", physics),
    ):
        Member.objects.create(account=account, user=people[name], role=role)
    keys = {
        "member's key": make_key(chemistry, by=people["member"], label="mine"),
        "colleague's key": make_key(chemistry, by=people["colleague"], label="theirs"),
        "account key": make_key(chemistry, scope="account"),
        "operator key": make_key(open_account("operations"), scope="operator"),
        "foreign key": make_key(physics, scope="account"),
        "foreign inference key": make_key(physics, by=people["stranger"]),
    }
    set_limits(chemistry, "tokens", Limits(10_000, "balance"), author=ME)
    set_limits(keys["colleague's key"].row, "nano_usd", Limits(5 * 10**9, "day"), author=ME)
    set_limits(physics, "tokens", Limits(10_000, "balance"), author=ME)
    use(keys["foreign inference key"].row)
    entry = use(keys["colleague's key"].row)
    return World(chemistry, physics, people, keys, entry)
