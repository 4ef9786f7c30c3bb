"""What a request is granted, and how one is refused: caps, bounds, prices, when to come again (MISSION G12, G16)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.booking.operations import Granted, KeyNotValid, NoPrice, NotOpen, OverCap, TokensLeft
from accounts.money import Prices
from tests.accounts.booking.plain import NANO_USD, NOW, Books, budget, reserve, rolling


def granted(books: Books, prompt: int, bound: int, *, stated: bool = True, sequences: int = 1) -> Granted:
    _, answer = books.reserve(prompt, bound, stated=stated, sequences=sequences)
    assert isinstance(answer, Granted), answer
    return answer


def refused(books: Books, prompt: int, bound: int, *, stated: bool = True, sequences: int = 1) -> OverCap:
    before = [(row.spent, row.reserved) for row in books.budgets]
    _, answer = books.reserve(prompt, bound, stated=stated, sequences=sequences)
    assert isinstance(answer, OverCap), answer
    assert [(row.spent, row.reserved) for row in books.budgets] == before
    assert books.writes.reservations == []
    return answer


def test_a_grant_is_prompt_and_bound_held_in_every_budget() -> None:
    books = Books([budget(100), budget(90, of_key=True)])
    answer = granted(books, 10, 20)
    assert (answer.granted, answer.completion_tokens, answer.budget_ids) == (30, 20, (1, 2))
    assert [row.reserved for row in books.budgets] == [30, 30]


def test_one_budget_without_room_and_no_budget_moves() -> None:
    books = Books([budget(100), budget(29, of_key=True)])
    assert refused(books, 10, 29).owner == "key"


def test_a_grant_tells_what_is_left_of_the_tightest_budget_in_tokens() -> None:
    both = Books([budget(100), budget(70, of_key=True)])
    assert granted(both, 10, 20).left == TokensLeft(70, 40, None)
    assert granted(Books([budget(10**9, unit=NANO_USD)]), 10, 20).left is None
    assert granted(Books([budget(None)]), 10, 20).left is None


def test_without_budgets_everything_is_granted() -> None:
    assert granted(Books([]), 10, 10**9).granted == 10 + 10**9


def test_a_budget_without_a_cap_counts_and_refuses_nothing() -> None:
    books = Books([budget(None)])
    granted(books, 10, 10**12)
    assert books.budgets[0].reserved == 10 + 10**12


def test_the_last_token_can_be_had_and_none_after_it() -> None:
    books = Books([budget(30)])
    assert granted(books, 10, 20).granted == 30
    assert refused(books, 1, 1).needed == 2


def test_a_bound_that_was_not_stated_shrinks_to_what_is_left() -> None:
    assert granted(Books([budget(30)]), 10, 4096, stated=False) == Granted(30, 20, (1,), TokensLeft(30, 0, None))


def test_a_stated_bound_is_refused_and_never_shortened() -> None:
    assert refused(Books([budget(30)]), 10, 31).needed == 32  # the bound, and at least one token of a prompt


@pytest.mark.parametrize(("left", "bound"), [(40, 30), (39, 27), (13, 3), (12, 0)])
def test_a_shrunk_bound_is_as_much_for_each_sequence(left: int, bound: int) -> None:
    answer = granted(Books([budget(left)]), 10, 3 * 4096, stated=False, sequences=3)
    assert answer.completion_tokens == (bound or 3)
    assert answer.granted == (10 + bound if bound else left)


def test_an_estimated_prompt_never_refuses() -> None:
    """Beside the bound one token of the prompt fits: the exact count decides later."""
    assert granted(Books([budget(21)]), 500, 20) == Granted(21, 20, (1,), TokensLeft(21, 0, None))
    assert granted(Books([budget(5)]), 500, 4096, stated=False) == Granted(5, 1, (1,), TokensLeft(5, 0, None))
    refused(Books([budget(20)]), 500, 20)
    refused(Books([budget(1)]), 500, 4096, stated=False)


def test_dollars_are_held_at_the_dearest_price() -> None:
    dear = Prices(input=10**6, output=2 * 10**6, cached=3 * 10**6, reasoning=7 * 10**6)
    books = Books([budget(1000, unit=NANO_USD)])
    books.reserve(10, 20, prices=dear)
    assert books.budgets[0].reserved == 10 * 3 + 20 * 7


def test_a_bound_shrinks_to_what_the_dollars_buy() -> None:
    books = Books([budget(3 * 10 + 5 * 20 + 4, unit=NANO_USD)])
    assert granted(books, 10, 4096, stated=False).completion_tokens == 20
    assert books.budgets[0].reserved == 3 * 10 + 5 * 20


def test_a_fraction_of_a_nano_dollar_is_held_as_a_whole_one() -> None:
    books = Books([budget(1, unit=NANO_USD)])
    _, answer = books.reserve(1, 1, prices=Prices(input=1, output=1))
    assert isinstance(answer, Granted)
    assert books.budgets[0].reserved == 1


def test_what_costs_nothing_fits_any_dollar_cap() -> None:
    books = Books([budget(1, unit=NANO_USD, spent=1)])
    _, answer = books.reserve(10, 20, prices=Prices(input=0, output=0))
    assert isinstance(answer, Granted)


def test_a_dollar_cap_refuses_a_model_without_a_price_and_a_token_cap_does_not() -> None:
    _, answer = Books([budget(1000, unit=NANO_USD)]).reserve(10, 20, prices=None)
    assert answer == NoPrice("tiny")
    _, answer = Books([budget(1000)]).reserve(10, 20, prices=None)
    assert isinstance(answer, Granted)
    _, answer = Books([budget(None, unit=NANO_USD)]).reserve(10, 20, prices=None)
    assert isinstance(answer, Granted)


def test_a_key_that_is_not_valid_now_gets_nothing() -> None:
    _, answer = Books([budget(100)], valid_keys=frozenset()).reserve(1, 1)
    assert answer == KeyNotValid()


def test_a_reserve_sent_again_is_answered_as_the_first_time() -> None:
    books = Books([budget(100)])
    operation = reserve(10, 20)
    first = books.one(operation)
    assert books.one(operation, again=True) == first
    assert books.budgets[0].reserved == 30


def test_a_reserve_sent_again_after_its_release_opens_nothing() -> None:
    books = Books([budget(100)])
    operation = reserve(10, 20)
    books.one(operation)
    books.settle(operation.id, 10, 0)
    assert books.one(operation, again=True) == NotOpen()


# -- refusals: which cap, and whether waiting helps ------------------------------------------------


def test_a_used_up_balance_is_terminal() -> None:
    answer = refused(Books([budget(100, spent=95)]), 10, 20)
    assert (answer.cap, answer.spent, answer.reserved, answer.needed) == (100, 95, 0, 21)
    assert answer.retry_after_s is None
    assert answer.resets_at is None


def test_open_reservations_in_the_way_are_worth_two_seconds() -> None:
    assert refused(Books([budget(100, reserved=95)]), 10, 20).retry_after_s == 2
    assert refused(rolling_books(spent=20, reserved=75), 10, 20).retry_after_s == 2


def rolling_books(**fields: int) -> Books:
    return Books([rolling(100, window_ends_at=NOW + timedelta(seconds=600.2), **fields)])


def test_a_used_up_window_is_worth_waiting_for() -> None:
    answer = refused(rolling_books(spent=95), 10, 20)
    assert answer.retry_after_s == 601  # up, never down: a second too early would be refused again
    assert answer.resets_at == NOW + timedelta(seconds=600.2)


def test_a_need_above_the_cap_of_a_fresh_window_is_terminal() -> None:
    assert refused(rolling_books(spent=95), 10, 100).retry_after_s is None


def test_a_terminal_reason_wins_over_a_passing_one() -> None:
    passing = rolling(100, window_ends_at=NOW + timedelta(seconds=5), spent=95)
    for books in (Books([passing, budget(100, of_key=True, spent=95)]), Books([passing, budget(10, of_key=True)])):
        answer = refused(books, 10, 20)
        assert (answer.owner, answer.retry_after_s) == ("key", None)


def test_of_two_windows_the_later_one_is_named() -> None:
    soon = rolling(100, window_ends_at=NOW + timedelta(seconds=5), spent=95)
    late = rolling(100, of_key=True, window_ends_at=NOW + timedelta(seconds=50), spent=95)
    assert refused(Books([soon, late]), 10, 20).retry_after_s == 50


def test_a_cap_that_is_to_sink_binds_at_once() -> None:
    """Cap 100 with 80 held, lowered to 50: nothing new fits, and what is named is the cap that was wanted."""
    answer = refused(Books([budget(80, cap_wanted=50, reserved=80)]), 1, 1)
    assert (answer.cap, answer.retry_after_s) == (50, 2)


def test_a_fan_out_drains_the_cap_and_then_is_refused() -> None:
    books = Books([budget(100)])
    answers = books.decide(*[reserve(5, 10) for _ in range(20)])
    assert [a.granted if isinstance(a, Granted) else None for a in answers] == [15] * 6 + [None] * 14
    assert books.budgets[0].reserved == 90
