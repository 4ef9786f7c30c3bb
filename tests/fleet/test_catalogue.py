"""Prices: set by command and in the admin, in dollars, kept as integers, with a history of who and when."""

from __future__ import annotations

import json
import re
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from fleet.catalogue import read_catalogue
from fleet.models import Profile

PROFILES = "/admin/fleet/profile/"


@pytest.fixture
def profile(db: None) -> Profile:
    return Profile.objects.create(model_id="org/tiny", source="/models/tiny")


def catalogue(*arguments: str) -> str:
    output = StringIO()
    call_command("catalogue", *arguments, stdout=output)
    return output.getvalue()


def price(**prices: str) -> list[str]:
    whole = {"input": "0.15", "output": "0.60", **prices}
    return ["price", "org/tiny", *(f"--{name.replace('_', '-')}={value}" for name, value in whole.items())]


def test_it_works(profile: Profile) -> None:
    shown = json.loads(catalogue(*price(cache_read="0.000000001", reasoning="0"), "--json"))
    assert shown["id"] == "org/tiny"
    assert shown["prices"] == {"input": "0.15", "output": "0.60", "cache_read": "0.000000001", "reasoning": "0.00"}
    profile.refresh_from_db()
    assert (profile.input_price, profile.output_price) == (150_000_000, 600_000_000)
    assert (profile.cached_price, profile.reasoning_price) == (1, 0)
    newest = profile.history.latest()
    assert (newest.history_user, newest.history_change_reason) == (None, "catalogue price")
    assert json.loads(catalogue("list", "--json"))["models"] == [shown]


def test_what_is_not_given_has_no_price_of_its_own(profile: Profile) -> None:
    catalogue(*price(cache_read="0.02"), "--json")
    catalogue(*price(), "--json")
    profile.refresh_from_db()
    assert profile.cached_price is None


@pytest.mark.parametrize(
    ("prices", "sentence"),
    [
        ({"input": "-1"}, "--input: A price cannot be negative; 0 means that it costs nothing."),
        ({"output": "NaN"}, "--output: 'NaN' is not an amount in dollars; write it as 12.50."),
        ({"output": "inf"}, "--output: 'inf' is not an amount in dollars; write it as 12.50."),
        ({"input": ""}, "--input: '' is not an amount in dollars; write it as 12.50."),
        ({"cache_read": "0.0000000001"}, "--cache-read: An amount in dollars has at most nine decimals."),
        ({"cache_read": "1.0000000000000000000000000000000001"}, "--cache-read: An amount in dollars has at most nine"),
        ({"reasoning": "1000001"}, "--reasoning: The dearest price is 1000000 dollars per 1M tokens."),
        ({"reasoning": "1e999999"}, "--reasoning: 1e999999 dollars are too many"),
        ({"input": "x" * 10_000}, "--input: This is not an amount in dollars; write it as 12.50."),
    ],
)
def test_it_rejects_a_bad_price_with_a_sentence(profile: Profile, prices: dict[str, str], sentence: str) -> None:
    with pytest.raises(CommandError) as refused:
        catalogue(*price(**prices))
    assert str(refused.value).startswith(sentence)
    profile.refresh_from_db()
    assert profile.input_price is None
    assert profile.history.count() == 1


def test_an_unknown_model_is_named(db: None) -> None:
    with pytest.raises(CommandError, match="MODEL: the catalogue has no model 'org/tiny'"):
        catalogue(*price())


async def test_gateways_read_prices_with_the_catalogue(fresh_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(fresh_database, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO fleet_profile (model_id, source, harness, pinned_on, created_at, input_price, output_price)"
            " VALUES ('priced', '/m', 'torch', '{a}', now(), 150000000, 0),"
            " ('free', '/m', 'torch', '{}', now(), NULL, NULL)"
        )
        found = await read_catalogue(connection)
    priced, free = found["priced"], found["free"]
    assert (priced.input_price, priced.output_price, priced.cached_price, priced.reasoning_price) == (
        150_000_000, 0, None, None
    )  # fmt: skip
    assert (free.input_price, free.pinned_on) == (None, frozenset())


class TestAdmin:
    def form(self, **fields: str) -> dict[str, Any]:
        empty = {"input_price": "", "output_price": "", "cached_price": "", "reasoning_price": ""}
        return {
            "model_id": "org/tiny", "source": "/models/tiny", "harness": "torch", "pinned_on": "", **empty, **fields,
        }  # fmt: skip

    def test_prices_are_typed_and_shown_in_dollars(self, admin_client: Client, profile: Profile) -> None:
        url = f"{PROFILES}{profile.pk}/change/"
        assert admin_client.post(url, self.form(input_price="0.15", output_price="0.6")).status_code == 302
        profile.refresh_from_db()
        assert (profile.input_price, profile.output_price, profile.cached_price) == (150_000_000, 600_000_000, None)
        page = admin_client.get(url).content.decode()
        assert 'value="0.15"' in page
        assert 'value="0.60"' in page
        assert "0.15 in, 0.60 out" in admin_client.get(PROFILES).content.decode()

    def test_the_history_shows_who_and_when(self, admin_client: Client, profile: Profile) -> None:
        admin_client.post(f"{PROFILES}{profile.pk}/change/", self.form(input_price="0.15", output_price="0.60"))
        catalogue(*price(), "--json")
        by_hand, by_command = profile.history.order_by("history_id")[1:]
        assert by_hand.history_user.username == "admin"
        page = admin_client.get(f"{PROFILES}{profile.pk}/history/").content.decode()
        text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
        assert "input 0.15, output 0.60" in text
        assert "catalogue price" in text
        assert "admin" in text
        assert by_command.history_user is None
        assert admin_client.get(f"{PROFILES}{profile.pk}/history/{by_hand.pk}/").status_code == 200

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"input_price": "-1", "output_price": "1"}, "A price cannot be negative"),
            ({"input_price": "NaN", "output_price": "1"}, "is not an amount in dollars"),
            ({"input_price": "0.0000000001", "output_price": "1"}, "has at most nine decimals"),
            ({"input_price": "1000001", "output_price": "1"}, "The dearest price is 1000000 dollars"),
            ({"input_price": "1"}, "A price needs both an input and an output price."),
            ({"cached_price": "1"}, "A price needs both an input and an output price."),
        ],
    )
    def test_it_rejects_a_bad_price_with_a_sentence(
        self, admin_client: Client, profile: Profile, fields: dict[str, str], sentence: str
    ) -> None:
        page = admin_client.post(f"{PROFILES}{profile.pk}/change/", self.form(**fields))
        assert page.status_code == 200
        assert sentence in page.content.decode()
        profile.refresh_from_db()
        assert profile.input_price is None
