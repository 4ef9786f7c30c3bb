"""A gateway's booking loop on real PostgreSQL: batches, and money that stays right when the connection does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from uuid import UUID, uuid4

import psycopg
import pytest

from accounts.booking.loop import RESERVE_LIMIT_S, BookingLoop, BooksAwayError
from accounts.booking.operations import (
    Author,
    Closed,
    Declined,
    Extend,
    Granted,
    KeyNotValid,
    Need,
    NotOpen,
    OverCap,
    Refund,
    Release,
    Reserve,
    Settle,
    TokensLeft,
)
from accounts.money import Counts
from tests.accounts.booking.relay import Relay, relay
from tests.accounts.booking.tables import Tables

#: So long anything may take here, where other tests share the cores.
SOON_S = 15

GIVE_ALL_BACK = """
INSERT INTO accounts_entry (kind, at, debit_id, credit_id, key_id, reservation_id, refunds_id, tokens, nano_usd,
  prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, model, node, estimated, reason, author_name)
SELECT 'refund', now(), debit_id, credit_id, key_id, reservation_id, id, -tokens, -nano_usd, 0, 0, 0, 0, model, node,
  false, '', '' FROM accounts_entry WHERE id = %s
"""


@pytest.fixture
def tables(fresh_database: str) -> Iterator[Tables]:
    tables = Tables(fresh_database)
    yield tables
    tables.close()


class Tenant:
    """An account and a key with a cap of 100 tokens each."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.account = tables.new_account()
        self.key = tables.new_key(self.account)
        self.budget = tables.new_budget(100, account=self.account)
        self.key_budget = tables.new_budget(100, key=self.key)
        self.budgets = (self.budget, self.key_budget)

    def reserve(self, prompt: int = 10, completion: int = 20, *, model: str = "tiny") -> Reserve:
        return Reserve(
            id=uuid4(),
            account_id=self.account,
            key_id=self.key,
            gateway="gateway",
            model=model,
            node="local",
            need=Need(prompt, completion),
            prices=None,
        )

    def settle(self, id_: UUID, prompt: int = 10, completion: int = 5) -> Settle:
        return Settle(id=id_, counts=Counts(prompt, completion), budget_ids=self.budgets)

    @property
    def counters(self) -> tuple[int, int]:
        """Spent and reserved, which are the same for account and key."""
        account, key = (self.tables.counters(budget) for budget in self.budgets)
        assert account == key
        return account

    def state(self, id_: UUID) -> str | None:
        rows = self.tables.all("SELECT state FROM accounts_reservation WHERE id = %s", id_)
        return rows[0][0] if rows else None

    def entries(self, id_: UUID) -> list[int]:
        rows = self.tables.all("SELECT tokens FROM accounts_entry WHERE reservation_id = %s ORDER BY id", id_)
        return [tokens for (tokens,) in rows]


@pytest.fixture
def tenant(tables: Tables) -> Tenant:
    return Tenant(tables)


@pytest.fixture
async def gateway(fresh_database: str) -> AsyncIterator[BookingLoop]:
    gateway = BookingLoop(fresh_database)
    gateway.start()
    yield gateway
    await gateway.stop()


@pytest.fixture
async def between(fresh_database: str) -> AsyncIterator[Relay]:
    async with relay(fresh_database) as between:
        yield between


@pytest.fixture
async def far_gateway(between: Relay) -> AsyncIterator[BookingLoop]:
    """A gateway whose connection the test can break."""
    gateway = BookingLoop(between.url)
    gateway.start()
    yield gateway
    await gateway.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not condition():
            await asyncio.sleep(0.02)


async def answered(gateway: BookingLoop) -> None:
    await until(lambda: not gateway.pending)


async def waiting_for_a_lock(tables: Tables) -> None:
    await until(
        lambda: tables.value(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )


# -- what it is for --------------------------------------------------------------------------------


async def test_reserved_extended_settled(gateway: BookingLoop, tenant: Tenant) -> None:
    reserve = tenant.reserve()
    assert await gateway.reserve(reserve) == Granted(30, 20, tenant.budgets, TokensLeft(100, 70, None))
    assert tenant.counters == (0, 30)
    assert isinstance(await gateway.reserve(Extend(reserve.id, Need(12, 20), tenant.budgets)), Granted)
    assert tenant.counters == (0, 32)
    assert isinstance(await gateway.close(tenant.settle(reserve.id)), Closed)
    assert tenant.counters == (15, 0)
    assert tenant.state(reserve.id) == "settled"
    assert tenant.entries(reserve.id) == [15]


async def test_a_crowd_gets_no_more_than_the_cap(gateway: BookingLoop, tenant: Tenant) -> None:
    answers = await asyncio.gather(*[gateway.reserve(tenant.reserve(1, 6)) for _ in range(200)])
    assert sum(answer.granted for answer in answers if isinstance(answer, Granted)) == 98
    assert sum(isinstance(answer, OverCap) for answer in answers) == 186
    assert tenant.counters == (0, 98)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts_apikey SET revoked_at = now() WHERE id = %(key)s",
        "UPDATE accounts_apikey SET expires_at = now() WHERE id = %(key)s",
        "UPDATE accounts_account SET suspended_at = now() WHERE id = %(account)s",
        "UPDATE accounts_account SET closed_at = now() WHERE id = %(account)s",
    ],
)
async def test_the_keys_state_is_read_with_the_budgets(gateway: BookingLoop, tenant: Tenant, change: str) -> None:
    """Nothing is cached: the first reserve after the change is refused, and what runs is still settled."""
    reserve = tenant.reserve()
    await gateway.reserve(reserve)
    tenant.tables.connection.execute(change.encode(), {"key": tenant.key, "account": tenant.account})
    assert await gateway.reserve(tenant.reserve()) == KeyNotValid()
    assert isinstance(await gateway.close(tenant.settle(reserve.id)), Closed)


