"""Work off the thread that asked: one piece at a time for an account, and nobody waits for another account."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from inference.engine.requests.turns import Turns

WAIT_S = 30


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = Turns("test")
    yield turns
    turns.close()


def test_an_accounts_work_is_done_in_its_order_one_at_a_time(turns: Turns) -> None:
    done: list[int] = []
    running, most = [0], [0]
    all_done = threading.Event()

    def work(number: int) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        done.append(number)
        running[0] -= 1
        if number == 49:
            all_done.set()

    for number in range(50):
        turns.add("a", lambda number=number: work(number))  # type: ignore[misc]
    assert all_done.wait(WAIT_S)
    assert done == list(range(50))
    assert most == [1]


def test_nobody_waits_for_another_account_however_much_that_has(turns: Turns) -> None:
    go_on, reached = threading.Event(), threading.Event()
    try:
        for _ in range(100):
            turns.add("a", lambda: go_on.wait() and None)
        turns.add(None, reached.set)
        assert reached.wait(WAIT_S)
    finally:
        go_on.set()


def test_work_that_raises_does_not_end_the_turns_of_its_account(turns: Turns) -> None:
    def panic() -> None:
        raise BaseException("as a library in Rust does")

    reached = threading.Event()
    turns.add("a", panic)
    turns.add("a", reached.set)
    assert reached.wait(WAIT_S)
