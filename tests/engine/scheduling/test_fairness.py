"""Who gets a place and who gives way: by shares of accounts, then of keys, in tokens; by priority first."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
import torch

from inference.engine.loading import weights
from inference.engine.model import LoadedModel
from inference.engine.requests.submissions import Load
from inference.engine.scheduling.shares import QUANTUM_TOKENS, Share, Shares
from inference.events import Finished, Started, Text
from tests.engine.stepped import Stepped, loaded


@pytest.fixture(scope="module")
def model(endless: Path) -> LoadedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "DTYPE", torch.float32)
        return loaded(endless)


@pytest.fixture
def engine(model: LoadedModel) -> Stepped:
    return Stepped(model)


def submit_many(engine: Stepped, account: str, count: int, **fields: object) -> None:
    """Prompts that have no beginning in common but the template's."""
    for number in range(count):
        engine.submit(f"{account}{number}", f"{number} {account} asks", account=account, **fields)


def served(engine: Stepped) -> Counter[str]:
    """Tokens of prompts and answers by the first letter of the request, so far."""
    tokens: Counter[str] = Counter()
    for request_id, events in engine.listener.events.items():
        answered = max((event.completion_tokens for event in events if isinstance(event, Text | Finished)), default=0)
        read = sum(event.prompt_tokens - event.cached_tokens for event in events if isinstance(event, Started))
        tokens[request_id[0]] += answered + read
    return tokens


def places(engine: Stepped) -> Counter[str]:
    return Counter(request_id[0] for request_id in engine.running())


# -- shares --------------------------------------------------------------------------------------


def test_who_comes_back_from_idleness_starts_level_with_the_least_served() -> None:
    shares = Shares()
    shares.enter("a").served = 900
    shares.enter("b").served = 500
    assert shares.enter("new").served == 500
    shares.leave("b")
    assert shares.enter("c").served == 500
    shares.enter("a")


def test_who_was_served_more_does_not_shed_it_by_leaving() -> None:
    shares = Shares()
    shares.enter("a").served = 900
    shares.enter("b")
    shares.leave("a")
    assert shares.enter("a").served == 900


def test_when_nobody_is_left_everybody_is_level_again() -> None:
    shares = Shares()
    shares.enter("a").served = 900
    shares.leave("a")
    assert shares.enter("a").served == 0


def test_an_account_that_has_places_gets_more_only_when_it_is_far_behind() -> None:
    ahead, behind = Share(), Share()
    ahead.running, behind.running = 5, 3
    ahead.served = QUANTUM_TOKENS
    assert not ahead.owes(behind)
    ahead.served += 1
    assert ahead.owes(behind)
    behind.running = 5
    assert not ahead.owes(behind)


# -- places --------------------------------------------------------------------------------------


def test_accounts_that_always_wait_are_served_the_same_however_long_their_requests(engine: Stepped) -> None:
    submit_many(engine, "a", 20, max_tokens=512)
    submit_many(engine, "c", 64, max_tokens=64)
    tokens = served(engine)
    while engine.submissions.load_of("c").waiting or not tokens:
        engine.step()
        tokens = served(engine)
        assert abs(tokens["a"] - tokens["c"]) <= QUANTUM_TOKENS + 64
    assert tokens["c"] > 4000
    assert tokens["a"] / tokens["c"] == pytest.approx(1, rel=0.1)


def test_a_newcomer_gets_a_place_at_once_from_the_account_that_has_them_all(
    engine: Stepped, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="inference.engine")
    submit_many(engine, "a", 20, max_tokens=512)
    for _ in range(30):
        engine.step()
    assert places(engine) == {"a": 8}
    engine.submit("b", "A word, please.", account="b", max_tokens=5)
    engine.step()
    assert places(engine) == {"a": 7, "b": 1}
    assert "request a7 gives way" in caplog.text  # the newest
    assert any(isinstance(event, Text) for event in engine.listener.events["b"])
    while not any(isinstance(event, Finished) for event in engine.listener.events["b"]):
        engine.step()
    engine.step()
    assert places(engine) == {"a": 8}
    assert "a7" in engine.running()  # before all that had not begun


def test_who_gave_way_says_what_it_would_have_said_and_reads_little_again(engine: Stepped) -> None:
    alone = Stepped(engine.model)
    alone.answer("a7", "7 a asks", account="a", max_tokens=100)
    submit_many(engine, "a", 8, max_tokens=100)
    for _ in range(50):
        engine.step()
    before = sum(engine.computed)
    engine.submit("b", "A word, please.", account="b", max_tokens=5)
    engine.run()
    left = 8 * 50 + engine.listener.final("b").prompt_tokens + 5
    assert sum(engine.computed) - before < left + 16
    assert engine.listener.text("a7") == alone.listener.text("a7")
    assert sum(isinstance(event, Started) for event in engine.listener.events["a7"]) == 1