async def test_what_two_gateways_settle_is_billed_once(
    gateway: BookingLoop, far_gateway: BookingLoop, tenant: Tenant
) -> None:
    reserve = tenant.reserve()
    await gateway.reserve(reserve)
    settle = tenant.settle(reserve.id)
    answers = await asyncio.gather(gateway.close(settle), far_gateway.close(settle), gateway.close(settle))
    assert sorted(type(answer).__name__ for answer in answers) == ["Closed", "NotOpen", "NotOpen"]
    assert tenant.entries(reserve.id) == [15]
    assert tenant.counters == (15, 0)


async def test_a_batch_reads_what_the_one_before_it_wrote(
    gateway: BookingLoop, tenant: Tenant, fresh_database: str
) -> None:
    """It waits for the row and only then reads it: a value read before the wait would be out of date."""
    with psycopg.connect(fresh_database) as other:
        other.execute("UPDATE accounts_budget SET spent = 90 WHERE id = %s", (tenant.budget,))
        asked = asyncio.create_task(gateway.reserve(tenant.reserve()))
        await waiting_for_a_lock(tenant.tables)
        other.commit()
        answer = await asked
    assert isinstance(answer, OverCap)
    assert answer.spent == 90


async def test_a_refund_sees_what_another_gateway_gave_back_of_the_same_entry(
    gateway: BookingLoop, tenant: Tenant, fresh_database: str
) -> None:
    """It waits for the entry and only then sums up what was given back."""
    reserve = tenant.reserve()
    await gateway.reserve(reserve)
    settled = await gateway.close(tenant.settle(reserve.id))
    assert isinstance(settled, Closed)
    assert settled.entry_id is not None
    with psycopg.connect(fresh_database) as other:
        other.execute("SELECT FROM accounts_entry WHERE id = %s FOR UPDATE", (settled.entry_id,))
        other.execute(GIVE_ALL_BACK, (settled.entry_id,))
        asked = gateway.close(Refund(settled.entry_id, tenant.budgets, None, None, "slow", Author("a test")))
        await waiting_for_a_lock(tenant.tables)
        other.commit()
        answer = await asked
    assert isinstance(answer, Declined)
    assert "Nothing is left" in answer.message


async def test_one_operation_that_cannot_be_booked_fails_alone(gateway: BookingLoop, tenant: Tenant) -> None:
    bad = tenant.reserve(1, 1, model="too long" * 100)
    answers = await asyncio.gather(
        *[gateway.reserve(tenant.reserve(1, 1)) for _ in range(3)],
        gateway.reserve(bad),
        *[gateway.reserve(tenant.reserve(1, 1)) for _ in range(3)],
        return_exceptions=True,
    )
    assert [type(answer).__name__ for answer in answers] == ["Granted"] * 3 + ["StringDataRightTruncation"] + [
        "Granted"
    ] * 3
    assert tenant.counters == (0, 12)


# -- who else holds the rows -----------------------------------------------------------------------


async def test_a_gateway_that_stopped_while_it_held_the_rows_does_not_stop_another(
    gateway: BookingLoop, far_gateway: BookingLoop, between: Relay, tenant: Tenant
) -> None:
    """The server ends its transaction after 2 s; when it goes on it settles all the same, once."""
    reserve = tenant.reserve()
    await far_gateway.reserve(reserve)
    await answered(far_gateway)
    between.freeze_before_answer(2.5)
    assert isinstance(await far_gateway.close(tenant.settle(reserve.id)), Closed)
    assert tenant.entries(reserve.id) == [15]
    assert isinstance(await gateway.reserve(tenant.reserve()), Granted)


async def test_rows_that_a_stopped_process_holds_are_free_in_time(
    gateway: BookingLoop, tenant: Tenant, fresh_database: str
) -> None:
    with closing(psycopg.connect(fresh_database, options="-c idle_in_transaction_session_timeout=2000")) as stopped:
        stopped.execute("SELECT FROM accounts_budget WHERE id = %s FOR UPDATE", (tenant.budget,))
        assert isinstance(await gateway.reserve(tenant.reserve()), Granted)


