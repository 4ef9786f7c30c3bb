"""Operators set caps, top up and refund; the books and the history say who did it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from accounts.accounts import close_account, suspend_account
from accounts.authors import author_of
from accounts.booking.operations import Author, Limits
from accounts.budgets import find_budget, limits_of, refund, refundable, set_limits, top_up
from accounts.keys import issue_key, revoke_key
from accounts.models import Account, ApiKey, Budget, Entry, Line
from accounts.typed import format_window, parse_amount, parse_window
from helexa.usd import MAX_AMOUNT
from tests.accounts.booked import ME, reserve, settle
from tests.accounts.conftest import PEPPERS

pytestmark = pytest.mark.django_db

TOKENS, USD = Budget.Unit.TOKENS, Budget.Unit.NANO_USD


@pytest.fixture
def key(account: Account) -> ApiKey:
    return issue_key(account=account, peppers=PEPPERS)[0]


def refusal(refused: pytest.ExceptionInfo[ValidationError]) -> tuple[str, str]:
    ((field, (sentence,)),) = refused.value.message_dict.items()
    return field, sentence


class TestLimits:
    def test_it_works(self, account: Account) -> None:
        budget = set_limits(account, TOKENS, Limits(1000, "rolling", 3600), author=ME)
        assert (budget.cap, format_window(budget), budget.spent, budget.reserved) == (1000, "rolling:3600", 0, 0)
        assert find_budget(account, TOKENS) == budget
        assert find_budget(account, USD) is None

    def test_the_history_tells_who_changed_what_and_why(self, key: ApiKey, admin_user: User) -> None:
        set_limits(key, USD, Limits(5, "balance"), author=author_of(admin_user), reason="agreed with the dean")
        budget = set_limits(key, USD, Limits(7, "balance"), author=Author("root at a terminal"))
        latest, before, _made = budget.history.all()
        assert (before.cap, before.history_user, before.history_change_reason) == (
            5,
            admin_user,
            "agreed with the dean",
        )
        assert (latest.cap, latest.history_user, latest.history_change_reason) == (7, None, "root at a terminal")

    def test_the_second_of_two_operators_learns_what_the_first_did(self, account: Account) -> None:
        seen = limits_of(set_limits(account, TOKENS, Limits(1000, "balance"), author=ME))
        set_limits(account, TOKENS, Limits(2000, "balance"), author=ME, seen=seen)
        with pytest.raises(ValidationError) as refused:
            set_limits(account, TOKENS, Limits(3000, "balance"), author=ME, seen=seen)
        assert refusal(refused)[1].startswith("Somebody else changed this budget meanwhile")
        assert limits_of(find_budget(account, TOKENS)).cap == 2000

    def test_a_cap_below_what_runs_sinks_as_it_ends(self, account: Account, key: ApiKey) -> None:
        budget = set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        running = reserve(key, 100, 500)
        budget = set_limits(account, TOKENS, Limits(50, "balance"), author=ME)
        assert (budget.cap, budget.limit) == (600, 50)
        settle(running, 100, 20)
        budget.refresh_from_db()
        assert (budget.cap, budget.cap_wanted, budget.spent) == (120, 50, 120)

    def test_a_lifted_cap_keeps_its_budget(self, account: Account) -> None:
        budget = set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        assert set_limits(account, TOKENS, Limits(None, "balance"), author=ME) == budget
        assert limits_of(find_budget(account, TOKENS)).cap is None

    @pytest.mark.parametrize(
        ("limits", "field", "sentence"),
        [
            (Limits(0, "balance"), "cap", "0 tokens is too little: it must be more than 0."),
            (Limits(-5, "balance"), "cap", "-5 tokens is too little: it must be more than 0."),
            (Limits(MAX_AMOUNT + 1, "balance"), "cap", "1,000,000,000,000,000,001 tokens is too much; the most is"),
            (Limits(None, "balance"), "cap", "Account chemistry has no cap in tokens that could be lifted."),
            (Limits(5, "fortnight"), "window", "'fortnight' is not a window; choose one of"),
            (Limits(5, "rolling", 0), "window_seconds", "A rolling window lasts from 1 to 31622400 whole seconds"),
            (Limits(5, "rolling"), "window_seconds", "A rolling window lasts from 1 to 31622400 whole seconds"),
            (Limits(5, "day", 60), "window_seconds", "Only a rolling window has a length in seconds."),
            (Limits(5, "day", None, "Mars/Base"), "time_zone", "'Mars/Base' is not a time zone; write it as"),
        ],
    )
    def test_it_rejects_bad_limits_naming_the_field(
        self, account: Account, limits: Limits, field: str, sentence: str
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            set_limits(account, TOKENS, limits, author=ME)
        assert refusal(refused)[0] == field
        assert refusal(refused)[1].startswith(sentence)
        assert not Budget.objects.exists()

    def test_neither_the_house_nor_a_closed_account_gets_a_cap(self, account: Account) -> None:
        close_account(account)
        account.refresh_from_db()
        for closed in (account, Account.objects.get(is_house=True)):
            with pytest.raises(ValidationError) as refused:
                set_limits(closed, TOKENS, Limits(5, "balance"), author=ME)
            assert refusal(refused)[0] == "account"


class TestTopUp:
    def test_it_works(self, account: Account) -> None:
        budget = set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        credit = top_up(account, TOKENS, 500, reason="paid", author=ME)
        budget.refresh_from_db()
        assert (budget.cap, budget.spent) == (1500, 0)
        assert (credit.kind, credit.tokens, credit.nano_usd, credit.reason) == ("credit", 500, 0, "paid")
        assert (credit.credit, credit.author_name, Line.objects.filter(entry=credit).count()) == (account, "a test", 0)
        assert budget.history.first().history_change_reason == "a test: topped up by 500 tokens: paid"

    def test_a_key_is_topped_up_in_dollars(self, key: ApiKey) -> None:
        set_limits(key, USD, Limits(10**9, "balance"), author=ME)
        credit = top_up(key, USD, 5 * 10**8, reason="", author=ME)
        assert (credit.key, credit.credit, credit.nano_usd, credit.tokens) == (key, key.account, 5 * 10**8, 0)
        assert find_budget(key, USD).cap == 15 * 10**8

    def test_only_a_balance_cap_is_topped_up(self, account: Account) -> None:
        with pytest.raises(ValidationError) as refused:
            top_up(account, TOKENS, 5, reason="", author=ME)
        assert refusal(refused) == ("cap", "Account chemistry has no cap in tokens to top up; set one first.")
        set_limits(account, TOKENS, Limits(1000, "day"), author=ME)
        with pytest.raises(ValidationError) as refused:
            top_up(account, TOKENS, 5, reason="", author=ME)
        assert refusal(refused)[1].startswith("The cap of Account chemistry is reset each day (UTC)")
        assert not Entry.objects.exists()

    @pytest.mark.parametrize("bar", [suspend_account, close_account])
    def test_a_barred_account_is_not_topped_up(self, account: Account, key: ApiKey, bar: object) -> None:
        for owner in (account, key):
            set_limits(owner, TOKENS, Limits(1000, "balance"), author=ME)
        bar(account)  # type: ignore[operator]
        for owner in (Account.objects.get(pk=account.pk), ApiKey.objects.get(pk=key.pk)):
            with pytest.raises(ValidationError) as refused:
                top_up(owner, TOKENS, 5, reason="", author=ME)
            assert refusal(refused)[0] == "account"
        assert not Entry.objects.exists()

    def test_a_revoked_key_is_not_topped_up(self, key: ApiKey) -> None:
        set_limits(key, TOKENS, Limits(1000, "balance"), author=ME)
        revoke_key(key)
        with pytest.raises(ValidationError) as refused:
            top_up(ApiKey.objects.get(pk=key.pk), TOKENS, 5, reason="", author=ME)
        assert refusal(refused)[0] == "key"

    @pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT + 1, MAX_AMOUNT])
    def test_it_rejects_an_amount_that_cannot_be(self, account: Account, amount: int) -> None:
        set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        with pytest.raises(ValidationError) as refused:
            top_up(account, TOKENS, amount, reason="", author=ME)
        assert refusal(refused)[0] == "amount"
        assert find_budget(account, TOKENS).cap == 1000


class TestRefund:
    @pytest.fixture
    def entry(self, account: Account, key: ApiKey) -> Entry:
        set_limits(account, TOKENS, Limits(1000, "balance"), author=ME)
        set_limits(key, USD, Limits(10**9, "balance"), author=ME)
        return settle(reserve(key, 100, 100), 100, 50)

    def test_without_amounts_all_that_is_left_comes_back(self, entry: Entry, account: Account, key: ApiKey) -> None:
        back = refund(entry, reason="gibberish", author=ME)
        assert (back.tokens, back.nano_usd, back.refunds, back.reason) == (-150, -200_000, entry, "gibberish")
        assert (find_budget(account, TOKENS).spent, find_budget(key, USD).spent) == (0, 0)
        assert refundable(entry) == (0, 0)
        with pytest.raises(ValidationError) as refused:
            refund(entry, reason="again", author=ME)
        assert refusal(refused) == ("entry", f"Nothing is left of entry {entry.pk} to refund.")

    def test_one_amount_alone_leaves_the_other(self, entry: Entry, account: Account, key: ApiKey) -> None:
        refund(entry, tokens=50, reason="half", author=ME)
        assert (find_budget(account, TOKENS).spent, find_budget(key, USD).spent) == (100, 200_000)
        assert refundable(entry) == (100, 200_000)

    @pytest.mark.parametrize(
        ("amounts", "field", "sentence"),
        [
            ({"tokens": 151}, "tokens", "Of this entry between 0 and 150 tokens can be given back"),
            ({"tokens": -1}, "tokens", "Of this entry between 0 and 150 tokens can be given back"),
            ({"nano_usd": 200_001}, "usd", "Of this entry between 0 and 0.0002 USD can be given back"),
            ({"tokens": 0}, "tokens", "Give back more than 0 tokens or 0 dollars."),
            ({"reason": " "}, "reason", "A refund needs a reason; it stays on the books."),
            ({"reason": "x" * 10_000}, "reason", "The reason has 10000 characters; at most 200 fit."),
            ({"reason": "a\nb"}, "reason", "Use one line of text without control characters."),
        ],
    )
    def test_it_rejects_what_cannot_be_given_back(
        self, entry: Entry, amounts: dict[str, object], field: str, sentence: str
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            refund(entry, **{"reason": "why", "author": ME, **amounts})  # type: ignore[arg-type]
        assert refusal(refused)[0] == field
        assert refusal(refused)[1].startswith(sentence)
        assert not Entry.objects.filter(kind="refund").exists()

    def test_only_usage_is_refunded(self, entry: Entry) -> None:
        back = refund(entry, reason="once", author=ME)
        with pytest.raises(ValidationError) as refused:
            refund(back, reason="twice", author=ME)
        assert refusal(refused) == ("entry", f"Entry {back.pk} is a refund; only usage can be refunded.")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("balance", ("balance", None, "UTC")),
        ("rolling:3600", ("rolling", 3600, "UTC")),
        ("calendar:day", ("day", None, "UTC")),
        ("calendar:month@Europe/Berlin", ("month", None, "Europe/Berlin")),
    ],
)
def test_a_window_is_typed_and_told_in_the_same_words(text: str, parsed: tuple[str, int | None, str]) -> None:
    assert parse_window(text) == parsed
    assert format_window(Limits(1, *parsed)) == text


@pytest.mark.parametrize(
    "text",
    ["", "balance:1", "rolling", "rolling:0", "rolling:-1", "rolling:1.5", "rolling:1e9", "rolling:" + "9" * 5000,
     "rolling:٣", "calendar:year", "calendar:day@", "calendar:day@Mars/Base", "calendar:day@../etc", "day"],
)  # fmt: skip
def test_it_rejects_windows_that_are_none(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        parse_window(text)
    assert list(refused.value.message_dict) == ["window"]


@pytest.mark.parametrize(
    ("text", "unit", "amount"), [("50000", TOKENS, 50_000), ("50,000", TOKENS, 50_000), ("12.50", USD, 12_500_000_000)]
)
def test_amounts_are_whole_tokens_or_dollars(text: str, unit: str, amount: int) -> None:
    assert parse_amount(text, unit) == amount


@pytest.mark.parametrize("unit", [TOKENS, USD])
@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e400", "9" * 40, "ten", "٣x", "1" + "0" * 5000])
def test_it_rejects_amounts_that_are_none(text: str, unit: str) -> None:
    with pytest.raises(ValidationError) as refused:
        parse_amount(text, unit)
    assert list(refused.value.message_dict) == ["cap"]


def test_tokens_have_no_fractions_and_dollars_nine_digits() -> None:
    for text, unit in (("1.5", TOKENS), ("0.0000000001", USD)):
        with pytest.raises(ValidationError):
            parse_amount(text, unit)