def test_one_place_goes_round_among_accounts(model: LoadedModel) -> None:
    engine = Stepped(model, places=1)
    submit_many(engine, "a", 2, max_tokens=3 * QUANTUM_TOKENS)
    engine.step()
    engine.submit("b", account="b", max_tokens=50)
    steps = 0
    while not engine.listener.events["b"]:
        engine.step()
        steps += 1
    assert steps <= QUANTUM_TOKENS + 2


def test_making_keys_buys_nothing(engine: Stepped) -> None:
    for number in range(16):
        engine.submit(f"a{number}", f"{number} a asks", account="a", key=f"key {number}", max_tokens=200)
    submit_many(engine, "c", 16, key="the only one", max_tokens=200)
    engine.step()
    assert places(engine) == {"a": 4, "c": 4}
    for _ in range(700):
        engine.step()
        tokens = served(engine)
        assert abs(tokens["a"] - tokens["c"]) <= 600


def test_keys_of_an_account_share_what_it_gets(engine: Stepped) -> None:
    for number in range(30):
        engine.submit(f"m{number}", f"{number} m asks", account="a", key="many", max_tokens=100)
    for _ in range(10):
        engine.step()
    engine.submit("f", "A word, please.", account="a", key="few", max_tokens=5)
    engine.step()
    assert places(engine) == {"m": 7, "f": 1}


def test_those_without_an_account_are_one(engine: Stepped) -> None:
    for number in range(16):
        engine.submit(f"n{number}", f"{number} n asks", max_tokens=50)
    submit_many(engine, "a", 16, max_tokens=50)
    engine.step()
    assert places(engine) == {"n": 4, "a": 4}


def test_no_place_stays_empty_for_the_sake_of_a_share(engine: Stepped) -> None:
    submit_many(engine, "a", 20, max_tokens=30)
    engine.submit("b", account="b", max_tokens=3)
    waiting = 20
    while waiting >= 8:  # as many as may end in one step
        engine.step()
        assert len(engine.scheduler._turns) == 8
        waiting = engine.submissions.load_of("a").waiting


def test_memory_that_runs_out_is_given_up_by_whoever_has_most_of_it(
    model: LoadedModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="inference.engine")
    engine = Stepped(model, kv_tokens=640)
    engine.submit("b", account="b", max_tokens=300)
    submit_many(engine, "a", 6, max_tokens=200)
    engine.run()
    assert "gives way on tiny: the memory is full" in caplog.text
    assert "request b gives way on tiny: the memory is full" not in caplog.text


# -- priority ------------------------------------------------------------------------------------


def test_a_higher_priority_takes_a_place_and_goes_before_every_share(engine: Stepped) -> None:
    submit_many(engine, "a", 12, max_tokens=200)
    for _ in range(20):
        engine.step()
    for number in range(3):
        engine.submit(f"u{number}", "Now!", account="a", priority=1, max_tokens=20)
    engine.step()
    assert places(engine) == {"a": 5, "u": 3}
    engine.submit("b", account="b", max_tokens=20)
    engine.step()
    assert places(engine) == {"a": 4, "u": 3, "b": 1}
    engine.run()


def test_a_lower_priority_never_takes_a_place(engine: Stepped) -> None:
    submit_many(engine, "a", 12, max_tokens=40, priority=1)
    engine.submit("b", account="b", max_tokens=3)
    engine.run()
    ended = [name for batch in engine.listener.batches for name, event in batch if isinstance(event, Finished)]
    assert set(ended[:8]) == {f"a{number}" for number in range(8)}


# -- counts and time -----------------------------------------------------------------------------


def test_who_runs_and_who_waits_is_counted_by_account(engine: Stepped) -> None:
    submit_many(engine, "a", 10, max_tokens=20)
    engine.submit("n", max_tokens=20)
    assert engine.submissions.load_of("a") == Load(0, 10)
    engine.step()
    assert engine.submissions.load_of("a") == Load(7, 3)
    assert engine.submissions.load_of(None) == Load(1, 0)
    assert engine.submissions.load_of("nobody") == Load(0, 0)
    engine.run()
    assert engine.submissions.load_of("a") == Load(0, 0)
