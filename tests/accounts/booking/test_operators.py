"""What operators ask of the books: refunds, credits, other limits, and the warnings when a cap comes near."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from accounts.booking.decide import limits_of
from accounts.booking.operations import Author, ChangeLimits, Credit, Declined, Done, Granted, Limits, Refund
from accounts.models import Budget
from helexa.usd import MAX_AMOUNT
from tests.accounts.booking.plain import ACCOUNT, HOUSE, NANO_USD, NOW, Books, budget, reserve, rolling

ME = Author("a test")


def used(books: Books, prompt: int = 10, completion: int = 20) -> int:
    """A request reserved and settled; the id of its entry."""
    id_, answer = books.reserve(prompt, completion)
    assert isinstance(answer, Granted), answer
    books.settle(id_, prompt, completion)
    return books.entries[-1].id


def refund(entry_id: int, tokens: int | None = None, nano_usd: int | None = None) -> Refund:
    return Refund(entry_id, (), tokens, nano_usd, reason="slow", author=ME)


def test_a_refund_gives_back_part_of_an_entry() -> None:
    books = Books([budget(100), budget(1000, of_key=True, unit=NANO_USD)])
    entry_id = used(books)
    assert isinstance(books.one(refund(entry_id, tokens=12, nano_usd=40)), Done)
    (entry,) = books.writes.entries
    assert (entry.tokens, entry.nano_usd, entry.refunds_id, entry.reason) == (-12, -40, entry_id, "slow")
    assert entry.author_name == ME.name
    assert entry.lines == ((1, 1, -12), (2, 1, -40))
    assert [row.spent for row in books.budgets] == [18, 90]


def test_refunds_together_are_never_more_than_the_entry() -> None:
    books = Books([budget(100)])
    entry_id = used(books)
    answers = books.decide(*[refund(entry_id, tokens=12, nano_usd=0) for _ in range(3)])
    assert [type(answer) for answer in answers] == [Done, Done, Declined]
    assert books.budgets[0].spent == 6
    books.one(refund(entry_id))
    assert books.budgets[0].spent == 0
    assert isinstance(books.one(refund(entry_id)), Declined)


@pytest.mark.parametrize(("tokens", "nano_usd", "field"), [(31, 0, "tokens"), (0, 131, "usd"), (-1, 0, "tokens")])
def test_a_refund_that_is_too_much_or_negative_names_its_field(tokens: int, nano_usd: int, field: str) -> None:
    books = Books([budget(100)])
    answer = books.one(refund(used(books), tokens, nano_usd))
    assert isinstance(answer, Declined)
    assert answer.field == field
    assert books.budgets[0].spent == 30


def test_only_usage_can_be_refunded() -> None:
    assert isinstance(Books([budget(100)]).one(refund(99)), Declined)


def test_the_refund_of_a_closed_window_moves_no_counter() -> None:
    books = Books([rolling(100, seconds=60)])
    entry_id = used(books)
    books.pass_time(timedelta(seconds=61))
    used(books, 3, 4)
    books.one(refund(entry_id))
    assert books.writes.entries[0].lines == ((1, 1, -30),)
    assert books.budgets[0].spent == 7


def test_what_was_corrected_downward_cannot_be_refunded_too() -> None:
    books = Books([budget(100)])
    id_, _ = books.reserve(10, 20)
    books.settle(id_, 10, 20, estimated=True)
    books.correct(id_, 10, 5)
    assert isinstance(books.one(refund(books.entries[0].id, tokens=16, nano_usd=0)), Declined)
    assert isinstance(books.one(refund(books.entries[0].id)), Done)
    assert books.budgets[0].spent == 0


# -- credits ---------------------------------------------------------------------------------------


def credit(amount: int, budget_id: int = 1) -> Credit:
    return Credit(budget_id, ACCOUNT, amount, reason="", author=ME)


def test_a_credit_raises_the_cap_and_never_touches_what_is_spent() -> None:
    books = Books([budget(100)])
    used(books)
    assert isinstance(books.one(credit(50)), Done)
    (entry,) = books.writes.entries
    assert (entry.debit_id, entry.credit_id, entry.tokens, entry.nano_usd) == (HOUSE, ACCOUNT, 50, 0)
    assert (entry.budget_id, entry.lines, entry.is_spend) == (1, (), False)
    assert (books.budgets[0].cap, books.budgets[0].spent) == (150, 30)


def test_a_credit_lifts_a_sinking_cap_and_what_it_sinks_to() -> None:
    books = Books([budget(30, cap_wanted=10, reserved=30)])
    books.one(credit(5))
    row = books.budgets[0]
    assert (row.cap, row.cap_wanted) == (30, 15)
    books.one(credit(40))
    assert (row.cap, row.cap_wanted) == (55, None)


@pytest.mark.parametrize(
    "row", [budget(None), rolling(100), budget(MAX_AMOUNT)], ids=["no cap", "a resetting window", "too much"]
)
def test_a_credit_needs_a_balance_with_room(row: object) -> None:
    assert isinstance(row, type(budget(1)))
    books = Books([replace(row)])
    assert isinstance(books.one(credit(1)), Declined)
    assert books.budgets[0] == row


def test_a_credit_of_a_budget_that_is_not_there_is_declined() -> None:
    assert isinstance(Books([]).one(credit(1)), Declined)


# -- other limits ----------------------------------------------------------------------------------

BALANCE = Limits(100, Budget.Window.BALANCE.value)


def test_of_two_operators_who_change_one_cap_the_second_is_told() -> None:
    books = Books([budget(100)])
    first = ChangeLimits(1, replace(BALANCE, cap=200), seen=BALANCE)
    second = ChangeLimits(1, replace(BALANCE, cap=50), seen=BALANCE)
    answers = books.decide(first, second)
    assert answers[0] == Done()
    assert isinstance(answers[1], Declined)
    assert books.budgets[0].cap == 200


def test_what_an_operator_saw_is_the_cap_that_was_wanted() -> None:
    books = Books([budget(60, cap_wanted=20, reserved=60)])
    seen = limits_of(books.budgets[0])
    assert seen.cap == 20
    assert books.one(ChangeLimits(1, replace(BALANCE, cap=30), seen=seen)) == Done()


def test_another_cap_leaves_the_window_as_it_is() -> None:
    ends_at = NOW + timedelta(seconds=10)
    books = Books([rolling(100, seconds=60, window_ends_at=ends_at, spent=40)])
    books.one(ChangeLimits(1, Limits(70, Budget.Window.ROLLING.value, 60)))
    row = books.budgets[0]
    assert (row.cap, row.spent, row.window_number, row.window_ends_at) == (70, 40, 1, ends_at)


def test_another_window_opens_now_and_keeps_what_is_spent() -> None:
    books = Books([budget(100, spent=40)])
    books.one(ChangeLimits(1, Limits(100, Budget.Window.ROLLING.value, 60)))
    row = books.budgets[0]
    assert (row.spent, row.window_ends_at) == (40, NOW + timedelta(seconds=60))
    books.one(ChangeLimits(1, BALANCE))
    assert (row.spent, row.window_seconds, row.window_ends_at) == (40, None, None)


def test_a_cap_that_is_lifted_refuses_nothing_and_one_that_comes_back_counts_what_was_used() -> None:
    books = Books([budget(30, spent=30)])
    books.one(ChangeLimits(1, Limits(None, Budget.Window.BALANCE.value)))
    used(books)
    books.one(ChangeLimits(1, BALANCE))
    row = books.budgets[0]
    assert (row.cap, row.spent) == (100, 60)


# -- warnings --------------------------------------------------------------------------------------


def test_passing_80_and_100_percent_is_noted_once_each() -> None:
    books = Books([budget(100)])
    passed = []
    for prompt, completion in [(39, 40), (0, 1), (9, 10), (1, 0)]:
        id_, _ = books.reserve(max(prompt, 1), completion)
        books.settle(id_, prompt, completion)
        passed.append([percent for percent, _, _ in books.budgets[0].passed])
    assert passed == [[], [80], [], [100]]


def test_one_settle_may_pass_both() -> None:
    books = Books([budget(30)])
    used(books)
    assert books.budgets[0].passed == [(80, 30, 30), (100, 30, 30)]


def test_what_is_only_reserved_passes_nothing() -> None:
    books = Books([budget(30)])
    books.decide(reserve(10, 20))
    assert books.budgets[0].passed == []
