"""What is billed when a reservation closes: settled, released, estimated and put right, extended, past a turn-over."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from accounts.booking.operations import (
    Author,
    Closed,
    Extend,
    Granted,
    Need,
    NotOpen,
    OverCap,
    Refund,
    Release,
    TokensLeft,
)
from accounts.booking.writing import NewEntry
from accounts.models import Entry
from accounts.money import Counts
from tests.accounts.booking.plain import ACCOUNT, HOUSE, KEY, NANO_USD, NOW, Books, budget, reserve, rolling


def opened(books: Books, prompt: int = 10, bound: int = 20) -> UUID:
    id_, answer = books.reserve(prompt, bound)
    assert isinstance(answer, Granted), answer
    return id_


def entries(books: Books, kind: Entry.Kind) -> list[NewEntry]:
    return [entry for entry in books.writes.entries if entry.kind == kind]


def counters(books: Books) -> list[tuple[int, int]]:
    return [(row.spent, row.reserved) for row in books.budgets]


def test_a_settle_bills_what_was_used_and_lets_the_rest_go() -> None:
    books = Books([budget(100), budget(500, of_key=True, unit=NANO_USD)])
    answer = books.settle(opened(books), 10, 7)
    assert counters(books) == [(17, 0), (10 * 3 + 7 * 5, 0)]
    (entry,) = books.writes.entries
    assert answer == Closed(entry.id)
    assert (entry.debit_id, entry.credit_id, entry.key_id) == (ACCOUNT, HOUSE, KEY)
    assert (entry.tokens, entry.nano_usd) == (17, 65)
    assert entry.lines == ((1, 1, 17), (2, 1, 65))


def test_a_release_bills_nothing() -> None:
    books = Books([budget(100)])
    assert books.one(Release(id=opened(books))) == Closed()
    assert counters(books) == [(0, 0)]
    assert books.writes.entries == []


def test_what_is_closed_stays_closed() -> None:
    books = Books([budget(100)])
    id_ = opened(books)
    books.settle(id_, 10, 7)
    for answer in (books.settle(id_, 10, 7), books.one(Release(id=id_)), books.correct(id_, 10, 9)):
        assert answer == NotOpen()
    assert counters(books) == [(17, 0)]


def test_a_settle_makes_room_for_a_reserve_of_the_same_batch() -> None:
    books = Books([budget(30)])
    id_ = opened(books)
    answers = books.decide(reserve(5, 10), Release(id=id_))
    assert isinstance(answers[0], Granted)
    assert answers[1] == Closed()


def test_more_than_was_granted_is_an_overrun_of_the_house() -> None:
    books = Books([budget(35)])
    answer = books.settle(opened(books), 10, 40)
    assert isinstance(answer, Closed)
    assert answer.overrun_tokens == 15
    assert counters(books) == [(35, 0)]
    (overrun,) = entries(books, Entry.Kind.OVERRUN)
    assert (overrun.debit_id, overrun.key_id, overrun.tokens, overrun.lines) == (HOUSE, None, 15, ())


# -- extend ----------------------------------------------------------------------------------------


def extend(id_: UUID, prompt: int, bound: int, *, stated: bool = True, sequences: int = 1) -> Extend:
    return Extend(id=id_, need=Need(prompt, bound, sequences, stated), budget_ids=())


def test_an_extension_makes_the_grant_exact() -> None:
    books = Books([budget(100)])
    id_ = opened(books)
    assert books.one(extend(id_, 15, 20)) == Granted(35, 20, (1,), TokensLeft(100, 65, None))
    assert counters(books) == [(0, 35)]
    assert books.one(extend(id_, 5, 20)) == Granted(25, 20, (1,), TokensLeft(100, 75, None))
    assert counters(books) == [(0, 25)]


def test_an_extension_without_room_leaves_what_was_held() -> None:
    books = Books([budget(31)])
    id_ = opened(books)
    answer = books.one(extend(id_, 12, 20))
    assert isinstance(answer, OverCap)
    assert (answer.needed, answer.retry_after_s) == (32, None)
    assert counters(books) == [(0, 30)]


def test_a_default_bound_is_extended_to_what_is_left_and_never_cuts_the_prompt() -> None:
    books = Books([budget(31)])
    id_ = opened(books)
    assert books.one(extend(id_, 25, 20, stated=False)) == Granted(31, 6, (1,), TokensLeft(31, 0, None))
    assert isinstance(books.one(extend(id_, 31, 20, stated=False)), OverCap)
    assert isinstance(books.one(extend(id_, 29, 60, stated=False, sequences=3)), OverCap)
    assert books.one(extend(id_, 28, 60, stated=False, sequences=3)) == Granted(31, 3, (1,), TokensLeft(31, 0, None))


def test_only_what_is_open_can_be_extended() -> None:
    books = Books([budget(100)])
    id_ = opened(books)
    assert books.one(extend(uuid4(), 1, 1)) == NotOpen()
    books.settle(id_, 10, 0)
    assert books.one(extend(id_, 10, 30)) == NotOpen()


# -- windows ---------------------------------------------------------------------------------------


def test_a_rolling_window_opens_with_its_first_use() -> None:
    books = Books([rolling(100, seconds=60)])
    assert books.one(Release(id=uuid4())) == NotOpen()
    assert books.budgets[0].window_ends_at is None
    opened(books)
    assert books.budgets[0].window_ends_at == NOW + timedelta(seconds=60)
    books.pass_time(timedelta(seconds=30))
    opened(books)
    assert books.budgets[0].window_ends_at == NOW + timedelta(seconds=60)


def test_what_is_reserved_at_turn_over_stays_and_is_spent_in_the_new_window() -> None:
    books = Books([rolling(100, seconds=60)])
    early, late = opened(books), opened(books)
    books.settle(early, 10, 20)
    assert counters(books) == [(30, 30)]
    books.pass_time(timedelta(seconds=61))
    books.settle(late, 10, 5)
    row = books.budgets[0]
    assert (row.spent, row.reserved, row.window_number) == (15, 0, 2)
    assert entries(books, Entry.Kind.USAGE)[0].lines == ((1, 2, 15),)
    assert row.window_ends_at == NOW + timedelta(seconds=121)  # the settle was its first use


def test_a_window_ends_with_the_moment_it_names() -> None:
    books = Books([rolling(30, seconds=60)])
    books.settle(opened(books), 10, 20)
    books.pass_time(timedelta(seconds=59.999))
    assert isinstance(books.reserve(1, 1)[1], OverCap)
    books.pass_time(timedelta(seconds=0.001))
    assert isinstance(books.reserve(1, 1)[1], Granted)


# -- corrections -----------------------------------------------------------------------------------


def estimated(books: Books, prompt: int, completion: int) -> UUID:
    id_ = opened(books)
    assert isinstance(books.settle(id_, prompt, completion, estimated=True), Closed)
    return id_


def test_a_correction_downward_gives_back_in_full() -> None:
    books = Books([budget(100)])
    id_ = estimated(books, 10, 20)
    books.correct(id_, 10, 4)
    (entry,) = books.writes.entries
    assert (entry.kind, entry.tokens, entry.nano_usd, entry.lines) == ("correction", -16, -80, ((1, 1, -16),))
    assert entry.counts == Counts(0, -16)
    assert counters(books) == [(14, 0)]


def test_a_correction_upward_goes_as_far_as_there_is_room_and_the_house_pays_the_rest() -> None:
    books = Books([budget(30)])
    id_ = estimated(books, 10, 5)
    opened(books, 4, 6)
    answer = books.correct(id_, 10, 20)
    assert isinstance(answer, Closed)
    assert answer.overrun_tokens == 10
    assert counters(books) == [(20, 10)]
    assert [entry.tokens for entry in books.writes.entries] == [5, 10]


def test_a_correction_that_changes_nothing_writes_nothing() -> None:
    books = Books([budget(100)])
    id_ = estimated(books, 10, 5)
    assert isinstance(books.correct(id_, 10, 5), Closed)
    assert books.writes.entries == []


def test_a_correction_downward_after_turn_over_is_on_the_books_of_the_old_window() -> None:
    books = Books([rolling(100, seconds=60)])
    id_ = estimated(books, 10, 20)
    books.pass_time(timedelta(seconds=61))
    books.correct(id_, 10, 4)
    assert books.writes.entries[0].lines == ((1, 1, -16),)
    assert counters(books) == [(0, 0)]


def test_a_correction_upward_after_turn_over_is_spent_in_the_new_window() -> None:
    books = Books([rolling(100, seconds=60)])
    id_ = estimated(books, 10, 4)
    books.pass_time(timedelta(seconds=61))
    books.correct(id_, 10, 20)
    assert books.writes.entries[0].lines == ((1, 2, 16),)
    assert counters(books) == [(16, 0)]


def test_a_correction_gives_back_no_more_than_refunds_have_left() -> None:
    books = Books([budget(100)])
    id_ = estimated(books, 10, 20)
    books.one(Refund(books.entries[0].id, (), tokens=25, nano_usd=125, reason="slow", author=Author("a test")))
    books.correct(id_, 10, 4)
    assert [(e.tokens, e.nano_usd) for e in books.writes.entries] == [(-5, -5)]
    assert counters(books) == [(0, 0)]


# -- caps that sink --------------------------------------------------------------------------------


def test_what_was_granted_is_paid_although_the_cap_was_lowered_meanwhile() -> None:
    """Nothing running is cut: the tenant pays for what it got, and nothing of it is an overrun of the house."""
    books = Books([budget(100)])
    id_ = opened(books)
    books.budgets[0].set_cap(5)
    assert books.settle(id_, 10, 15) == Closed(1)
    row = books.budgets[0]
    assert (row.spent, row.cap, row.cap_wanted) == (25, 25, 5)


def test_a_lowered_cap_sinks_as_reservations_close() -> None:
    books = Books([budget(100)])
    first, second = opened(books), opened(books)
    row = books.budgets[0]
    row.set_cap(20)
    assert (row.cap, row.cap_wanted) == (60, 20)
    books.one(Release(id=first))
    assert (row.cap, row.cap_wanted) == (30, 20)
    books.settle(second, 10, 5)
    assert (row.cap, row.cap_wanted) == (20, None)