async def test_a_deadlock_is_tried_again(gateway: BookingLoop, tenant: Tenant, fresh_database: str) -> None:
    """Somebody takes the rows in another order than ours; whoever loses, our request is answered."""
    lock = "SELECT FROM accounts_budget WHERE id = %s FOR UPDATE"
    async with await psycopg.AsyncConnection.connect(fresh_database) as other:
        await other.execute(lock, (tenant.key_budget,))
        asked = asyncio.create_task(gateway.reserve(tenant.reserve()))
        await waiting_for_a_lock(tenant.tables)
        await other.execute(lock, (tenant.budget,))
        await other.commit()
        assert isinstance(await asked, Granted)
    assert tenant.counters == (0, 30)


async def test_a_reserve_that_nobody_waits_for_any_more_is_released(
    gateway: BookingLoop, tenant: Tenant, fresh_database: str
) -> None:
    """Its client left while it was under way. One that was not yet under way is never made."""
    async with await psycopg.AsyncConnection.connect(fresh_database) as other:
        await other.execute("SELECT FROM accounts_budget WHERE id = %s FOR UPDATE", (tenant.budget,))
        under_way, queued = tenant.reserve(), tenant.reserve()
        first = asyncio.create_task(gateway.reserve(under_way))
        await waiting_for_a_lock(tenant.tables)
        second = asyncio.create_task(gateway.reserve(queued))
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await other.commit()
    await answered(gateway)
    assert tenant.state(under_way.id) == "released"
    assert tenant.state(queued.id) is None
    assert tenant.counters == (0, 0)


# -- the database away -----------------------------------------------------------------------------


async def test_a_reserve_whose_commit_was_not_heard_of_is_made_once(
    far_gateway: BookingLoop, between: Relay, tenant: Tenant
) -> None:
    reserve = tenant.reserve()
    between.cut_after_commit()
    assert await far_gateway.reserve(reserve) == Granted(30, 20, tenant.budgets, TokensLeft(100, 70, None))
    assert between.cut.is_set()
    assert tenant.counters == (0, 30)


async def test_a_reserve_without_budgets_whose_commit_was_not_heard_of_is_made_once(
    far_gateway: BookingLoop, between: Relay, tables: Tables
) -> None:
    """No row to wait for tells the second try that the first is still being committed."""
    account = tables.new_account()
    reserve = Reserve(uuid4(), account, tables.new_key(account), "gateway", "tiny", "local", Need(10, 20), None)
    between.cut_after_commit()
    assert await far_gateway.reserve(reserve) == Granted(30, 20, ())
    assert between.cut.is_set()


async def test_a_settle_whose_commit_was_not_heard_of_is_billed_once(
    far_gateway: BookingLoop, between: Relay, tenant: Tenant
) -> None:
    reserve = tenant.reserve()
    await far_gateway.reserve(reserve)
    between.cut_after_commit()
    assert await far_gateway.close(tenant.settle(reserve.id)) == NotOpen()  # it closed it itself, and does not know
    assert between.cut.is_set()
    assert tenant.entries(reserve.id) == [15]
    assert tenant.counters == (15, 0)


async def test_a_reserve_is_refused_in_time_while_the_database_is_away(
    far_gateway: BookingLoop, between: Relay, tenant: Tenant
) -> None:
    between.go_away()
    reserve = tenant.reserve()
    asked_s = time.monotonic()
    with pytest.raises(BooksAwayError):
        await far_gateway.reserve(reserve)
    assert time.monotonic() - asked_s < SOON_S
    between.come_back()
    await answered(far_gateway)
    assert tenant.counters == (0, 0)
    assert isinstance(await far_gateway.reserve(tenant.reserve()), Granted)


async def test_what_was_committed_although_it_was_refused_is_released(
    far_gateway: BookingLoop, between: Relay, tenant: Tenant
) -> None:
    reserve = tenant.reserve()
    between.cut_after_commit()
    asked = asyncio.create_task(far_gateway.reserve(reserve))
    await between.cut.wait()
    between.go_away()
    with pytest.raises(BooksAwayError):
        await asked
    await until(lambda: tenant.state(reserve.id) == "open")
    between.come_back()
    await answered(far_gateway)
    assert tenant.state(reserve.id) == "released"
    assert tenant.counters == (0, 0)


async def test_a_settle_outlasts_an_outage(far_gateway: BookingLoop, between: Relay, tenant: Tenant) -> None:
    reserve = tenant.reserve()
    await far_gateway.reserve(reserve)
    between.go_away()
    settled = far_gateway.close(tenant.settle(reserve.id))
    await asyncio.sleep(RESERVE_LIMIT_S)
    assert not settled.done()
    between.come_back()
    assert isinstance(await asyncio.wait_for(settled, SOON_S), Closed)
    assert tenant.entries(reserve.id) == [15]


async def test_a_release_may_be_sent_for_what_was_never_made(gateway: BookingLoop, tenant: Tenant) -> None:
    assert await gateway.close(Release(id=uuid4(), account_id=tenant.account, key_id=tenant.key)) == NotOpen()
