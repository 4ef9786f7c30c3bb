"""A gateway's memory of whose key is whose stays true, against a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connections
from django.utils import timezone
from psycopg import AsyncConnection

from accounts.accounts import suspend_account
from accounts.credentials import presented_secret
from accounts.keys import issue_key, parse_peppers
from accounts.models import Account, ApiKey
from inference.gateway.principals import Principals, wrong_key
from inference.refusals import Refusal

pytestmark = pytest.mark.usefixtures("fresh_database")

PEPPERS = parse_peppers(settings.HELEXA_KEY_PEPPER)


@sync_to_async
def a_key(**fields: object) -> tuple[ApiKey, bytes]:
    account, _ = Account.objects.get_or_create(name="team")
    key, secret = issue_key(account=account, peppers=PEPPERS, **fields)  # type: ignore[arg-type]
    return key, secret.encode()


class Watched:
    """Principals with a connection to refresh them by, and what they reported as no longer valid."""

    def __init__(self, url: str) -> None:
        self.invalid: list[int] = []
        self.principals = Principals(url, PEPPERS, on_invalid=self.invalid.extend)
        self.principals.available = True
        self._url = url

    async def refresh(self) -> None:
        async with await AsyncConnection.connect(self._url, autocommit=True) as connection:
            await self.principals.refresh(connection)

    async def status(self, secret: bytes) -> int:
        try:
            await self.principals.identify(secret)
        except Refusal as refusal:
            return refusal.status
        return 200


@pytest_asyncio.fixture
async def watched(fresh_database: str) -> AsyncIterator[Watched]:
    watched = Watched(fresh_database)
    await watched.principals.start()
    yield watched
    await watched.principals.stop()
    await sync_to_async(connections.close_all)()  # those of the thread that the ORM ran on


async def test_a_key_is_known_by_its_secret_alone(watched: Watched) -> None:
    key, secret = await a_key(allowed_models=["m"])
    principal = await watched.principals.identify(secret)
    assert (principal.key_id, principal.account, principal.scope) == (key.key_id, "team", "inference")
    assert principal.may_use("m")
    assert not principal.may_use("n")
    assert await watched.status(key.key_id.encode()) == 401


async def test_a_thousand_cold_keys_at_once_are_one_look_at_the_database(watched: Watched, fresh_database: str) -> None:
    """Nobody waits behind 999 others (PEERS 3, row 10); the keys that are nobody's are refused, the real one is not."""
    _, secret = await a_key()
    secrets = [b"sk-helexa-unknown-%d" % number for number in range(999)]
    statuses = await asyncio.gather(*(watched.status(one) for one in [*secrets, secret]))
    assert statuses == [401] * 999 + [200]
    async with await AsyncConnection.connect(fresh_database, autocommit=True) as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND query LIKE '%accounts_apikey k JOIN%'"
        )
        assert (await cursor.fetchone() or (0,))[0] <= 2


async def test_revoking_is_noticed_by_the_next_refresh_and_reported(watched: Watched) -> None:
    key, secret = await a_key()
    _, other_secret = await a_key()
    assert await watched.status(secret) == await watched.status(other_secret) == 200
    await ApiKey.objects.filter(pk=key.pk).aupdate(revoked_at=timezone.now())
    await watched.refresh()
    assert await watched.status(secret) == 401
    assert await watched.status(other_secret) == 200
    assert watched.invalid == [key.pk]


async def test_a_suspended_account_and_its_return_are_noticed(watched: Watched) -> None:
    _, secret = await a_key()
    assert await watched.status(secret) == 200
    account = await Account.objects.aget(name="team")
    await sync_to_async(suspend_account)(account)
    await watched.refresh()
    assert await watched.status(secret) == 401
    await Account.objects.filter(pk=account.pk).aupdate(suspended_at=None)
    await watched.refresh()
    assert await watched.status(secret) == 200


async def test_a_deleted_key_is_forgotten_and_reported(watched: Watched) -> None:
    key, secret = await a_key()
    assert await watched.status(secret) == 200
    await ApiKey.objects.filter(pk=key.pk).adelete()
    await watched.refresh()
    assert await watched.status(secret) == 401
    assert watched.invalid == [key.pk]


async def test_an_expiry_needs_no_refresh(watched: Watched) -> None:
    key, secret = await a_key()
    await ApiKey.objects.filter(pk=key.pk).aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    assert await watched.status(secret) == 401


async def test_while_the_database_is_away_it_is_503_and_never_401(watched: Watched) -> None:
    _, secret = await a_key()
    assert await watched.status(secret) == 200
    watched.principals.available = False
    assert await watched.status(secret) == 503
    assert await watched.status(b"sk-helexa-wrong") == 503


async def test_the_last_use_is_written_down(watched: Watched) -> None:
    key, secret = await a_key()
    await watched.status(secret)
    await watched.refresh()
    assert (await ApiKey.objects.aget(pk=key.pk)).last_used_at is not None


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ([], None),
        ([(b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"bEARER  abc ")], b"abc"),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"x-api-key", b"xyz")], b"xyz"),
        ([(b"authorization", b"Bearer abc"), (b"x-api-key", b"xyz")], b"xyz"),
        ([(b"x-api-key", b"xyz"), (b"authorization", b"Bearer abc")], b"xyz"),
        ([(b"x-api-key", b" "), (b"authorization", b"Bearer abc")], b"abc"),
        ([(b"authorization", b"Bearer abc"), (b"x-api-key", b"")], b"abc"),
        ([(b"x-api-key", b"")], None),
    ],
)
def test_the_secret_a_client_presents(headers: list[tuple[bytes, bytes]], secret: bytes | None) -> None:
    assert presented_secret(headers) == secret


def test_a_wrong_key_is_refused_in_the_words_by_which_litellm_knows_it() -> None:
    """It takes every other 401 of type `invalid_request_error` for a request that is wrong."""
    assert "Incorrect API key provided" in wrong_key().message
